"""capture-pcap: the frames of capture files to the broker, as if they were captured now."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from network_pipeline import rules, settings
from network_pipeline.errors import NetworkPipelineError
from network_pipeline.scripts import cli
from network_pipeline.settings import Option

if TYPE_CHECKING:
    from network_pipeline.file_agent import Encoder, Published
    from network_pipeline.metrics import Counters

OPTIONS = (
    Option("speed", "REPLAY_SPEED", "max", rules.speed,
           "1x publishes the frames at the pace of their capture, 10x ten times as fast, 0.5x at "
           "half of it, max as fast as the broker takes them: the times in the rows are those of "
           "the capture anyway, so the pace only matters to who watches", "Nx"),
    Option("messages", "MESSAGES", "arrow", rules.one_of("arrow", "json"),
           "arrow: many packets in a message; json: one, that any language can read", "NAME"),
    settings.COMPRESSION_OPTION,
    settings.SOURCE_OPTION,
    settings.STOP_OPTION,
)  # fmt: skip

_EXAMPLES = """\
examples:
  capture-pcap traffic.pcap                        to Redis on this host, as fast as it takes it
  capture-pcap monday.pcapng.gz tuesday.pcap.zst --speed 10x
  capture-pcap traffic.pcap --messages json --stop-after-num 1000
  ssh host tcpdump -w - | capture-pcap -
  capture-pcap traffic.pcap --check                is everything right? publish nothing

pcap and pcapng, plain or compressed with gzip, zstd or xz. No root is needed. A file's session is
derived from its content: publish it again, and a processor that has its rows drops them. Nothing is
shed: reading waits for the broker. A damaged file gives its whole frames, then exit code 1."""


def main() -> int:
    """Run ``capture-pcap``."""
    return cli.execute(
        cli.Command(
            name="capture-pcap",
            summary="Publish the frames of capture files as if they were captured now.",
            options=(*OPTIONS, *settings.BROKER_OPTIONS),
            run=_run,
            check=_check,
            examples=_EXAMPLES,
            files="capture files, '-' for standard input",
        )
    )


def _run(values: cli.Values) -> None:
    from network_pipeline.broker.publisher import Publisher  # noqa: PLC0415
    from network_pipeline.file_agent import FileAgent  # noqa: PLC0415
    from network_pipeline.metrics import Counters  # noqa: PLC0415
    from network_pipeline.report import Report  # noqa: PLC0415

    stop = cli.stop_on_signals()
    counters = Counters("captured", "published", "refused", "shed")
    publisher = Publisher(settings.broker_settings(values), counters)
    source = values["source"] or socket.gethostname()
    agent = FileAgent(_encoder(values, source), publisher, counters, source=source,
                      speed=values["speed"], stop_after_num=values["stop_after_num"])  # fmt: skip
    publisher.start()
    with Report("capture-pcap", counters, lambda: {"waiting": publisher.waiting()}):
        published = agent.run(values["files"], stop)
    _show(published, counters)
    if damaged := [file.name for file in published if file.damage]:
        names = ", ".join(damaged)
        raise NetworkPipelineError(f"damaged: {names}; the frames before the damage are published")


def _encoder(values: cli.Values, source: str) -> Encoder:
    if values["messages"] == "json":
        from network_pipeline import json_messages  # noqa: PLC0415

        return partial(json_messages.of_batch, source=source)
    from network_pipeline import arrow_messages  # noqa: PLC0415

    return partial(arrow_messages.of_batch, source=source, compression=values["compression"])


def _show(published: Sequence[Published], counters: Counters) -> None:
    for file in published:
        print(f"{file.session} {file.frames:>12,}  {file.name}")
    counts = counters.snapshot()
    print(
        f"{counts['captured']:,} frames = {counts['published']:,} published"
        f" + {counts['refused']:,} refused"
    )


def _check(values: cli.Values) -> list[str]:
    from network_pipeline.broker import topology  # noqa: PLC0415
    from network_pipeline.capture.raw_file import file_session  # noqa: PLC0415

    broker = settings.broker_settings(values)
    for name in values["files"]:
        file_session(name)
    topology.check(broker)
    return [f"files {', '.join(values['files'])}", f"broker {broker.safe_url}"]
