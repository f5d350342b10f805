"""network-agent: capture for busy hosts, several processes, as a service."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from network_pipeline import settings
from network_pipeline.errors import UsageError
from network_pipeline.options import (
    AGENT_OPTIONS,
    BROKER_OPTIONS,
    CAPTURE_OPTIONS,
    COMPRESSION_OPTION,
    METRICS_OPTIONS,
    PAYLOAD_OPTIONS,
    PUBLISHER_OPTIONS,
    RING_OPTIONS,
    SOURCE_OPTION,
)
from network_pipeline.scripts import cli, publishing

if TYPE_CHECKING:
    from network_pipeline.capture.libpcap import Program
    from network_pipeline.capture.ring_group import RingGroup
    from network_pipeline.capture.ring_socket import RingSocket
    from network_pipeline.scoreboard import Slot
    from network_pipeline.seat import Seat
    from network_pipeline.watcher import Watcher

_SHARED = ("device", "filter")

OPTIONS = (
    *AGENT_OPTIONS,
    *(option for option in CAPTURE_OPTIONS if option.name in _SHARED),
    *RING_OPTIONS,
    *PAYLOAD_OPTIONS,
    COMPRESSION_OPTION,
    SOURCE_OPTION,
    *BROKER_OPTIONS,
    *PUBLISHER_OPTIONS,
    *METRICS_OPTIONS,
)

_log = logging.getLogger(__name__)

_EXAMPLES = """\
examples:
  sudo network-agent --device eth0                 ARP, ICMP, TCP and UDP, to Redis on this host
  sudo network-agent --device eth0 --protocols tcp,udp --payload-bytes 64
  sudo network-agent --device eth0 --filter-file web.bpf --workers 2
  sudo network-agent --device eth0 --sample 1/10   one flow in ten, with all its packets
  network-agent --device eth0 --check              is everything right? start nothing
  sudo network-agent --device eth0 --metrics-port 9106
  network-agent --metrics-port 9106 --status       a table of the workers of that one

