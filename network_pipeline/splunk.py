"""Logs on their way to Splunk's HTTP Event Collector: a bounded queue and one thread.

Whoever logs never waits: a record is queued or, when the queue is full, counted as dropped. The
thread gathers records into batches, posts each and tries again a few times while Splunk is away;
then the batch is counted as failed and the next one has its turn. Stopping takes seconds at most.

What knows Splunk is spylunking's, handed in as :class:`Spylunking`. Its own publisher is left out:
it needs urllib3 1, and a process beside ours that would keep root.
"""

from __future__ import annotations

import json
import logging
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from logging.handlers import QueueHandler, QueueListener
from typing import Any, NamedTuple
from xml.parsers.expat import ExpatError

import requests

from network_pipeline.errors import NetworkPipelineError
from network_pipeline.metrics import Counters
from network_pipeline.settings import SplunkSettings

#: Records that wait at most; the next ones are dropped and counted.
MAX_QUEUED = 10_000
MAX_BATCH = 200
#: Waits between the tries for one batch, in seconds.
RETRY_WAITS = (0.5, 1.0, 2.0, 4.0)
#: Connecting and reading, in seconds.
POST_TIMEOUTS = (3.05, 10.0)
#: How long stopping waits for what is queued, in seconds.
FLUSH_SECONDS = 5.0
#: How long a pause waits for a post that is under way, in seconds.
PAUSE_SECONDS = 1.0

_WARN_EVERY_SECONDS = 60.0
_MAX_PROBLEM = 300
#: Answers of a server that is busy or restarting; any other refusal stays one.
_PASSING_STATUSES = frozenset({408, 429, 500, 502, 503, 504})

_log = logging.getLogger(__name__)


class Spylunking(NamedTuple):
    """What spylunking does: make an event of a record, post events, find a token.

    ``find_token`` takes a stand-in for ``requests`` and the URL of Splunk's management port.
    """

    formatter: logging.Formatter
    send: Callable[..., requests.Response]
    find_token: Callable[[Login, str], str | None]


