"""One worker of an agent: reads its rings, decodes, publishes, until it is told to end.

It is a child of the supervisor, which opened the rings and gave root up. SIGTERM ends it in good
order: it takes no more frames in, and publishes what it has. SIGUSR1 makes it leave: what its rings
hold is then for its successor. It ends in good order too when its supervisor is gone.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from network_pipeline import arrow_messages, figures
from network_pipeline.agent import Agent
from network_pipeline.broker.publisher import Publisher
from network_pipeline.capture.ring import Ring
from network_pipeline.capture.ring_socket import RingSocket
from network_pipeline.frames import FrameBatch
from network_pipeline.scoreboard import Slot
from network_pipeline.sessions import SessionBook
from network_pipeline.settings import AgentSettings, BrokerSettings, PublisherSettings


@dataclass(frozen=True)
class Work:
    """What all workers do: what to capture, where to publish it, and where to keep it meanwhile.

    ``sessions`` is the directory of the sessions' ledgers, None for none.
    """

    agent: AgentSettings
    broker: BrokerSettings
    limits: PublisherSettings
    sessions: Path | None


def run(work: Work, rings: Sequence[RingSocket], slot: Slot, session: str) -> None:
    """Run one session, to its end.

    Raises:
        BrokerError: the broker cannot be used at the start.
        NetworkPipelineError: frames could not be published before the time to end was over.
    """
    counters = slot.begin()
    settings = work.agent
    publisher = Publisher(work.broker, counters, work.limits)
    book = SessionBook(work.sessions, source=settings.source, session=session)
    ring = Ring(rings, sample=settings.ring.sample)
    stop = _stop_on_signals(ring.leave)
    encode = partial(arrow_messages.of_batch, session=session, source=settings.source,
                     compression=settings.compression, payload=settings.payload)  # fmt: skip

    def beat() -> None:
        slot.beat(figures.of(agent, publisher))

    agent: Agent[FrameBatch] = Agent(ring, encode, publisher, book, counters, beat=beat)
    publisher.start()
    beat()
    ring.open()
    agent.run(stop)


def _stop_on_signals(leave: Callable[[], None]) -> threading.Event:
    stop = threading.Event()

    def on_signal(number: int, _frame: object) -> None:
        if number == signal.SIGUSR1:
            leave()
        stop.set()

    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, on_signal)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM, signal.SIGUSR1))
    return stop
