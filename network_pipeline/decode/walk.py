"""Where the walk through a frame stands, and what every layer does with it.

A layer is a function: it checks once that its header is wholly there, reads it, moves the walk on
and returns the layer that comes next, or ``None`` where nothing above has columns.
"""

from __future__ import annotations

from collections.abc import Callable

from network_pipeline.decode.headers import Header
from network_pipeline.frames import Frame
from network_pipeline.message import Nested


class Walk:
    """Where the walk through one frame stands.

    ``offset`` is the first byte not read yet, ``end`` the end of what was captured of the innermost
    layer, ``wire_end`` its end on the wire; both only ever shrink.
    """

    __slots__ = ("data", "end", "fragment", "nested", "offset", "wire_end")

    def __init__(self, frame: Frame, nested: Nested) -> None:
        self.data = frame.data
        self.nested = nested
        self.offset = 0
        self.end = len(frame.data)
        self.wire_end = max(frame.wire_len, self.end)
        self.fragment = False

    def fail(self, layer: str, reason: str) -> None:
        """Note what is wrong; the first one counts."""
        self.nested["frame"].setdefault("error", f"{layer}:{reason}")

    def holds(self, layer: str, size: int) -> bool:
        """Return whether the next ``size`` bytes are there."""
        if self.offset + size <= self.end:
            return True
        self.fail(layer, "truncated")
        return False

    def skip(self, layer: str, size: int) -> bool:
        """Pass by the next ``size`` bytes; return whether they are there."""
        there = self.holds(layer, size)
        if there:
            self.offset += size
        return there

    def read(self, header: Header) -> Nested | None:
        """Read a fixed header, add its layer and return its fields; ``None`` where it is cut."""
        if not self.holds(header.layer, header.size):
            return None
        fields = header.read(self.data, self.offset)
        self.nested[header.layer] = fields
        self.offset += header.size
        return fields

    def bound(self, layer: str, end: int) -> None:
        """Let the layer end at ``end``, or where the wire ended if that is less."""
        if end > self.wire_end:
            self.fail(layer, "length")
        self.wire_end = min(end, self.wire_end)
        self.end = min(self.end, self.wire_end)


#: Reads the header at the walk's offset and returns the layer that comes next, if that is known.
Layer = Callable[[Walk], "Layer | None"]