class SplunkQueue(QueueHandler):
    """Queues records for the thread that sends them to Splunk.

    Once stopped, ``queued = sent + failed + unsent``; ``dropped`` records found the queue full.
    """

    def __init__(self, settings: SplunkSettings, spylunking: Spylunking, name: str) -> None:
        records: queue.Queue[Any] = queue.Queue(MAX_QUEUED)
        super().__init__(records)
        self._parts = (settings, spylunking, name)
        self.counters = Counters("queued", "dropped", "sent", "failed", "unsent")
        self._sender = SplunkHandler(settings, spylunking, name, self.counters)
        self._listener = _BatchListener(records, self._sender)
        self._is_sending = False

    def start(self) -> None:
        """Begin to send, what is queued already first; once it has begun, nothing more happens."""
        if not self._is_sending:
            self._is_sending = True
            self._listener.start()

    def renewed(self) -> SplunkQueue:
        """Return another queue to the same place, an empty one: for a child, which has no thread of
        its parent, and must not send what that one has queued.
        """
        return SplunkQueue(*self._parts)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Post nothing meanwhile, so that a child can be forked.

        OpenSSL's locks would stay in it as they were, and its first connection could wait for ever.
        A post that takes longer than :data:`PAUSE_SECONDS` waits for the network, and holds none.
        """
        is_held = self._sender.posting.acquire(timeout=PAUSE_SECONDS)
        try:
            yield
        finally:
            if is_held:
                self._sender.posting.release()

    def enqueue(self, record: logging.LogRecord) -> None:
        """Queue a record, never waiting; what the sender itself logs is for the console only."""
        if record.thread == self._sender.thread:
            return
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            self.counters.add("dropped")
        else:
            self.counters.add("queued")

    def stop(self) -> None:
        """Send what is queued, for :data:`FLUSH_SECONDS` at most, and warn of what is lost."""
        self.start()
        self._sender.closing.set()
        stopping = threading.Thread(target=self._listener.stop, daemon=True)
        stopping.start()
        stopping.join(FLUSH_SECONDS)
        counts = self.counters
        counts.add("unsent", counts["queued"] - counts["sent"] - counts["failed"])
        lost = counts["dropped"] + counts["failed"] + counts["unsent"]
        if lost:
            _log.warning("%d log records did not reach Splunk: %s", lost, counts)


class _BatchListener(QueueListener):
    """Has the handler send whenever nothing more waits, or a batch is full."""

    _sentinel = None

    def __init__(self, records: queue.Queue[Any], handler: SplunkHandler) -> None:
        super().__init__(records, handler)
        self._records = records
        self._handler = handler

    def enqueue_sentinel(self) -> None:
        # The queue may be full: wait for a place, `SplunkQueue.stop` says how long.
        self._records.put(self._sentinel)

    def dequeue(self, block: bool) -> logging.LogRecord:
        if self._records.empty() or self._handler.is_full:
            self._handler.deliver()
        record: Any = self._records.get(block)
        if record is self._sentinel:
            self._handler.deliver()
        return record  # type: ignore[no-any-return]


class SplunkHandler(logging.Handler):
    """Gathers events and posts them, in the listener's thread alone.

    Formatting and posting are two steps: a handler is locked while it takes a record, and whoever
    ends the process takes that lock too.
    """

    def __init__(
        self, settings: SplunkSettings, spylunking: Spylunking, name: str, counters: Counters
    ) -> None:
        super().__init__()
        self.closing = threading.Event()
        self.posting = threading.Lock()
        self.thread: int | None = None
        self._settings = settings
        self._spylunking = spylunking
        self._name = name
        self._counters = counters
        self._events: list[str] = []
        self._token = settings.token
        self._session: requests.Session | None = None
        self._quiet_until = 0.0
        self.setFormatter(spylunking.formatter)

    @property
    def is_full(self) -> bool:
        """Whether a batch is complete."""
        return len(self._events) >= MAX_BATCH

    def emit(self, record: logging.LogRecord) -> None:
        """Add one event to the batch."""
        settings = self._settings
        envelope: dict[str, Any] = {
            "time": record.created,
            "host": socket.gethostname(),
            "source": self._name,
            "sourcetype": settings.sourcetype,
            "event": self.format(record),
        }
        if settings.index:
            envelope["index"] = settings.index
        self._events.append(json.dumps(envelope))

    def deliver(self) -> None:
        """Post the batch, trying again for a while; what cannot be posted is counted as failed."""
        self.thread = threading.get_ident()
        if not self._events:
            return
        events, self._events = self._events, []
        for wait in (*RETRY_WAITS, None):
            problem, final = self._try_to_post("\n".join(events).encode())
            if not problem:
                self._counters.add("sent", len(events))
                return
            if final or wait is None or self.closing.wait(wait):
                break
        self._counters.add("failed", len(events))
        self._warn(problem)

    def _try_to_post(self, events: bytes) -> tuple[str, bool]:
        """Return what went wrong, empty if nothing, and whether trying again is useless."""
        try:
            with self.posting:
                self._post(events)
        except requests.HTTPError as error:
            status = error.response.status_code if error.response is not None else 0
            if status in (401, 403):
                self._token = self._settings.token  # one that was found has become void
            return f"it answers {status}", status not in _PASSING_STATUSES
        except OSError as error:  # RequestException is one; so is a CA file that is not there
            return str(error), False
        except NetworkPipelineError as error:
            return str(error), True
        return "", False

    def _post(self, events: bytes) -> None:
        session = self._session = self._session or _session()
        self._token = self._token or self._found_token(session)
        response = self._spylunking.send(
            session=session,
            url=f"https://{self._settings.address}/services/collector",
            data=events,
            headers={"Authorization": f"Splunk {self._token}"},
            verify=self._settings.verify,
            timeout=POST_TIMEOUTS,
        )
        if response.status_code != 200:  # spylunking raises for 400 and above
            raise NetworkPipelineError(f"it answers {response.status_code}")

    def _found_token(self, session: requests.Session) -> str:
        address = self._settings.api_address
        try:
            token = self._spylunking.find_token(
                Login(session, self._settings), f"https://{address}"
            )
        except (IndexError, AttributeError, ExpatError):
            token = None
        if not token:
            raise NetworkPipelineError(f"{address} names no HTTP Event Collector token")
        return token

    def _warn(self, problem: str) -> None:
        if time.monotonic() >= self._quiet_until:
            self._quiet_until = time.monotonic() + _WARN_EVERY_SECONDS
            address = self._settings.address
            _log.warning("Splunk at %s takes no logs: %s", address, problem[:_MAX_PROBLEM])


def _session() -> requests.Session:
    session = requests.Session()
    # The token goes to the address that the settings name: nowhere else, and not replaced by
    # an entry for that host in ~/.netrc, which requests would prefer to our header.
    session.max_redirects = 0
    session.auth = lambda request: request
    return session


class Login:
    """Stands in for ``requests`` within spylunking's ``get_token``.

    That asks without checking the certificate, so anybody could take the password; it waits for
    ever, and lets other variables replace user and password.
    """

    def __init__(self, session: requests.Session, settings: SplunkSettings) -> None:
        self._session = session
        self._settings = settings

    def get(self, url: str, **_unchecked: object) -> requests.Response:
        """Ask for ``url`` as the settings say, whatever else ``get_token`` asks for."""
        settings = self._settings
        response = self._session.get(
            url,
            auth=(settings.user, settings.password),
            verify=settings.verify,
            timeout=POST_TIMEOUTS,
        )
        response.raise_for_status()
        return response
