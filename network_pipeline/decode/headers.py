"""Fixed headers as tables, made once from scapy's layer classes.

scapy says where a field lies (``fields_desc``), the schema which fields have columns and what type
their text is; together they give shifts and masks, so that reading a header is one conversion to
an integer and no dissection: nothing is guessed, altered or looked up by port.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from scapy.packet import Packet

from network_pipeline.decode import text
from network_pipeline.schema import COLUMNS

_TEXT_OF: dict[str, Callable[[bytes], str]] = {
    "mac": text.mac,
    "ipv4": text.ipv4,
    "ipv6": text.ipv6,
}


class Header:
    """The fixed part of one layer's header: ``size`` bytes, from the first one on.

    ``names`` maps scapy's name of a field to the column's where they differ. A field without a
    column is left out.
    """

    def __init__(
        self,
        layer: str,
        scapy_layer: type[Packet],
        size: int,
        names: Mapping[str, str] | None = None,
    ) -> None:
        self.layer = layer
        self.size = size
        self._numbers: list[tuple[str, int, int]] = []
        self._texts: list[tuple[str, int, int, Callable[[bytes], str]]] = []
        types = {column.path[-1]: column.type for column in COLUMNS if column.path[0] == layer}
        for name, first_bit, bits in _fields(scapy_layer, size * 8):
            self._add((names or {}).get(name, name), first_bit, bits, types)

    def _add(self, name: str, first_bit: int, bits: int, types: Mapping[str, str]) -> None:
        if name not in types:
            return
        if types[name] in _TEXT_OF:
            first, last = first_bit // 8, (first_bit + bits) // 8
            self._texts.append((name, first, last, _TEXT_OF[types[name]]))
        else:
            shift = self.size * 8 - first_bit - bits
            self._numbers.append((name, shift, (1 << bits) - 1))

    def read(self, data: bytes, offset: int) -> dict[str, Any]:
        """Return the fields of the header at ``offset``, which lies in ``data`` as a whole."""
        value = int.from_bytes(data[offset : offset + self.size], "big")
        fields: dict[str, Any] = {
            name: value >> shift & mask for name, shift, mask in self._numbers
        }
        for name, first, last, as_text in self._texts:
            fields[name] = as_text(data[offset + first : offset + last])
        return fields


def _fields(scapy_layer: type[Packet], size: int) -> list[tuple[str, int, int]]:
    """Return name, first bit and width in bits of the fields in a layer's first ``size`` bits."""
    fields = []
    bit = 0
    for field in scapy_layer.fields_desc:
        if bit == size:
            break
        width = round(field.sz * 8)
        fields.append((field.name, bit, width))
        bit += width
    if bit != size:
        raise TypeError(f"{scapy_layer.__name__} does not begin with {size} bits of fixed fields")
    return fields
