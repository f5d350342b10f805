"""Write the Parquet dataset of a capture as ``packets-pcap`` does, with 64 bytes of payload."""

import sys
import threading
from pathlib import Path

from network_pipeline.capture.inputs import inputs
from network_pipeline.convert import COUNTED, Conversion, Plan
from network_pipeline.dataset.exports import export
from network_pipeline.metrics import Counters

with export(Path(sys.argv[2])) as output:
    plan = Plan("bench", batch_frames=16_384, payload_bytes=64)
    conversion = Conversion(output, Counters(*COUNTED), plan)
    conversion.run(inputs(sys.argv[1:2]), threading.Event())
