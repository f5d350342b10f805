"""Decode all frames of a capture into Arrow batches, payloads included, and let them go."""

import sys

from network_pipeline.capture.pcap import CaptureFile
from network_pipeline.decode.columnar import decode_batch

with CaptureFile(sys.argv[1]) as capture:
    rows = (decode_batch(batch, source="bench", session=capture.session) for batch in capture)
    print(sum(batch.num_rows for batch in rows))
