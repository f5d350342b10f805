"""Random faults, from a seed, on a pipeline that runs all the while.

Two agents, of either engine, share a spool; two processors share the queue. Between them and the
broker is a cable that can be cut; both sides write to disks that can be full. Every few seconds
something breaks, often while something else is broken, and is mended some time later. What ended is
started again as soon as that can work.
"""

from __future__ import annotations

import random
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from network_pipeline.errors import NetworkPipelineError
from tests import servers
from tests.broker import flow
from tests.faults import messages
from tests.faults.cable import Cable
from tests.faults.pipeline import Pipeline, Process

#: Pause between two faults, and the longest that each of them lasts.
PAUSE_SECONDS = (1.0, 5.0)
AWAY_SECONDS, FROZEN_SECONDS, CUT_SECONDS, FULL_SECONDS = 30.0, 15.0, 30.0, 20.0

Act = Callable[[], object]


class Disk:
    """A file system in memory that can be full from one moment to the next."""

    def __init__(self, place: Path, size_kib: int) -> None:
        self.place = place
        self._size_kib = size_kib

    def fill(self) -> None:
        used = subprocess.run(["du", "--summarize", "--block-size=1K", str(self.place)],
                              capture_output=True, text=True, check=True).stdout  # fmt: skip
        self._resize(int(used.split()[0]) + 64)

    def free(self) -> None:
        self._resize(self._size_kib)

    def _resize(self, size_kib: int) -> None:
        options = f"remount,size={size_kib}k"
        # What was written meanwhile may need more: then it is full enough, or is tried again.
        subprocess.run(["mount", "-o", options, str(self.place)], check=False)


@dataclass
class Broken:
    """Something that is to be mended, when and how."""

    until: float
    mend: Act


@dataclass
class Role:
    """A part that is to run always: how it is started, and whether only with a broker."""

    name: str
    start: Callable[[], Process]
    needs_broker: bool
    part: Process | None = None
    starts: int = 0
    failures: list[str] = field(default_factory=list)

    @property
    def runs(self) -> bool:
        return self.part is not None and self.part.runs


def started_processor(pipeline: Pipeline, name: str) -> Process:
    flags = ("--rotate-after-rows", "50000", "--save-after-num", "2000")
    part = pipeline.process("--name", name, *flags)
    part.await_file()
    return part


