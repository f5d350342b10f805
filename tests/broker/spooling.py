"""Publishers with a spool, for the tests of this folder; also what runs in a child process."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from pathlib import Path

from network_pipeline.broker.publisher import Publisher
from network_pipeline.metrics import Counters
from network_pipeline.settings import BrokerSettings, PublisherSettings
from tests import servers
from tests.broker import flow

COUNTS = ("published", "spooled", "shed", "adopted", "damaged")


def limits(
    place: Path, max_bytes: int = 2**30, keep: str = "oldest", **of_queue: int
) -> PublisherSettings:
    return PublisherSettings(place, max_bytes, keep, **of_queue)


class Agent:
    """A publisher, its counts, and how many messages it was given."""

    def __init__(self, broker: BrokerSettings, how: PublisherSettings, **buffer: int) -> None:
        self.counts = Counters(*COUNTS)
        self.publisher = Publisher(broker, self.counts, how, **buffer)
        self.given = 0

    def start(self) -> Agent:
        self.publisher.start()
        return self

    def give(self, numbers: Iterable[int], size: int = 200) -> None:
        for number in numbers:
            self.publisher.publish(flow.message(number, size))
            self.given += 1

    def await_spooled(self, count: int) -> None:
        servers.wait_until(lambda: self.counts["spooled"] == count, f"{count} spooled", 60)

    def await_published(self, count: int) -> None:
        servers.wait_until(lambda: self.counts["published"] == count, f"{count} published", 60)

    def stop(self, seconds: float = flow.PATIENCE_SECONDS) -> dict[str, int]:
        """Stop, check that every message is in one count, and return the counts that are not 0."""
        self.publisher.stop(seconds)
        counts = self.counts.snapshot()
        assert self.given == counts["published"] + counts["spooled"] + counts["shed"]
        return {name: count for name, count in counts.items() if count}


def files(place: Path) -> list[Path]:
    return sorted(place.glob("*.spool"))


if __name__ == "__main__":  # A child that publishes and is killed: URL, queue, directory, count.
    agent = Agent(BrokerSettings(sys.argv[1], sys.argv[2]), limits(Path(sys.argv[3]))).start()
    agent.give(range(int(sys.argv[4])))
    agent.await_spooled(int(sys.argv[4]))
    print("spooled", flush=True)
    time.sleep(600)
