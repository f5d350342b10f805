"""One frame as a nested dict, built layer by layer from scapy's layer classes.

A frame is walked from its first byte on. Each layer is a function (:mod:`.walk`) that checks that
its header is wholly there, reads it, moves on, and returns the layer that comes next; tables say
which one that is by link type (:mod:`.link`), EtherType and IP protocol number. What lies above
the last header that was read, up to the end that the lengths on the way give, is ``raw``; what was
captured after that end is ``padding``.

Ends are given by the IPv4 total length (0, as segmentation offload leaves it, stands for the rest
of the frame), the IPv6 payload length or a jumbogram's option (RFC 2675), the ARP addresses, and
the length that IEEE 802.3 has in the place of an EtherType. The UDP length ends a DNS message, not
the payload: what lies between the ends of UDP and IP is ``raw`` too.

A malformed frame is data, never an exception. ``frame.error`` is ``LAYER:REASON`` of the first
thing that is wrong:

- ``truncated``: a fixed header, or the rest that it announces (options of IP and TCP, extension
  headers of IPv6, addresses of ARP, words that follow an ICMP checksum), is not wholly there. A
  fixed header is there as a whole or not at all: where it is cut the layer is absent and its bytes
  are ``raw``. Where only the rest is cut the fixed header stays, and what follows it is ``raw``.
- ``version``: no IP header of that version; the layer is absent and its bytes are ``raw``.
- ``ihl``, ``dataofs``: a header length below the least, or for TCP above what IP gives; the fixed
  header stays, and what follows it is ``raw``.
- ``length``: a length below the header's own (what follows is ``raw``), or above what was on the
  wire (the wire's length counts instead, and decoding goes on).
- ``options``: a TCP option with a wrong length; the other options stay.
- ``dns:`` with the reasons of :mod:`.dns`, and ``frame:time`` for a frame without a
  time, or with one that 64 bits of nanoseconds cannot say.
"""

from __future__ import annotations

from network_pipeline.decode import link, text
from network_pipeline.decode.walk import Layer, Walk
from network_pipeline.frames import Frame
from network_pipeline.message import Nested


def decode(frame: Frame) -> Nested:
    """Return the nested dict of a frame: its layers by name, absent fields left out.

    It lacks ``source`` and ``session``, which :func:`network_pipeline.message.encode` adds. Nothing
    is raised, whatever the bytes are.
    """
    nested: Nested = {"frame": _frame_fields(frame)}
    walk = Walk(frame, nested)
    if "time" not in nested["frame"]:
        walk.fail("frame", "time")
    layer: Layer | None = link.LAYERS[frame.link_type]
    while layer is not None:
        layer = layer(walk)
    if walk.end > walk.offset:
        payload = frame.data[walk.offset : walk.end]
        nested["raw"] = {"len": len(payload), "load": payload.hex()}
    if len(frame.data) > walk.end:
        nested["padding"] = {"load": frame.data[walk.end :].hex()}
    return nested


def _frame_fields(frame: Frame) -> Nested:
    fields: Nested = {"number": frame.number}
    time = text.time(frame.time_ns)
    if time is not None:
        fields["time"] = time
    if frame.interface is not None:
        fields["interface"] = text.printable(frame.interface)
    fields["len"] = frame.wire_len
    fields["caplen"] = len(frame.data)
    return fields