A flow is captured by one worker. Workers that die are started again. SIGHUP reads the filter file
again, and loses no packet. SIGTERM and Ctrl-C end it in good order. It needs root or CAP_NET_RAW
and gives both up at once. docs/agent.rst says how to run it with systemd."""


def main() -> int:
    """Run ``network-agent``."""
    return cli.execute(
        cli.Command(
            name="network-agent",
            summary="Capture on busy hosts: worker processes decode packets in memory that they "
            "share with the kernel, and publish them in batches.",
            options=OPTIONS,
            run=_run,
            check=_check,
            status=_status,
            examples=_EXAMPLES,
            logs_later=True,
        )
    )


def _run(values: cli.Values) -> None:
    from network_pipeline import logs  # noqa: PLC0415
    from network_pipeline.notify import Notifier  # noqa: PLC0415
    from network_pipeline.supervisor import Supervisor  # noqa: PLC0415

    agent = settings.agent_settings(values, cli.payload_key(values))
    broker = settings.broker_settings(values)
    limits = publishing.limits(values)
    slots = _slots(agent)
    filters = _filters(agent, broker)
    rings = _open_rings(agent, filters(), [slot.cells for slot in slots])
    seats = _seats(slots, rings)
    watchers = _watchers(values, seats)
    _give_privileges_up()
    logs.begin_to_send()
    from network_pipeline import worker  # noqa: PLC0415

    work = worker.Work(agent, broker, limits, publishing.sessions(limits, broker))

    def run_worker(own: Sequence[RingSocket], slot: Slot, session: str) -> int:
        logs.go_on_in_child()
        try:
            return cli.run_guarded("network-agent", lambda: worker.run(work, own, slot, session))
        finally:
            logs.shutdown()

    notifier = Notifier(settings.notify_socket(settings.environment()))
    supervisor = Supervisor(rings, seats, run_worker, filters=filters, notifier=notifier,
                            sessions=work.sessions, watchers=watchers)  # fmt: skip
    supervisor.run()


def _slots(agent: settings.AgentSettings) -> Sequence[Slot]:
    from network_pipeline import figures, scoreboard  # noqa: PLC0415
    from network_pipeline.capture.ring_group import cells_needed  # noqa: PLC0415

    return scoreboard.slots(agent.workers, scoreboard.COUNTED, figures=figures.WIDTH,
                            cells=cells_needed(len(agent.devices)))  # fmt: skip


def _seats(slots: Sequence[Slot], rings: RingGroup) -> Sequence[Seat]:
    from network_pipeline.seat import Seat  # noqa: PLC0415

    return [Seat(number, slot, rings) for number, slot in enumerate(slots)]


def _watchers(values: cli.Values, seats: Sequence[Seat]) -> Sequence[Watcher]:
    """Return what shows how the workers do. A port is taken now: a low one needs root."""
    from network_pipeline.watcher import Lines  # noqa: PLC0415

    found: list[Watcher] = []
    if sys.stderr.isatty():
        from network_pipeline.agent_table import LiveTable  # noqa: PLC0415

        found.append(LiveTable(seats))
    else:
        found.append(Lines(seats))
    if values["metrics_port"] is not None:
        from network_pipeline.agent_metrics import Metrics  # noqa: PLC0415

        metrics = Metrics((values["metrics_address"], values["metrics_port"]), seats)
        metrics.listen()
        found.append(metrics)
    return found


def _filters(
    agent: settings.AgentSettings, broker: settings.BrokerSettings
) -> Callable[[], Mapping[str, Program]]:
    """Return what reads the filter and compiles it for every device."""
    from network_pipeline.broker import topology  # noqa: PLC0415
    from network_pipeline.capture.filters import programs  # noqa: PLC0415

    return lambda: programs(agent.devices, agent.filter_text(), topology.servers(broker))


def _open_rings(
    agent: settings.AgentSettings, programs: Mapping[str, Program], cells: Sequence[memoryview]
) -> RingGroup:
    from network_pipeline.capture.ring_group import RingGroup  # noqa: PLC0415

    rings = RingGroup(tuple(programs), agent.ring, cells)
    rings.open(programs)
    return rings


def _give_privileges_up() -> None:
    """Give up root, after all that only root may read was imported, or else capabilities, before.

    Some libraries start threads as they are imported, and a thread keeps its own capabilities;
    root is given up for all threads together.
    """
    from network_pipeline import privileges  # noqa: PLC0415

    if os.geteuid() == 0:
        from network_pipeline import worker  # noqa: F401, PLC0415

        done = privileges.drop_root(settings.invoking_user(settings.environment()))
        _log.info("%s", done)
    elif left := privileges.drop_capabilities():
        _log.warning(
            "%d threads that began before keep a capability, such as those that "
            "OPENBLAS_NUM_THREADS asks for; none where root is given up", left,
        )  # fmt: skip


def _status(values: cli.Values) -> None:
    if values["metrics_port"] is None:
        raise UsageError(
            "--status asks an agent for its metrics: start the agent with --metrics-port N, and "
            "give --status the same"
        )
    from network_pipeline.agent_table import print_status  # noqa: PLC0415

    print_status((values["metrics_address"], values["metrics_port"]))


def _check(values: cli.Values) -> list[str]:
    from network_pipeline.capture.ring_cells import CELLS  # noqa: PLC0415

    agent = settings.agent_settings(values, cli.payload_key(values))
    broker = settings.broker_settings(values)
    cells = [memoryview(bytearray(8 * CELLS * len(agent.devices))).cast("q")] * agent.workers
    _open_rings(agent, _filters(agent, broker)(), cells).close()
    check = publishing.checks(publishing.limits(values), broker)
    _give_privileges_up()
    return [
        f"permission to capture on {', '.join(agent.devices)}, with {agent.workers} workers",
        f"filter {agent.filter_text()!r}, without the broker's own traffic",
        *check(),
    ]
