"""capture-arp, capture-icmp, capture-ssh, capture-tcp, capture-telnet, capture-udp.

One function and a table: the commands differ by their default filter.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from network_pipeline import settings
from network_pipeline.metrics import Reading
from network_pipeline.options import (
    BROKER_OPTIONS,
    CAPTURE_OPTIONS,
    DEFAULT_FILTERS,
    METRICS_OPTIONS,
    PUBLISHER_OPTIONS,
    RING_OPTIONS,
)
from network_pipeline.scripts import cli, publishing, watch

if TYPE_CHECKING:
    from network_pipeline.agent import Agent, Encoder
    from network_pipeline.broker.publisher import Publisher
    from network_pipeline.capture.ring import Ring
    from network_pipeline.capture.source import Source
    from network_pipeline.metrics import Counters

#: Frames that make a columnar batch worth its cost; fewer wait for others, but not long.
_BATCH_FRAMES = 4096

_log = logging.getLogger(__name__)

_EXAMPLES = """\
examples:
  sudo capture-{protocol}                          frames on lo, to Redis on this host
  sudo capture-{protocol} --device eth0 --device wg0
  sudo capture-{protocol} --device any --filter 'net 192.0.2.0/24'
  sudo capture-{protocol} --engine ring            for busy devices: batches, as Arrow messages
  FORWARD_BROKER_URL=amqp://guest:guest@localhost:5672// sudo -E capture-{protocol}
  capture-{protocol} --check                       is everything right? start nothing

Rows appear where packets-redis or packets-rabbitmq runs. Ctrl-C ends it in good order: what was
captured is published first, or kept on disk for the next run. Capturing needs root or CAP_NET_RAW;
root is given up at once."""


def _run(values: cli.Values) -> None:
    from network_pipeline.agent import Agent, new_session  # noqa: PLC0415
    from network_pipeline.broker import durability  # noqa: PLC0415
    from network_pipeline.broker.publisher import Publisher  # noqa: PLC0415
    from network_pipeline.metrics import AGENT_COUNTS, Counters, Pulse  # noqa: PLC0415
    from network_pipeline.report import Report  # noqa: PLC0415
    from network_pipeline.sessions import SessionBook  # noqa: PLC0415

    stop = cli.stop_on_signals()
    broker = settings.broker_settings(values)
    capture = settings.capture_settings(values)
    session = new_session()
    counters = Counters(*AGENT_COUNTS, *_sampling(values))
    limits = publishing.limits(values)
    publisher = Publisher(broker, counters, limits)
    book = SessionBook(publishing.sessions(limits, broker), source=capture.source, session=session)
    pulse = Pulse()
    ring = _ring(values)
    source = ring or _sniffer(values)
    source.open()
    try:
        agent = Agent(source, _encoder(capture, session), publisher, book, counters,
                      stop_after_num=capture.stop_after_num, beat=pulse.beat)  # fmt: skip
        exposed = watch.exposition(
            values, "agent", pulse, partial(_reading, agent, counters, publisher, ring)
        )
        _give_root_up()
        durability.warn(broker)
        publisher.start()
        _log.info("session %s: capturing on %s", session, ", ".join(capture.devices))
        with exposed, Report("capture", counters, lambda: {"waiting": publisher.waiting()}):
            agent.run(stop)
    finally:
        source.stop()


def _reading(
    agent: Agent[Any], counters: Counters, publisher: Publisher, ring: Ring | None
) -> Reading:
    frames = counters.snapshot()
    spooled = frames.pop("spooled")
    freezes = {"kernel_freezes": ring.freezes()} if ring else {}
    return Reading(
        frames=frames,
        amounts={"captured_bytes": agent.captured_bytes, **freezes},
        gauges={
            "spooled_frames": spooled,
            "waiting_messages": publisher.waiting(),
            "queue_messages": publisher.queue_messages,
            "broker_connected": publisher.is_connected,
        },
        histograms={name: one.snapshot() for name, one in agent.histograms.items()},
    )


def _sampling(values: cli.Values) -> tuple[str, ...]:
    """Return the names of the counters that sampling needs: none without it."""
    return ("not_sampled",) if values["engine"] == "ring" and values["sample"] > 1 else ()


def _encoder(capture: settings.CaptureSettings, session: str) -> Encoder[Any]:
    """Import the engine, while root may still read it, and return how it makes messages."""
    if capture.engine != "scapy":
        from network_pipeline import arrow_messages  # noqa: PLC0415

        made = arrow_messages.of_batch if capture.engine == "ring" else arrow_messages.of_frames
        return partial(made, session=session, source=capture.source,
                       compression=capture.compression)  # fmt: skip
    from network_pipeline import json_messages  # noqa: PLC0415

    return partial(json_messages.of_frames, session=session, source=capture.source)


def _give_root_up() -> None:
    from network_pipeline.privileges import drop_root  # noqa: PLC0415

    if done := drop_root(settings.invoking_user(settings.environment())):
        _log.info("%s", done)


def _sniffer(values: cli.Values) -> Source[Any]:
    from network_pipeline.broker import topology  # noqa: PLC0415
    from network_pipeline.capture.sniffer import Sniffer  # noqa: PLC0415

    capture, broker = settings.capture_settings(values), settings.broker_settings(values)
    enough = _BATCH_FRAMES if capture.engine == "columnar" else 1
    return Sniffer(capture, topology.servers(broker), enough_frames=enough)


def _ring(values: cli.Values) -> Ring | None:
    """Return the source of the ring engine, whose sockets are opened here; None with another."""
    if values["engine"] != "ring":
        return None
    from network_pipeline.broker import topology  # noqa: PLC0415
    from network_pipeline.capture import filters, ring  # noqa: PLC0415

    capture, broker = settings.capture_settings(values), settings.broker_settings(values)
    wanted = settings.ring_settings(values, rings=len(capture.devices))
    programs = filters.programs(capture.devices, capture.filter, topology.servers(broker))
    sockets = ring.open_sockets(programs, wanted)
    return ring.Ring(sockets, last=capture.stop_after_num, sample=wanted.sample)


def _check(values: cli.Values) -> list[str]:
    capture = settings.capture_settings(values)
    check = publishing.checks(publishing.limits(values), settings.broker_settings(values))
    source = _ring(values) or _sniffer(values)
    source.open()
    source.stop()
    _give_root_up()
    return [
        f"permission to capture on {', '.join(capture.devices)}",
        f"filter {capture.filter!r}, without the broker's own traffic",
        *check(),
    ]


def _command(protocol: str, what: str) -> Callable[[], int]:
    def entry_point() -> int:
        options = tuple(
            replace(option, default=DEFAULT_FILTERS[protocol])
            if option.name == "filter"
            else option
            for option in CAPTURE_OPTIONS
        )
        return cli.execute(
            cli.Command(
                name=f"capture-{protocol}",
                summary=f"Capture {what}, decode each frame and publish it.",
                options=(
                    *options,
                    *RING_OPTIONS,
                    *BROKER_OPTIONS,
                    *PUBLISHER_OPTIONS,
                    *METRICS_OPTIONS,
                ),
                run=_run,
                check=_check,
                examples=_EXAMPLES.format(protocol=protocol),
            )
        )

    return entry_point


arp = _command("arp", "ARP")
icmp = _command("icmp", "ICMP and ICMPv6")
ssh = _command("ssh", "SSH (TCP port 22)")
tcp = _command("tcp", "web traffic (TCP ports 80, 443, 8080 and 8443)")
telnet = _command("telnet", "Telnet (TCP port 23)")
udp = _command("udp", "UDP, DNS included")
