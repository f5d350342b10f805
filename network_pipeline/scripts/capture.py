"""capture-arp, capture-icmp, capture-ssh, capture-tcp, capture-telnet, capture-udp.

One function and a table: the commands differ by their default filter.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from network_pipeline import settings
from network_pipeline.scripts import cli, watch

if TYPE_CHECKING:
    from network_pipeline.agent import Encoder
    from network_pipeline.broker.publisher import Publisher
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
  sudo capture-{protocol} --engine columnar        for busy devices: batches, as Arrow messages
  FORWARD_BROKER_URL=amqp://guest:guest@localhost:5672// sudo -E capture-{protocol}
  capture-{protocol} --check                       is everything right? start nothing

Rows appear where packets-redis or packets-rabbitmq runs. Ctrl-C ends it in good order: what was
captured is published first, or kept on disk for the next run. Capturing needs root or CAP_NET_RAW;
root is given up at once."""


def _run(values: cli.Values) -> None:
    from network_pipeline.agent import Agent, new_session  # noqa: PLC0415
    from network_pipeline.broker import durability  # noqa: PLC0415
    from network_pipeline.broker.publisher import Publisher  # noqa: PLC0415
    from network_pipeline.metrics import Counters  # noqa: PLC0415
    from network_pipeline.report import Report  # noqa: PLC0415
    from network_pipeline.sessions import SessionBook  # noqa: PLC0415

    stop = cli.stop_on_signals()
    broker = settings.broker_settings(values)
    capture = settings.capture_settings(values)
    session = new_session()
    counters = Counters("captured", "published", "spooled", "shed", "kernel_dropped", "adopted",
                        "damaged")  # fmt: skip
    limits = _publisher_settings(values)
    publisher = Publisher(broker, counters, limits)
    kept = limits.spool_dir / f"sessions-{broker.destination}" if limits.spool_dir else None
    book = SessionBook(kept, source=capture.source, session=session)
    source = _source(capture, broker)
    agent = Agent(source, _encoder(capture, session), publisher, book, counters,
                  stop_after_num=capture.stop_after_num)  # fmt: skip
    exposed = watch.exposition(values, "agent", agent, *_metrics(counters, publisher))
    _open(source)
    try:
        durability.warn(broker)
        publisher.start()
        _log.info("session %s: capturing on %s", session, ", ".join(capture.devices))
        with exposed, Report("capture", counters, lambda: {"waiting": publisher.waiting()}):
            agent.run(stop)
    finally:
        source.stop()


def _metrics(
    counters: Counters, publisher: Publisher
) -> tuple[Callable[[], Mapping[str, int]], Callable[[], Mapping[str, float]]]:
    """Return what gives the counts of frames, and the gauges."""

    def frames() -> Mapping[str, int]:
        counts = counters.snapshot()
        return {name: count for name, count in counts.items() if name != "spooled"}

    def gauges() -> Mapping[str, float]:
        return {
            "spooled_frames": counters["spooled"],
            "waiting_messages": publisher.waiting(),
            "queue_messages": publisher.queue_messages,
            "broker_connected": publisher.is_connected,
        }

    return frames, gauges


def _encoder(capture: settings.CaptureSettings, session: str) -> Encoder:
    """Import the engine, while root may still read it, and return how it makes messages."""
    if capture.engine == "columnar":
        from network_pipeline import arrow_messages  # noqa: PLC0415

        return partial(arrow_messages.of_frames, session=session, source=capture.source,
                       compression=capture.compression)  # fmt: skip
    from network_pipeline import json_messages  # noqa: PLC0415

    return partial(json_messages.of_frames, session=session, source=capture.source)


def _publisher_settings(values: cli.Values) -> settings.PublisherSettings:
    """Choose the spool's directory; make it where the user to come could not."""
    from network_pipeline import privileges  # noqa: PLC0415

    limits = settings.publisher_settings(values)
    if limits.spool_dir or not limits.spool_max_bytes:
        return limits
    variables = settings.environment()
    user = privileges.successor(settings.invoking_user(variables))
    place = settings.spool_dir(variables, user)
    if user and place.is_relative_to(settings.SYSTEM_STATE_DIR):
        privileges.make_directory(place, user)
    return replace(limits, spool_dir=place)


def _source(capture: settings.CaptureSettings, broker: settings.BrokerSettings) -> Source:
    from network_pipeline.broker import topology  # noqa: PLC0415
    from network_pipeline.capture.sniffer import Sniffer  # noqa: PLC0415

    enough = _BATCH_FRAMES if capture.engine == "columnar" else 1
    return Sniffer(capture, topology.servers(broker), enough_frames=enough)


def _open(source: Source) -> None:
    """Open the sockets, which takes root, and give root up."""
    from network_pipeline.privileges import drop_root  # noqa: PLC0415

    source.open()
    if done := drop_root(settings.invoking_user(settings.environment())):
        _log.info("%s", done)


def _check(values: cli.Values) -> list[str]:
    from network_pipeline.broker import durability, topology  # noqa: PLC0415
    from network_pipeline.broker.spool_directory import SpoolDirectory  # noqa: PLC0415

    broker = settings.broker_settings(values)
    capture = settings.capture_settings(values)
    limits = _publisher_settings(values)
    source = _source(capture, broker)
    _open(source)
    source.stop()
    if limits.has_spool:
        SpoolDirectory(broker, limits).check()
    topology.check(broker)
    durability.warn(broker)
    return [
        f"permission to capture on {', '.join(capture.devices)}",
        f"filter {capture.filter!r}, without the broker's own traffic",
        f"broker {broker.safe_url}",
        f"spool {limits.spool_dir}" if limits.has_spool else "no spool",
    ]


def _command(protocol: str, what: str) -> Callable[[], int]:
    def entry_point() -> int:
        options = tuple(
            replace(option, default=settings.DEFAULT_FILTERS[protocol])
            if option.name == "filter"
            else option
            for option in settings.CAPTURE_OPTIONS
        )
        return cli.execute(
            cli.Command(
                name=f"capture-{protocol}",
                summary=f"Capture {what}, decode each frame and publish it.",
                options=(
                    *options,
                    *settings.BROKER_OPTIONS,
                    *settings.PUBLISHER_OPTIONS,
                    *settings.METRICS_OPTIONS,
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
