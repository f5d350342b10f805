"""Decode all frames of a capture into Arrow batches, payloads included, and let them go."""

import sys

from network_pipeline import settings
from network_pipeline.capture.pcap import CaptureFile

settings.keep_freed_memory()

from network_pipeline.decode.columnar import decode_batch  # noqa: E402  as the commands do

with CaptureFile(sys.argv[1]) as capture:
    rows = (decode_batch(batch, source="bench", session=capture.session) for batch in capture)
    print(sum(batch.num_rows for batch in rows))
