"""capture-pcap: the frames of capture files to the broker, as if they were captured now."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from network_pipeline import rules, settings
from network_pipeline.errors import NetworkPipelineError, UsageError
from network_pipeline.options import (
    BROKER_OPTIONS,
    COMPRESSION_OPTION,
    FILE_FILTER_OPTION,
    PAYLOAD_OPTIONS,
    SOURCE_OPTION,
    STOP_OPTION,
    Option,
)
from network_pipeline.scripts import cli

if TYPE_CHECKING:
    from network_pipeline.capture.file_filter import FileFilter
    from network_pipeline.file_agent import Encoder, Published
    from network_pipeline.metrics import Counters

OPTIONS = (
    Option("speed", "REPLAY_SPEED", "max", rules.speed,
           "1x publishes the frames at the pace of their capture, 10x ten times as fast, 0.5x at "
           "half of it, max as fast as the broker takes them: the times in the rows are those of "
           "the capture anyway, so the pace only matters to who watches", "Nx"),
    Option("messages", "MESSAGES", "arrow", rules.one_of("arrow", "json"),
           "arrow: many packets in a message; json: one, that any language can read", "NAME"),
    FILE_FILTER_OPTION,
    *PAYLOAD_OPTIONS,
    COMPRESSION_OPTION,
    SOURCE_OPTION,
    STOP_OPTION,
)  # fmt: skip

_EXAMPLES = """\
examples:
  capture-pcap traffic.pcap                        to Redis on this host, as fast as it takes it
  capture-pcap monday.pcapng.gz tuesday.pcap.zst --speed 10x
  capture-pcap traffic.pcap --messages json --stop-after-num 1000
  capture-pcap traffic.pcap --filter 'udp port 53' --payload-bytes 64
  ssh host tcpdump -w - | capture-pcap -
  capture-pcap traffic.pcap --check                is everything right? publish nothing

pcap and pcapng, plain or compressed with gzip, zstd or xz. No root is needed. A file's session is
derived from its content: publish it again, and a processor that has its rows drops them; given
twice, it is read once. Reading waits for the broker: frames are shed only where it takes none until
this is stopped. A damaged file gives its whole frames. At the end a line says that every frame was
counted: frames = published + filtered + refused (of a link type that is not decoded) + shed.
Exit code 1 if a file is damaged or frames were shed."""


def main() -> int:
    """Run ``capture-pcap``."""
    return cli.execute(
        cli.Command(
            name="capture-pcap",
            summary="Publish the frames of capture files as if they were captured now.",
            options=(*OPTIONS, *BROKER_OPTIONS),
            run=_run,
            check=_check,
            examples=_EXAMPLES,
            files="capture files, '-' for standard input",
        )
    )


def _run(values: cli.Values) -> None:
    from network_pipeline.broker.publisher import Publisher  # noqa: PLC0415
    from network_pipeline.capture.inputs import inputs  # noqa: PLC0415
    from network_pipeline.file_agent import COUNTED, FileAgent, Plan  # noqa: PLC0415
    from network_pipeline.metrics import Counters  # noqa: PLC0415
    from network_pipeline.report import Report  # noqa: PLC0415

    files = inputs(values["files"])
    frame_filter = cli.file_filter(values)
    source = values["source"] or socket.gethostname()
    encode = _encoder(values, source)
    stop = cli.stop_on_signals()
    counters = Counters(*COUNTED)
    publisher = Publisher(settings.broker_settings(values), counters)
    plan = Plan(source, values["speed"], values["stop_after_num"], frame_filter)
    agent = FileAgent(encode, publisher, counters, plan)
    publisher.start()
    with Report("capture-pcap", counters, lambda: {"waiting": publisher.waiting()}):
        published = agent.run(files, stop)
    _show(published, counters)
    _raise_problems(published, counters["shed"], frame_filter)


def _encoder(values: cli.Values, source: str) -> Encoder:
    payload = settings.Payload(values["payload_bytes"], cli.payload_key(values))
    if values["messages"] == "json":
        from network_pipeline import json_messages  # noqa: PLC0415

        if payload != settings.Payload():
            raise UsageError("--messages=json: JSON messages hold whole payloads as they are")
        return partial(json_messages.of_batch, source=source)
    from network_pipeline import arrow_messages  # noqa: PLC0415

    return partial(
        arrow_messages.of_batch, source=source, compression=values["compression"], payload=payload
    )


def _show(published: Sequence[Published], counters: Counters) -> None:
    for file in published:
        print(f"{file.session} {file.frames:>12,}  {file.name}")
    counts = counters.snapshot()
    found = counts.pop("captured")
    print(f"{found:,} frames = " + " + ".join(f"{n:,} {name}" for name, n in counts.items()))


def _raise_problems(
    published: Sequence[Published], shed: int, frame_filter: FileFilter | None
) -> None:
    problems = list(frame_filter.problems) if frame_filter else []
    if shed:
        problems.append(
            f"{shed:,} frames that were read are not published; publish the files again: rows of "
            "those that are will not come twice"
        )
    if damages := [str(file.damage) for file in published if file.damage]:
        problems.append(f"{'; '.join(damages)}; the frames before the damage are published")
    if problems:
        raise NetworkPipelineError("; ".join(problems))


def _check(values: cli.Values) -> list[str]:
    from network_pipeline.broker import topology  # noqa: PLC0415
    from network_pipeline.capture.inputs import inputs  # noqa: PLC0415

    broker = settings.broker_settings(values)
    files = inputs(values["files"])
    cli.file_filter(values)
    _encoder(values, "")
    topology.check(broker)
    return [f"files {', '.join(file.path for file in files)}", f"broker {broker.safe_url}"]