class Soak:
    """Breaks things until its time is over; ``faults`` tells what and when."""

    def __init__(
        self,
        columnar: Pipeline,
        nested: Pipeline,
        *,
        server: servers.Server,
        cable: Cable,
        disks: tuple[Disk, Disk],
        seed: int,
    ) -> None:
        self.faults: list[tuple[float, str]] = []
        self._pipeline = columnar
        self._server = server
        self._cable = cable
        self._rows_disk, self._spool_disk = disks
        self._chance = random.Random(seed)
        self._began = time.monotonic()
        self._broken: dict[str, Broken] = {}
        self.agents = [
            Role("columnar agent", lambda: columnar.capture("--engine", "columnar"), False),
            Role("scapy agent", lambda: nested.capture("--engine", "scapy"), False),
        ]
        self.processors = [
            Role("processor 1", partial(started_processor, columnar, "one"), True),
            Role("processor 2", partial(started_processor, columnar, "two"), True),
        ]
        #: Each with its weight.
        self._choices: list[tuple[int, Callable[[], str]]] = [
            (4, self._kill_an_agent),
            (2, self._end_an_agent),
            (4, self._kill_a_processor),
            (2, self._end_a_processor),
            (2, self._freeze_a_processor),
            (2, lambda: self._break_broker("kill", server.kill, AWAY_SECONDS, self._start_server)),
            (2, lambda: self._break_broker("stop", server.stop, AWAY_SECONDS, self._start_server)),
            (2, lambda: self._break_broker("freeze", server.freeze, FROZEN_SECONDS, server.thaw)),
            (2, lambda: self._break("network", "cut", cable.cut, CUT_SECONDS, cable.join)),
            (2, lambda: self._break("network", "swallow", cable.swallow, CUT_SECONDS,
                                    cable.pass_on)),
            (2, lambda: self._fill("rows", self._rows_disk)),
            (2, lambda: self._fill("spool", self._spool_disk)),
            (2, self._publish_poison),
        ]  # fmt: skip

    def run(self, seconds: float) -> None:
        """Break things for so long, then mend all that is broken."""
        self._began = time.monotonic()
        self._keep_running()
        while time.monotonic() < self._began + seconds:
            self._wait(self._chance.uniform(*PAUSE_SECONDS))
            self._break_something()
        for what in list(self._broken):
            self._broken.pop(what).mend()
        self._keep_running()

    def report(self) -> str:
        lines = [f"{at:7.1f} s  {what}" for at, what in self.faults]
        for role in (*self.agents, *self.processors):
            lines.append(f"{role.name}: started {role.starts} times")
            lines += [f"  not once: {text}" for text in role.failures]
        return "\n".join(lines)

    def _wait(self, seconds: float) -> None:
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            self._mend_what_is_due()
            self._keep_running()
            time.sleep(0.05)

    def _mend_what_is_due(self) -> None:
        for what, broken in list(self._broken.items()):
            if time.monotonic() >= broken.until:
                del self._broken[what]
                broken.mend()

    def _keep_running(self) -> None:
        for role in (*self.agents, *self.processors):
            if role.runs or (role.needs_broker and "broker" in self._broken):
                continue
            try:
                role.part = role.start()
                role.starts += 1
            except NetworkPipelineError as error:
                role.part = None
                role.failures.append(str(error)[-300:])

    # -- faults; each returns what it did, or nothing where that cannot be done now

    def _break_something(self) -> None:
        weights = [weight for weight, _ in self._choices]
        did = ""
        while not did:
            [(_, fault)] = self._chance.choices(self._choices, weights)
            did = fault()
        self.faults.append((time.monotonic() - self._began, did))

    def _break(self, what: str, how: str, act: Act, longest: float, mend: Act) -> str:
        if what in self._broken:
            return ""
        seconds = self._chance.uniform(1.0, longest)
        act()
        self._broken[what] = Broken(time.monotonic() + seconds, mend)
        return f"{how} {what} for {seconds:.1f} s"

    def _break_broker(self, how: str, act: Act, longest: float, mend: Act) -> str:
        return self._break("broker", how, act, longest, mend)

    def _start_server(self) -> None:
        with self._cable.far.entered():
            self._server.start()

    def _fill(self, what: str, disk: Disk) -> str:
        return self._break(f"disk of {what}", "fill", disk.fill, FULL_SECONDS, disk.free)

    def _one_of(self, roles: list[Role]) -> Process | None:
        part = self._chance.choice(roles).part
        return part if part and part.runs and part.name not in self._broken else None

    def _kill_an_agent(self) -> str:
        return self._kill(self.agents)

    def _kill_a_processor(self) -> str:
        return self._kill(self.processors)

    def _kill(self, roles: list[Role]) -> str:
        part = self._one_of(roles)
        if part is None:
            return ""
        part.kill()
        return f"kill -9 {part.name}"

    def _end_an_agent(self) -> str:
        return self._end(self.agents)

    def _end_a_processor(self) -> str:
        return self._end(self.processors)

    def _end(self, roles: list[Role]) -> str:
        part = self._one_of(roles)
        if part is None:
            return ""
        part.signal(signal.SIGTERM)
        while part.runs:  # an agent with a full disk waits for its broker
            self._mend_what_is_due()
            time.sleep(0.05)
        return f"end {part.name}: exit code {part.wait()}"

    def _freeze_a_processor(self) -> str:
        part = self._one_of(self.processors)
        if part is None:
            return ""
        freeze, thaw = partial(part.signal, signal.SIGSTOP), partial(part.signal, signal.SIGCONT)
        return self._break(part.name, "freeze", freeze, 5.0, thaw)

    def _publish_poison(self) -> str:
        if "broker" in self._broken:
            return ""
        with self._cable.far.entered():
            flow.publish(self._pipeline.broker, messages.poison())
        return f"publish {len(messages.poison())} messages that are poison"
