"""packets-pcap: capture files to a dataset file."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

from network_pipeline import rules, settings
from network_pipeline.errors import NetworkPipelineError
from network_pipeline.scripts import cli
from network_pipeline.settings import Option

if TYPE_CHECKING:
    from network_pipeline.convert import Summary

OPTIONS = (
    *settings.DATASET_OPTIONS,
    Option("payload_bytes", "PAYLOAD_BYTES", "all", rules.whole_number_or_all,
           "bytes of payload that rows keep, 0: none"),
    Option("batch_frames", "BATCH_FRAMES", "16384", rules.whole_number(1),
           "frames that are decoded at once"),
    settings.SOURCE_OPTION,
)  # fmt: skip

_EXAMPLES = """\
examples:
  packets-pcap traffic.pcap --output traffic.csv
  packets-pcap monday.pcapng.gz tuesday.pcap.zst --output week.parquet --payload-bytes 64
  tcpdump -i eth0 -w - | packets-pcap - --output live.csv
  ssh host tcpdump -w - | packets-pcap - --output host.parquet

pcap and pcapng, plain or compressed with gzip, zstd or xz. The dataset is CSV, Parquet or JSON
lines, by the ending of its name, and appears when it is complete."""


def main() -> int:
    """Run ``packets-pcap``."""
    return cli.execute(
        cli.Command(
            name="packets-pcap",
            summary="Turn capture files into one dataset file. No broker is needed.",
            options=OPTIONS,
            run=_run,
            examples=_EXAMPLES,
            files="capture files, '-' for standard input",
        )
    )


def _run(values: cli.Values) -> None:
    from network_pipeline.convert import Conversion  # noqa: PLC0415
    from network_pipeline.dataset.exports import export  # noqa: PLC0415
    from network_pipeline.metrics import Counters  # noqa: PLC0415
    from network_pipeline.report import Report  # noqa: PLC0415

    stop = cli.stop_on_signals()
    counters = Counters("frames", "rows", "refused")
    with export(_path(values)) as output, Report("packets-pcap", counters):
        conversion = Conversion(
            output,
            counters,
            source=values["source"] or socket.gethostname(),
            payload_bytes=values["payload_bytes"],
            batch_frames=values["batch_frames"],
        )
        summary = conversion.run(values["files"], stop)
    _show(summary, counters["frames"], output.path)
    if summary.damaged:
        names = ", ".join(damage.name for damage in summary.damaged)
        raise NetworkPipelineError(f"damaged: {names}; the frames before the damage are rows")


def _path(values: cli.Values) -> Path:
    if values["output"]:
        return Path(values["output"])
    stamp = time.strftime("%Y-%m-%d-%H-%M-%S")
    return Path(values["dir"]) / f"{values['name']}-{stamp}.csv"


def _show(summary: Summary, frames: int, path: Path) -> None:
    for name, count in summary.layers.items():
        if count:
            print(f"{name:24} {count:>12,}")
    for name, count in sorted(summary.errors.items()):
        print(f"{'error ' + name:24} {count:>12,}")
    refused = summary.refused.total()
    print(f"{frames:,} frames = {frames - refused:,} rows + {refused:,} refused\n{path}")
