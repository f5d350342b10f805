"""Messages between a capture and the broker: memory, and behind it the spool on disk.

Memory is the fast path: a message is appended, sent, confirmed and gone. A second thread, the
spooler, moves the oldest messages to disk, many at once, when one has waited for more than a
second (the broker is away, refuses, or is slower than the traffic) or memory is half full. So
neither a capture nor the sender ever waits for a disk, and a kill costs what came within about
that second. What is on disk is older than what is in memory and is sent first; files that earlier
runs left are older still. A message that is being sent stays where it is until it is confirmed.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count, islice

from network_pipeline.broker.spool import Spool
from network_pipeline.broker.spool_file import Spooled, SpoolFile
from network_pipeline.losses import Losses, frames_in
from network_pipeline.message import Message
from network_pipeline.metrics import Counters

#: What may wait in memory: messages, and bytes of their bodies together.
MAX_MESSAGES = 65_536
MAX_BYTES = 64 * 1024 * 1024
#: A message that waited for so long in memory goes to disk.
SPILL_SECONDS = 1.0
#: Pause between two looks for files that other runs left.
ADOPT_SECONDS = 10.0

_LOOK_SECONDS = 0.25
_RETRY_SECONDS = 1.0
_SPILL_MESSAGES = 1024
_SPILL_BYTES = 4 * 1024 * 1024


@dataclass(slots=True, eq=False)
class Outgoing:
    """A message on its way, its place in the order, and the file it is in, if any."""

    number: int
    message: Message
    frames: int
    attempts: int = 0
    file: SpoolFile | None = None
    since: float = field(default_factory=time.monotonic)

    def to_send(self) -> Message:
        """Return the message as it is sent: ``attempt`` says that the broker may have it."""
        if not self.attempts:
            return self.message
        headers = {**self.message.headers, "attempt": self.attempts}
        return Message(self.message.body, self.message.content_type, headers)

    def spooled(self) -> Spooled:
        """Return the message as it is on disk."""
        return Spooled(self.number, self.frames, self.message)


class Buffer:
    """Takes messages without waiting, gives them out in order, and forgets the confirmed ones."""

    def __init__(
        self, counters: Counters, spool: Spool | None, *, max_messages: int, max_bytes: int
    ) -> None:
        self.losses = spool.losses if spool else Losses()
        self._counters = counters
        self._spool = spool
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._numbers = count(1)
        self._lock = threading.RLock()
        #: Something changed that a sender, or one who waits for room, may want to know.
        self._changed = threading.Condition(self._lock)
        #: Memory is half full, or there is no time to lose, or it is time to end.
        self._pressed = threading.Condition(self._lock)
        self._memory: deque[Outgoing] = deque()
        self._bytes = 0
        self._is_spilling = self._is_hurried = self._is_stopping = self._is_closed = False
        self._next_spill = 0.0
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="spooler", daemon=True)

    def start(self) -> None:
        """Open the spool, if there is one, and start the spooler.

        Raises:
            UsageError: the spool's directory cannot be used.
        """
        if self._spool:
            self._spool.open()
            self._thread.start()

    def check(self) -> None:
        """Raise what ended the spooler before its time, a mistake of ours."""
        if self._failure:
            raise self._failure

    # -- whoever captures

    def add(self, message: Message) -> bool:
        """Take a message; return False where memory is full and its frames were shed."""
        frames = frames_in(message)
        with self._lock:
            fits = self._has_room(message)
            if fits:
                self._memory.append(Outgoing(next(self._numbers), message, frames))
                self._bytes += len(message.body)
                self._changed.notify_all()
                if self._is_half_full():
                    self._pressed.notify()
            else:
                self.losses.add(message)
                self._counters.add("shed", frames)
        return fits

    def await_room(self, message: Message, timeout: float) -> bool:
        """Wait up to ``timeout`` seconds until a message would not be shed; return whether so."""
        with self._lock:
            return self._changed.wait_for(lambda: self._has_room(message), timeout)

    def waiting(self) -> int:
        """Return how many messages wait in memory."""
        return len(self._memory)

    def has_own(self) -> bool:
        """Whether messages of this run wait, in memory or on disk."""
        with self._lock:
            return bool(self._memory) or (self._spool is not None and self._spool.has_own())

    # -- the sender

    def take(self, most: int, most_bytes: int, is_over: Callable[[], bool]) -> list[Outgoing]:
        """Wait for messages; return the oldest ones, or none once ``is_over``.

        They stay in the buffer until :meth:`settle`.
        """
        while True:
            with self._lock:
                self._changed.wait_for(lambda: is_over() or self._oldest_file() or self._at_rest())
                if is_over():
                    return []
                file = self._oldest_file()
                if file is None:
                    return self._take_memory(most, most_bytes)
            if batch := self._read(file, most, most_bytes):
                return batch

    def settle(self, batch: Sequence[Outgoing], confirmed: set[int]) -> None:
        """Forget those of a batch that the broker has, by their index; the others stay."""
        taken = [outgoing for index, outgoing in enumerate(batch) if index in confirmed]
        with self._lock:
            self._changed.wait_for(lambda: not self._is_spilling)
            if self._is_closed:
                return
            self._settle_memory(batch, taken)
            self._changed.notify_all()
        for file in {outgoing.file for outgoing in taken if outgoing.file}:
            assert self._spool
            self._spool.remove(file, [each.spooled() for each in taken if each.file is file])
            self.wake()

    def wake(self) -> None:
        """Make whoever waits look again at what it waits for."""
        with self._lock:
            self._changed.notify_all()

    def hurry(self) -> None:
        """Move what waits to disk from now on without waiting any longer."""
        with self._lock:
            self._is_hurried = True
            self._pressed.notify()

    def pause(self, seconds: float, is_over: Callable[[], bool]) -> None:
        """Wait until it is over, or up to ``seconds``."""
        with self._lock:
            self._changed.wait_for(is_over, seconds)

    def close(self) -> int:
        """Move what is left to disk and close; return how many frames had to be shed.

        Whatever is raised meanwhile, what did not get to disk is counted as shed.
        """
        with self._lock:
            self._is_stopping = True
            self._pressed.notify()
        if self._thread.ident is not None:
            self._thread.join()
        try:
            while self._spool and self._memory and self._spill(self._spool):
                pass
        finally:
            left = self._shed_all()
            if self._spool:
                self._spool.close()
        return left

    def _shed_all(self) -> int:
        with self._lock:
            self._is_closed = True
            left = sum(outgoing.frames for outgoing in self._memory)
            for outgoing in self._memory:
                self.losses.add(outgoing.message)
            self._memory.clear()
            self._bytes = 0
            self._counters.add("shed", left)
            self._changed.notify_all()
        return left

    def _oldest_file(self) -> SpoolFile | None:
        return self._spool.oldest() if self._spool else None

    def _read(self, file: SpoolFile, most: int, most_bytes: int) -> list[Outgoing]:
        assert self._spool
        found = self._spool.read(file, most, most_bytes)
        # An earlier attempt to send it may have ended with its run: nobody knows.
        return [Outgoing(each.id, each.message, each.frames, 1, file) for each in found]

    # -- memory

    def _has_room(self, message: Message) -> bool:
        return (
            not self._is_closed
            and len(self._memory) < self._max_messages
            and self._bytes + len(message.body) <= self._max_bytes
        )

    def _is_half_full(self) -> bool:
        return 2 * len(self._memory) > self._max_messages or 2 * self._bytes > self._max_bytes

    def _at_rest(self) -> bool:
        """Whether memory holds messages of which none is being moved to disk."""
        return bool(self._memory) and not self._is_spilling

    def _first(self, most: int, most_bytes: int) -> list[Outgoing]:
        batch: list[Outgoing] = []
        size = 0
        for outgoing in islice(self._memory, most):
            batch.append(outgoing)
            size += len(outgoing.message.body)
            if size >= most_bytes:
                break
        return batch

    def _take_memory(self, most: int, most_bytes: int) -> list[Outgoing]:
        batch = self._first(most, most_bytes)
        if self._spool:
            self._spool.note_in_flight(batch[-1].number)
        return batch

    def _settle_memory(self, batch: Iterable[Outgoing], taken: Sequence[Outgoing]) -> None:
        """Memory begins with those of the batch that did not go to disk meanwhile."""
        numbers = {outgoing.number for outgoing in taken}
        unconfirmed = []
        for outgoing in batch:
            outgoing.attempts += 1
            if outgoing.file is None:
                self._memory.popleft()
                if outgoing.number not in numbers:
                    unconfirmed.append(outgoing)
        self._memory.extendleft(reversed(unconfirmed))
        done = [outgoing for outgoing in taken if outgoing.file is None]
        self._bytes -= sum(len(outgoing.message.body) for outgoing in done)
        self._counters.add("published", sum(outgoing.frames for outgoing in done))

    # -- the spooler

    def _run(self) -> None:
        assert self._spool
        try:
            self._look_after(self._spool)
        except Exception as error:
            self._failure = error

    def _look_after(self, spool: Spool) -> None:
        next_look = time.monotonic() + ADOPT_SECONDS
        while True:
            with self._lock:
                if not self._is_due():
                    self._pressed.wait(_LOOK_SECONDS)
                if self._is_stopping:
                    return
                due = self._is_due()
            if due and not self._spill(spool):
                self._next_spill = time.monotonic() + _RETRY_SECONDS
            if time.monotonic() >= next_look:
                next_look = time.monotonic() + ADOPT_SECONDS
                if spool.adopt():
                    self.wake()

    def _is_due(self) -> bool:
        now = time.monotonic()
        if not self._memory or now < self._next_spill:
            return False
        is_old = now - self._memory[0].since > SPILL_SECONDS
        return is_old or self._is_hurried or self._is_half_full()

    def _spill(self, spool: Spool) -> bool:
        """Move the oldest messages to disk; return whether any went."""
        with self._lock:
            self._is_spilling = True
            batch = self._first(_SPILL_MESSAGES, _SPILL_BYTES)
        file, stored = None, 0
        try:
            file, stored = spool.store([outgoing.spooled() for outgoing in batch])
        finally:
            with self._lock:
                for outgoing in batch[:stored]:
                    outgoing.file = file
                    self._memory.popleft()
                    self._bytes -= len(outgoing.message.body)
                self._is_spilling = False
                self._changed.notify_all()
        return stored > 0
