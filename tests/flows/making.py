"""Flows of frames that a test builds, and of captures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Packet

from network_pipeline.decode.columnar import decode_batch
from network_pipeline.flows import recording
from network_pipeline.flows.recording import FlowSettings, Recording
from network_pipeline.frames import Frame, FrameBatch, LinkType
from network_pipeline.metrics import Counters

SESSION = "5b1a2b1e-8d0e-4b53-9a55-7b1f2c3d4e5f"
START_NS = 1_700_000_000_000_000_000
SECOND = 1_000_000_000

Row = dict[str, Any]
Timed = tuple[float, Packet | bytes]


class Collected:
    """Takes rows in the place of an export."""

    def __init__(self) -> None:
        self.facts: dict[str, str] = {}
        self.batches: list[pa.RecordBatch] = []

    def append(self, batch: pa.RecordBatch) -> None:
        self.batches.append(batch)

    def rows(self) -> list[Row]:
        return [row for batch in self.batches for row in batch.to_pylist()]


class Made:
    """What came of packets: flows, the flow of each packet, and counts."""

    def __init__(self, flows: list[Row], ids: list[str | None], counts: dict[str, int]) -> None:
        self.flows = flows
        self.ids = ids
        self.counts = counts

    @property
    def only(self) -> Row:
        [flow] = self.flows
        return flow


def frames(packets: Iterable[Timed], link_type: LinkType = LinkType.ETHERNET) -> list[Frame]:
    """Return frames of packets with their times in seconds, the first of them number 1."""
    made = []
    for number, (time, packet) in enumerate(packets, 1):
        data = bytes(packet)
        time_ns = START_NS + round(time * SECOND)
        made.append(Frame(number, time_ns, None, len(data), link_type, data))
    return made


def batch_of(made: Sequence[Frame]) -> FrameBatch:
    sizes = np.array([len(frame.data) for frame in made], np.uint32)
    return FrameBatch(
        buffer=b"".join(frame.data for frame in made),
        offsets=np.cumsum(sizes, dtype=np.int64) - sizes,
        lengths=sizes,
        wire_lens=np.array([frame.wire_len for frame in made], np.uint32),
        times_ns=np.array([frame.time_ns for frame in made], np.int64),
        numbers=np.array([frame.number for frame in made], np.uint64),
        link_types=np.array([frame.link_type for frame in made], np.uint16),
        interfaces=np.zeros(len(made), np.uint16),
        interface_names=(None,),
    )


def rows_of(made: Sequence[Frame], session: str = SESSION) -> pa.RecordBatch:
    return decode_batch(batch_of(made), source="edge", session=session)


def flows_of_rows(
    rows: pa.RecordBatch, settings: FlowSettings | None = None, *, at_once: int = 1 << 20
) -> Made:
    """Make flows of rows, so many at once."""
    counters = Counters(*recording.COUNTED)
    flows, packets = Collected(), Collected()
    targets = recording.Targets(flows, packets)
    made = Recording(targets, settings or FlowSettings(), counters, joins=True)
    for first in range(0, rows.num_rows, at_once):
        made.append(rows.slice(first, at_once))
    made.finish()
    ids = [row["flow_id"] for row in packets.rows()]
    return Made(flows.rows(), ids, counters.snapshot())


def flows_of(packets: Iterable[Timed], settings: FlowSettings | None = None, **how: Any) -> Made:
    """Make flows of packets with their times in seconds."""
    return flows_of_rows(rows_of(frames(packets)), settings, **how)


def table_of(packets: Iterable[Timed]) -> pa.Table:
    """Return the rows of flows: of many, faster than one by one."""
    flows = Collected()
    made = Recording(recording.Targets(flows), FlowSettings(), Counters(*recording.COUNTED))
    made.append(rows_of(frames(packets)))
    made.finish()
    return pa.Table.from_batches(flows.batches)


# -- packets ---------------------------------------------------------------------------------------

CLIENT, SERVER = "192.0.2.1", "198.51.100.7"
PORTS = (40_000, 443)
#: With its addresses, or scapy would ask the network for them.
ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")


def tcp(flags: str, *, back: bool = False, data: bytes = b"", ports: tuple[int, int] = PORTS,
        **fields: Any) -> Packet:  # fmt: skip
    """Return a segment from the client, or back to it; ``ip_id`` sets the identification."""
    src, dst = (SERVER, CLIENT) if back else (CLIENT, SERVER)
    sport, dport = reversed(ports) if back else ports
    ip = IP(src=src, dst=dst, id=fields.pop("ip_id", 0))
    return ETHER / ip / TCP(sport=sport, dport=dport, flags=flags, **fields) / data


def udp(*, back: bool = False, data: bytes = b"", ports: tuple[int, int] = (40_000, 9)) -> Packet:
    src, dst = (SERVER, CLIENT) if back else (CLIENT, SERVER)
    sport, dport = reversed(ports) if back else ports
    return ETHER / IP(src=src, dst=dst, id=0) / UDP(sport=sport, dport=dport) / data


_DATAGRAM = bytes(udp())
_SRC_AT, _SPORT_AT = 14 + 12, 14 + 20


def datagram(port: int, host: int = 1) -> bytes:
    """Return an empty datagram from a port of the client, faster than scapy makes one.

    ``host`` is the last octet of the client's address.
    """
    made = bytearray(_DATAGRAM)
    made[_SRC_AT + 3] = host
    made[_SPORT_AT : _SPORT_AT + 2] = port.to_bytes(2)
    return bytes(made)


def connection(start: float = 0, ports: tuple[int, int] = PORTS) -> list[Timed]:
    """Return a whole connection: handshake, question, answer, FIN both ways, last ACK."""
    steps = [
        tcp("S", seq=100, window=64_240, ports=ports, options=[("MSS", 1460), ("WScale", 7)]),
        tcp("SA", back=True, seq=500, ack=101, window=65_160, ports=ports, options=[("MSS", 1400)]),
        tcp("A", seq=101, ack=501, window=502, ports=ports),
        tcp("PA", seq=101, ack=501, data=b"question", window=502, ports=ports),
        tcp("PA", back=True, seq=501, ack=109, data=b"the answer", window=509, ports=ports),
        tcp("FA", back=True, seq=511, ack=109, window=509, ports=ports),
        tcp("FA", seq=109, ack=512, window=502, ports=ports),
        tcp("A", back=True, seq=512, ack=110, window=509, ports=ports),
    ]
    return [(start + 0.1 * step, packet) for step, packet in enumerate(steps)]
