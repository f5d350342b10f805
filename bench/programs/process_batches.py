"""Do what a processor does with Arrow messages: check, drop duplicates, write whole snapshots.

Arguments: the file of messages, the dataset. What it takes to receive messages from a broker is
left out.
"""

import itertools
import json
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from network_pipeline import settings

settings.keep_freed_memory()
settings.keep_algebra_in_one_thread()

from network_pipeline.batch_message import ARROW_TYPE  # noqa: E402  as in commands: after that
from network_pipeline.broker.subscription import Delivery  # noqa: E402
from network_pipeline.metrics import Counters  # noqa: E402
from network_pipeline.processor import Processor  # noqa: E402
from network_pipeline.scripts.packets import recorder_of  # noqa: E402

_MESSAGES_AT_ONCE = 16


class Messages:
    """Gives what a file holds; sets ``stop`` behind it."""

    def __init__(self, path: str) -> None:
        self.stop = threading.Event()
        self._deliveries = self._read(path)

    def receive(self, timeout: float) -> list[Delivery]:
        """Return the next ones, without waiting for ``timeout`` seconds."""
        arrived = list(itertools.islice(self._deliveries, _MESSAGES_AT_ONCE))
        if not arrived:
            self.stop.set()
        return arrived

    def ack(self, deliveries: Sequence[Delivery]) -> None:
        """Take it that these are done."""

    def reject(self, delivery: Delivery, reason: str) -> None:
        """End the bench: there is nothing to set aside."""
        raise RuntimeError(reason)

    def _read(self, path: str) -> Iterator[Delivery]:
        with open(path, "rb") as file:
            for line in file:
                head = json.loads(line)
                body = file.read(head["length"])
                yield Delivery(body, ARROW_TYPE, head["headers"], False, None)


def main(messages: str, output: Path) -> int:
    """Write the rows; return how many they are."""
    processing = settings.ProcessorSettings(output=output)
    counters = Counters("received", "written", "duplicate", "rejected")
    consumer, recorder = Messages(messages), recorder_of(processing)
    recorder.start()
    Processor(consumer, recorder, processing, counters).run(consumer.stop)
    recorder.close()
    return counters["written"]


print(main(sys.argv[1], Path(sys.argv[2])))
