"""Make flows of a capture with NFStream, and write a CSV row for each of their packets."""

import sys
from pathlib import Path
from typing import Any

from nfstream import NFPlugin, NFStreamer

_FIELDS = (
    "time", "direction", "raw_size", "ip_size", "transport_size", "payload_size", "src_ip",
    "dst_ip", "src_port", "dst_port", "protocol", "vlan_id", "ip_version", "syn", "cwr", "ece",
    "urg", "ack", "psh", "rst", "fin",
)  # fmt: skip


class Rows(NFPlugin):
    """Writes packets; the file is opened by the process that meets them."""

    def on_init(self, packet: Any, flow: Any) -> None:
        """Write the first packet of a flow."""
        if not hasattr(self, "file"):
            self.file = Path(self.path).open("w")  # noqa: SIM115
        self.on_update(packet, flow)

    def on_update(self, packet: Any, flow: Any) -> None:
        """Write a packet."""
        self.file.write(",".join([str(getattr(packet, name)) for name in _FIELDS]) + "\n")

    def cleanup(self) -> None:
        """Close the file."""
        self.file.close()


if __name__ == "__main__":
    flows = NFStreamer(source=sys.argv[1], n_meters=1, n_dissections=0, udps=Rows(path=sys.argv[2]))
    print(sum(flow.bidirectional_packets for flow in flows))
