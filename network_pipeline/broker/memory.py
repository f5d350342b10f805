"""kombu's in-memory transport, mended where brokers with acknowledgements differ from it.

Messages live in this process and are gone with it. Three things are ours: bodies are kept as
they are (kombu would encode them in base64), what a closed channel had not acknowledged goes
back to the front of its queue, and an acknowledgement may cover all messages before it.
"""

# kombu and redis-py leave parts of their interfaces untyped.
# mypy: disallow-untyped-calls=False

from __future__ import annotations

from typing import Any

from kombu.transport import memory


class Channel(memory.Channel):
    """Adds redelivery and multiple acknowledgements."""

    body_encoding = None  # type: ignore[assignment]
    do_restore = True

    def basic_ack(self, delivery_tag: str, multiple: bool = False) -> None:
        """Acknowledge one message, or with ``multiple`` all up to it."""
        for tag in list(self.qos._delivered) if multiple else [delivery_tag]:
            self.qos.ack(tag)
            if tag == delivery_tag:
                break

    def publish_many(self, messages: list[Any], exchange: str, routing_key: str) -> list[None]:
        """Put messages into the queue; there is nothing that could refuse them."""
        for message in messages:
            self.basic_publish(message, exchange, routing_key)
        return [None] * len(messages)

    def _restore(self, message: Any) -> None:
        raw = message._raw
        place = raw["properties"]["delivery_info"]
        place["redelivered"] = True
        for name in self._lookup(place["exchange"], place["routing_key"]):
            waiting = self._queue_for(name)
            with waiting.mutex:
                waiting.queue.appendleft(raw)


class Transport(memory.Transport):
    """The transport of ``memory://``."""

    Channel = Channel
    polling_interval = 0.005
