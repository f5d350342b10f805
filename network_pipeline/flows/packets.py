"""The packets of a batch, one after another: what of their columns matters to flows.

A batch is a matrix of numbers, -1 where a value is absent, and the addresses as words of 64 bits.
``read`` finds what layers a row has and derives lengths: ``length`` are the bytes of the IP packet,
``payload`` those above its transport header, ``header`` those of that.

Compiled, see :mod:`network_pipeline.interpreted`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from network_pipeline.flows.fields import PORTS, READ_NUMBERS
from network_pipeline.flows.keys import Key

if not TYPE_CHECKING:
    from network_pipeline.interpreted import nogil
else:
    from cython import nogil

# fmt: off
(
    _FRAME_NUMBER, _FRAME_TIME, _FRAME_LEN, _VLAN_ID, _VLAN2_ID,
    _IP_IHL, _IP_LEN, _IP_ID, _IP_FLAGS, _IP_FRAG, _IP_PROTO,
    _IPV6_PLEN, _IPV6_PROTO, _IPV6_FRAG, _IPV6_MORE, _IPV6_FRAG_ID,
    _ICMP_TYPE, _ICMP_CODE, _ICMPV6_TYPE, _ICMPV6_CODE,
    _TCP_SPORT, _TCP_DPORT, _TCP_SEQ, _TCP_ACK, _TCP_DATAOFS, _TCP_FLAGS, _TCP_WINDOW,
    _TCP_CHKSUM, _TCP_PAYLOAD_LEN, _TCP_MSS, _TCP_WSCALE, _TCP_SACKOK, _TCP_TSVAL,
    _UDP_SPORT, _UDP_DPORT, _UDP_LEN, _UDP_CHKSUM,
    _DNS_QR, _DNS_RCODE, _DNS_QTYPE, _RAW_LEN,
) = range(len(READ_NUMBERS))
# fmt: on

_PORTS = PORTS

_ICMP = 1
_TCP = 6
_UDP = 17
_ICMPV6 = 58
_SCTP = 132

_MORE = 1  # bit of ip_flags
_LEAST_TCP = 20
_UDP_BYTES = 8
_ICMP_BYTES = 8
_SCTP_BYTES = 12
_IPV6_BYTES = 40

_WORD = 0xFFFF_FFFF
_MOST_BYTE = 255

#: Times that differ by more than this do not fit into 64 bits of nanoseconds.
_MOST_TIME = 1 << 62


class Packets:
    """A batch, and the packet of it that was read last.

    A row of ``numbers`` is a column of :data:`.fields.READ_NUMBERS`, one of ``words`` an address:
    high and low half of IPv4 source and destination, then those of IPv6. ``sessions`` are numbers
    of sessions. ``begins`` says where each row's payload begins in ``payload``; only ICMP errors
    and SCTP need to have one.
    """

    def __init__(
        self,
        numbers: memoryview,
        words: memoryview,
        sessions: memoryview,
        begins: memoryview,
        payload: memoryview,
    ) -> None:
        self.numbers = numbers
        self.words = words
        self.sessions = sessions
        self.begins = begins
        self.payload = payload
        self.row = 0
        self.frame_number = 0
        self.session = 0
        self.time = 0
        self.version = 0
        self.protocol = 0
        self.fragment = 0
        self.more = 0
        self.identification = 0
        self.length = 0
        self.header = 0
        self.payload_len = 0
        self.has_tcp = 0
        self.icmp_type = 0
        self.icmp_code = 0
        self.trace = 0

    def number(self, column: int) -> int:
        """Return a value of the row, -1 where it is absent."""
        return self.numbers[column, self.row]

    def read(self, row: int) -> int:
        """Read a row; return whether it has an IP header."""
        self.row = row
        self.session = self.sessions[row]
        self.frame_number = self.numbers[_FRAME_NUMBER, row]
        self.time = self.numbers[_FRAME_TIME, row]
        self.icmp_type = -1
        self.icmp_code = -1
        if self.numbers[_IP_IHL, row] >= 0:
            self._read_ipv4()
        elif self.numbers[_IPV6_PLEN, row] >= 0:
            self._read_ipv6()
        else:
            return 0
        self._read_icmp()
        self.has_tcp = 1 if self.numbers[_TCP_SPORT, row] >= 0 else 0
        self._read_lengths()
        self._read_trace()
        return 1

    def has_time(self) -> int:
        """Return whether the time is one that can be reckoned with."""
        return 1 if -_MOST_TIME < self.time < _MOST_TIME else 0

    def _read_ipv4(self) -> int:
        self.version = 4
        self.protocol = self.numbers[_IP_PROTO, self.row]
        self.fragment = self.numbers[_IP_FRAG, self.row]
        self.more = self.numbers[_IP_FLAGS, self.row] & _MORE
        self.identification = self.numbers[_IP_ID, self.row]
        return 0

    def _read_ipv6(self) -> int:
        """Read IPv6; where the chain of headers is broken, no protocol is known: 59, none."""
        self.version = 6
        self.protocol = (
            self.numbers[_IPV6_PROTO, self.row] if self.numbers[_IPV6_PROTO, self.row] >= 0 else 59
        )
        self.fragment = max(self.numbers[_IPV6_FRAG, self.row], 0)
        self.more = 1 if self.numbers[_IPV6_MORE, self.row] > 0 else 0
        self.identification = self.numbers[_IPV6_FRAG_ID, self.row]
        return 0

    def _read_icmp(self) -> int:
        if self.numbers[_ICMP_TYPE, self.row] >= 0:
            self.icmp_type = self.numbers[_ICMP_TYPE, self.row]
            self.icmp_code = self.numbers[_ICMP_CODE, self.row]
        elif self.numbers[_ICMPV6_TYPE, self.row] >= 0:
            self.icmp_type = self.numbers[_ICMPV6_TYPE, self.row]
            self.icmp_code = self.numbers[_ICMPV6_CODE, self.row]
        return 0

    def _read_lengths(self) -> int:
        """Derive lengths; an IP length of 0 is what segmentation offload leaves there."""
        ip_header = 4 * self.numbers[_IP_IHL, self.row] if self.version == 4 else _IPV6_BYTES
        length = (
            self.numbers[_IP_LEN, self.row]
            if self.version == 4
            else self.numbers[_IPV6_PLEN, self.row]
        )
        if self.version == 6 and length > 0:
            length += _IPV6_BYTES
        self.payload_len = max(self.numbers[_RAW_LEN, self.row], 0)
        self.header = 0
        if self.has_tcp:
            self.header = max(4 * self.numbers[_TCP_DATAOFS, self.row], _LEAST_TCP)
            if self.numbers[_TCP_PAYLOAD_LEN, self.row] >= 0:
                self.payload_len = self.numbers[_TCP_PAYLOAD_LEN, self.row]
        elif self.numbers[_UDP_SPORT, self.row] >= 0:
            self.header = _UDP_BYTES
            if (
                self.fragment == 0
                and self.more == 0
                and self.numbers[_UDP_LEN, self.row] >= _UDP_BYTES
            ):
                self.payload_len = self.numbers[_UDP_LEN, self.row] - _UDP_BYTES
        elif self.icmp_type >= 0:
            self.header = _ICMP_BYTES
        if length == 0:
            length = ip_header + self.header + self.payload_len
        self.length = min(length, self.numbers[_FRAME_LEN, self.row])
        self.payload_len = min(self.payload_len, max(self.length - ip_header - self.header, 0))
        return 0

    def is_icmp_error(self) -> int:
        """Return whether the packet is an ICMP message that quotes another packet."""
        if self.version == 4:
            return 1 if self.icmp_type in (3, 4, 5, 11, 12) else 0
        return 1 if 1 <= self.icmp_type <= 4 else 0

    def fill(self, key: Key) -> int:
        """Set the key of the packet; a fragment that is not the first has no ports."""
        first = 0 if self.version == 4 else 4
        key.source(self.words[first, self.row], self.words[first + 1, self.row])
        key.destination(self.words[first + 2, self.row], self.words[first + 3, self.row])
        key.protocols(self.version, self.protocol)
        if self.has_tcp:
            key.ports(
                _PORTS, self.numbers[_TCP_SPORT, self.row], self.numbers[_TCP_DPORT, self.row]
            )
        elif self.numbers[_UDP_SPORT, self.row] >= 0:
            key.ports(
                _PORTS, self.numbers[_UDP_SPORT, self.row], self.numbers[_UDP_DPORT, self.row]
            )
        elif self.icmp_type >= 0:
            key.icmp(self.icmp_type, self.icmp_code)
        elif self.protocol == _SCTP and self.fragment == 0 and self._payload_bytes() >= _SCTP_BYTES:
            begin = self.begins[self.row]
            key.ports(_PORTS, self._u16(begin), self._u16(begin + 2))
        return self._close(key)

    def _close(self, key: Key) -> int:
        return key.close(
            self.session, self.numbers[_VLAN_ID, self.row], self.numbers[_VLAN2_ID, self.row]
        )

    def _payload_bytes(self) -> int:
        return self.begins[self.row + 1] - self.begins[self.row]

    def _u16(self, at: int) -> int:
        return self.payload[at] << 8 | self.payload[at + 1]

    def _u32(self, at: int) -> int:
        return self._u16(at) << 16 | self._u16(at + 2)

    def _u64(self, at: int) -> int:
        return self._u32(at) << 32 | self._u32(at + 4)

    def fill_quoted(self, key: Key) -> int:
        """Set the key of the packet that an ICMP error quotes; return whether it has its ports.

        The quotation is the payload: an IP header and the first bytes of what follows it.
        """
        begin = self.begins[self.row]
        size = self._payload_bytes()
        if self.version == 4:
            if size < _LEAST_TCP or self.payload[begin] >> 4 != 4:
                return 0
            header = 4 * (self.payload[begin] & 15)
            if header < _LEAST_TCP or self._u16(begin + 6) & 0x1FFF:
                return 0
            key.source(0, self._u32(begin + 12))
            key.destination(0, self._u32(begin + 16))
            protocol = self.payload[begin + 9]
        else:
            header = _IPV6_BYTES
            if size < header or self.payload[begin] >> 4 != 6:
                return 0
            key.source(self._u64(begin + 8), self._u64(begin + 16))
            key.destination(self._u64(begin + 24), self._u64(begin + 32))
            protocol = self.payload[begin + 6]
        key.protocols(self.version, protocol)
        if protocol in (_TCP, _UDP, _SCTP, _ICMP, _ICMPV6):
            if size < header + 4:
                return 0
            self._fill_quoted_ports(key, begin + header)
        self._close(key)
        return 1

    def _fill_quoted_ports(self, key: Key, at: int) -> int:
        if key.protocol in (_ICMP, _ICMPV6):
            return key.icmp(self.payload[at], self.payload[at + 1])
        return key.ports(_PORTS, self._u16(at), self._u16(at + 2))

    def _read_trace(self) -> int:
        """Derive what tells a packet from the next ones of its flow, 0 where nothing does.

        That is the identification of IPv4, where there is one, the checksum of TCP or UDP, the
        fragment and the length.
        """
        self.trace = 0
        if self.version == 4 and self.identification > 0:
            tcp = self.numbers[_TCP_CHKSUM, self.row]
            checksum = max(tcp, self.numbers[_UDP_CHKSUM, self.row], 0)
            part = self.fragment << 1 | self.more
            trace = (self.identification << 16 | checksum) << 30 | part << 16
            self.trace = trace | self.length & 0xFFFF
        return 0


def ipv4_words(offsets: memoryview, data: memoryview, words: memoryview) -> int:
    """Read dotted addresses from between ``offsets`` in ``data``; return how many are none.

    Where there is no text the word is 0.
    """
    wrong = 0
    with nogil:
        for row in range(len(words)):
            words[row] = 0
            if offsets[row] < offsets[row + 1]:
                wrong += 1 - _read_ipv4(data, offsets[row], offsets[row + 1], words, row)
    return wrong


def spread(values: memoryview, bits: memoryview, first: int, absent: int, out: memoryview) -> int:
    """Copy numbers, with ``absent`` where the bit of their row, from ``first`` on, is not set."""
    with nogil:
        for row in range(len(out)):
            bit = first + row
            is_there = bits[bit >> 3] >> (bit & 7) & 1
            out[row] = values[row] if is_there else absent
    return 0


def _read_ipv4(data: memoryview, begin: int, end: int, words: memoryview, row: int) -> int:
    address = 0
    number = 0
    dots = 0
    for at in range(begin, end):
        value = data[at]
        if value == ord("."):
            address = address << 8 | number
            number = 0
            dots += 1
        elif ord("0") <= value <= ord("9"):
            number = 10 * number + value - ord("0")
        else:
            return 0
        if number > _MOST_BYTE:
            return 0
    words[row] = (address << 8 | number) & _WORD
    return 1 if dots == 3 else 0
