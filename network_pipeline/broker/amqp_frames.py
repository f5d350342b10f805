"""AMQP content headers that py-amqp cannot read must not cost the connection.

RabbitMQ carries a content type that is no UTF-8, and would carry header types that py-amqp does
not know. py-amqp raises while it reads, which ends the connection; the message comes again, and
every message in flight with it nears the delivery limit. Here such a header is replaced by an
empty one: the message arrives without properties, and the processor sets it aside.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from amqp.exceptions import FrameSyntaxError  # type: ignore[import-untyped]
from amqp.method_framing import frame_handler  # type: ignore[import-untyped]

Frame = tuple[int, int, bytes]

_CONTENT_HEADER = 2
#: Class, weight and body size; then come the property flags (AMQP 0-9-1, 4.2.6.1).
_FIXED_BYTES = 12
_NO_PROPERTIES = b"\x00\x00"


def lenient_frame_handler(connection: Any, callback: Any) -> Callable[[Frame], bool]:
    """Return py-amqp's frame handler, made lenient about content headers."""
    on_frame: Callable[[Frame], bool] = frame_handler(connection, callback)

    def on_any_frame(frame: Frame) -> bool:
        kind, channel, payload = frame
        try:
            return on_frame(frame)
        except (ValueError, FrameSyntaxError):
            if kind != _CONTENT_HEADER:
                raise
        return on_frame((kind, channel, bytes(payload[:_FIXED_BYTES]) + _NO_PROPERTIES))

    return on_any_frame
