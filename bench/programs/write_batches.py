"""Write the Arrow messages of a capture's frames, with 64 bytes of payload, as agents publish them.

Each has a line of JSON before it: its headers and its length.
"""

import json
import sys
from pathlib import Path

from network_pipeline import arrow_messages
from network_pipeline.capture.pcap import CaptureFile
from network_pipeline.settings import Payload

with CaptureFile(sys.argv[1]) as capture, Path(sys.argv[2]).open("wb") as out:
    for batch in capture:
        for message in arrow_messages.of_batch(
            batch, capture.session, source="bench", compression="lz4", payload=Payload(64)
        ):
            head = {"headers": message.headers, "length": len(message.body)}
            out.write(json.dumps(head).encode() + b"\n" + message.body)
