"""What a flow is found by: addresses, ports, protocol, VLANs and session, in six words.

Both directions have the same key: the lesser of (address, port) comes first. ICMP has no ports; as
in community ids (:mod:`.community`) the type stands for the port of the sender and the type that
answers it for that of the receiver, so that a request and its reply share a flow. A type that
nothing answers makes flows of one direction, with its code as the port of the receiver.

Compiled, see :mod:`network_pipeline.interpreted`.
"""

from __future__ import annotations

from network_pipeline.flows import fields

_ALL = 0xFFFF_FFFF_FFFF_FFFF
_PRIME = 0x9E37_79B9_7F4A_7C15

_PAIR = fields.ICMP_PAIR
_ONE_WAY = fields.ICMP_ONE_WAY

_NOTHING = -1


def _answers(pairs: tuple[tuple[int, int], ...]) -> bytes:
    """Return the type that answers each ICMP type; its own where nothing does."""
    answers = bytearray(range(256))
    for question, answer in pairs:
        answers[question], answers[answer] = answer, question
    return bytes(answers)


# As the specification of community ids pairs them.
_ANSWERS = _answers(((8, 0), (13, 14), (15, 16), (10, 9), (17, 18)))
_ANSWERS_V6 = _answers(((128, 129), (133, 134), (135, 136), (130, 131), (139, 140), (144, 145)))


def mixed(state: int, word: int) -> int:
    """Return 64 bits in which all bits of a state and a word have a part."""
    state = (state ^ word) * _PRIME & _ALL
    return state ^ state >> 29


def answer(version: int, kind: int) -> int:
    """Return the ICMP type that answers one of an IP version, -1 where there is none."""
    other = _ANSWERS[kind] if version == 4 else _ANSWERS_V6[kind]
    return _NOTHING if other == kind else other


class Key:
    """A key, the same object for one packet after another.

    ``is_low_first`` says whether the sender is the lesser end. ``kind`` is what the ports are, see
    :data:`.fields.PORTS`.
    """

    def __init__(self) -> None:
        self.low_high = 0
        self.low_low = 0
        self.high_high = 0
        self.high_low = 0
        self.ends = 0
        self.place = 0
        self.hash = 0
        self.is_low_first = 0
        self.src_high = 0
        self.src_low = 0
        self.dst_high = 0
        self.dst_low = 0
        self.version = 0
        self.protocol = 0
        self.kind = 0
        self.src_port = 0
        self.dst_port = 0

    def source(self, high: int, low: int) -> int:
        """Set the address of the sender, as 128 bits; IPv4 has the lowest 32."""
        self.src_high = high
        self.src_low = low
        return 0

    def destination(self, high: int, low: int) -> int:
        """Set the address of the receiver."""
        self.dst_high = high
        self.dst_low = low
        return 0

    def protocols(self, version: int, protocol: int) -> int:
        """Set the IP version and the protocol above it; there are no ports yet."""
        self.version = version
        self.protocol = protocol
        return self.ports(0, 0, 0)

    def ports(self, kind: int, src_port: int, dst_port: int) -> int:
        """Set the ports."""
        self.kind = kind
        self.src_port = src_port
        self.dst_port = dst_port
        return 0

    def icmp(self, kind: int, code: int) -> int:
        """Set what stands for ports in ICMP."""
        other = answer(self.version, kind)
        if other < 0:
            return self.ports(_ONE_WAY, kind, code)
        return self.ports(_PAIR, kind, other)

    def close(self, session: int, vlan: int, vlan2: int) -> int:
        """Set where the packet was seen, which completes the key; -1 is no VLAN."""
        self.place = (session << 32) | (vlan + 1) << 16 | (vlan2 + 1)
        self.is_low_first = 1 if self.kind == _ONE_WAY else self._is_low_first()
        ends = self.version << 48 | self.kind << 40 | self.protocol << 32
        if self.is_low_first:
            self.low_high, self.low_low = self.src_high, self.src_low
            self.high_high, self.high_low = self.dst_high, self.dst_low
            self.ends = ends | self.src_port << 16 | self.dst_port
        else:
            self.low_high, self.low_low = self.dst_high, self.dst_low
            self.high_high, self.high_low = self.src_high, self.src_low
            self.ends = ends | self.dst_port << 16 | self.src_port
        state = mixed(mixed(_PRIME, self.low_high), self.low_low)
        state = mixed(mixed(state, self.high_high), self.high_low)
        self.hash = mixed(mixed(state, self.ends), self.place)
        return 0

    def _is_low_first(self) -> int:
        if self.src_high != self.dst_high:
            return 1 if self.src_high < self.dst_high else 0
        if self.src_low != self.dst_low:
            return 1 if self.src_low < self.dst_low else 0
        return 1 if self.src_port <= self.dst_port else 0
