"""Find all frames of a capture, decode none."""

import sys

from network_pipeline.capture.pcap import CaptureFile

with CaptureFile(sys.argv[1]) as capture:
    print(sum(len(batch) for batch in capture))
