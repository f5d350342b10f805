"""What came of capture files, as a table for a person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from network_pipeline.capture.pcap import DamagedCapture

#: A column that every row of a layer has.
_LAYERS = {
    "eth": "eth_dst",
    "vlan": "vlan_id",
    "arp": "arp_op",
    "ip": "ip_version",
    "ipv6": "ipv6_version",
    "icmp": "icmp_type",
    "icmpv6": "icmpv6_type",
    "tcp": "tcp_sport",
    "udp": "udp_sport",
    "dns": "dns_id",
}

_NAME_WIDTH = 24
_NUMBER_WIDTH = 14


@dataclass
class Summary:
    """Rows by layer and by error, refused frames by link type, damaged files, the dataset."""

    layers: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    damaged: list[DamagedCapture] = field(default_factory=list)

    def count(self, rows: pa.RecordBatch) -> None:
        """Count the layers and errors of rows."""
        for layer, name in _LAYERS.items():
            self.layers[layer] += rows.num_rows - rows.column(name).null_count
        for entry in pc.value_counts(rows.column("frame_error")).to_pylist():
            if entry["values"] is not None:
                self.errors[entry["values"]] += entry["counts"]

    def add(self, other: Summary) -> None:
        """Count what another one has."""
        self.layers.update(other.layers)
        self.errors.update(other.errors)
        self.refused.update(other.refused)
        self.damaged += other.damaged

    def lines(self, counts: Mapping[str, int]) -> Iterator[str]:
        """Yield the table; ``counts`` has frames, rows, filtered and refused."""
        layers = {layer: count for layer, count in self.layers.items() if count}
        yield from _table("layer", "rows", layers)
        yield from _table("frame error", "rows", dict(sorted(self.errors.items())))
        yield from _table("refused link type", "frames", dict(sorted(self.refused.items())))
        yield from _table(
            "damaged file", "at byte", {damage.name: damage.offset for damage in self.damaged}
        )
        yield (
            f"{counts['frames']:,} frames = {counts['rows']:,} rows "
            f"+ {counts['filtered']:,} filtered + {counts['refused']:,} refused"
        )


def _table(name: str, number: str, counts: Mapping[str, int]) -> Iterator[str]:
    if not counts:
        return
    width = max(_NAME_WIDTH, *map(len, counts))
    yield f"{name:{width}}{number:>{_NUMBER_WIDTH}}"
    for key, count in counts.items():
        yield f"{key:{width}}{count:>{_NUMBER_WIDTH},}"
    yield ""
