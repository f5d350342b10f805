"""The metrics of an agent's workers over HTTP, served by their supervisor between its turns."""

from __future__ import annotations

import selectors
from collections.abc import Sequence

from network_pipeline.exposition import Counts, Pages
from network_pipeline.page_server import PageServer
from network_pipeline.seat import Seat
from network_pipeline.watcher import Watcher


class Metrics(Watcher):
    """Serves them over HTTP; it is healthy while all workers are up and have been seen lately."""

    def __init__(self, place: tuple[str, int], seats: Sequence[Seat]) -> None:
        self._seats = seats
        self._server = PageServer(place, Pages(counts(seats), self._complaint).page)

    def listen(self) -> None:
        """Take the port, which may need privileges; nobody is answered yet.

        Raises:
            UsageError: the address cannot be used.
        """
        self._server.listen()

    def open(self, selector: selectors.BaseSelector) -> None:
        """Answer who asks."""
        self._server.open(selector)

    def turn(self) -> None:
        """Hang up on who is too slow."""
        self._server.turn()

    def leave(self) -> None:
        """Leave the port and the connections to the supervisor."""
        self._server.close()

    def close(self) -> None:
        """Give the port back."""
        self._server.close()

    def _complaint(self) -> str:
        return ", ".join(filter(None, (each.complaint for each in self._seats)))


def counts(seats: Sequence[Seat]) -> Counts:
    """Return the metrics of an agent, of each worker its own."""
    return Counts(
        "agent", lambda: {(str(each.number),): each.reading() for each in seats}, ["worker"]
    )
