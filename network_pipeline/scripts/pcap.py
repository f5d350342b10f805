"""packets-pcap: capture files to a dataset file."""

from __future__ import annotations

import socket
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from network_pipeline import places, rules
from network_pipeline.errors import NetworkPipelineError
from network_pipeline.options import (
    CLUSTER_OPTION,
    DATASET_OPTIONS,
    FILE_FILTER_OPTION,
    PAYLOAD_OPTIONS,
    SOURCE_OPTION,
    Option,
)
from network_pipeline.scripts import cli

if TYPE_CHECKING:
    from network_pipeline.capture.file_filter import FileFilter
    from network_pipeline.convert import Plan
    from network_pipeline.parts import Job, Outcome
    from network_pipeline.summary import Summary

OPTIONS = (
    *DATASET_OPTIONS,
    FILE_FILTER_OPTION,
    *PAYLOAD_OPTIONS,
    Option("batch_frames", "BATCH_FRAMES", "16384", rules.whole_number(1),
           "frames that are decoded at once"),
    Option("threads", "THREADS", "1", rules.whole_number(1),
           "threads: one reads and writes, the others decode; the dataset is the same"),
    SOURCE_OPTION,
    CLUSTER_OPTION,
)  # fmt: skip

_EXAMPLES = """\
examples:
  packets-pcap traffic.pcap --output traffic.csv
  packets-pcap monday.pcapng.gz tuesday.pcap.zst --output week.parquet --payload-bytes 64
  packets-pcap traffic.pcap --output web.parquet --filter 'tcp port 80 or tcp port 443'
  packets-pcap traffic.pcap --output shared.parquet --payload hash
  tcpdump -i eth0 -w - | packets-pcap - --output live.csv
  ssh host tcpdump -w - | packets-pcap - --output host.parquet
  packets-pcap captures/*.pcap --output packets/
  packets-pcap 's3://captures/*.pcap' --output s3://datasets/packets/ --dask tcp://10.0.0.1:8786

pcap and pcapng, plain or compressed with gzip, zstd or xz. The dataset is CSV, Parquet or JSON
lines, by the ending of its name. It appears when it is complete, in the place of a file that had
its name before. An output that ends with a slash is a directory of Parquet files by source and
date, source=NAME/date=YYYY-MM-DD/, which inputs are added to, one by one or on a cluster.

A damaged file gives every frame before the damage; then the exit code is 1. At the end a table
says what is in the rows, and that every frame was counted:
frames = rows + filtered + refused (of a link type that is not decoded)."""


def main() -> int:
    """Run ``packets-pcap``."""
    return cli.execute(
        cli.Command(
            name="packets-pcap",
            summary="Turn capture files into one dataset file. No broker is needed.",
            options=OPTIONS,
            run=_run,
            examples=_EXAMPLES,
            files="capture files, '-' for standard input; or URLs: s3://, gs://, hdfs://",
        )
    )


def _run(values: cli.Values) -> None:
    if cli.is_partitioned(values["output"], values["dask"]):
        _run_partitioned(cli.for_workers(values, "output"))
    else:
        _run_to_file(values)


def _run_partitioned(values: cli.Values) -> None:
    from network_pipeline import parts  # noqa: PLC0415
    from network_pipeline.convert import COUNTED  # noqa: PLC0415
    from network_pipeline.metrics import Counters  # noqa: PLC0415

    units = parts.units_of_captures(values["files"])
    plan = replace(_plan(values), filter=None)
    work = parts.PacketParts(values["output"], plan, values["filter"])
    outcome = parts.Outcome(Counters(*COUNTED))
    run_parts("packets-pcap", values, parts.Job(work, units, [values["output"]]), outcome)
    for line in outcome.summary.lines(outcome.counters.snapshot()):
        print(line)
    print(places.shown(values["output"]))
    outcome.raise_problems()


def run_parts(name: str, values: cli.Values, job: Job, outcome: Outcome) -> None:
    """Do a job, here or on a cluster, and show how far it is."""
    from network_pipeline import parts  # noqa: PLC0415
    from network_pipeline.report import Report  # noqa: PLC0415

    whole = "the part files that are there are whole"
    with cli.ended_by_signals(whole), Report(name, outcome.counters):
        parts.make(job, values["dask"], outcome)


def _run_to_file(values: cli.Values) -> None:
    from network_pipeline.capture.inputs import ENDINGS, inputs  # noqa: PLC0415
    from network_pipeline.convert import COUNTED, Conversion, check_output  # noqa: PLC0415
    from network_pipeline.dataset.exports import export  # noqa: PLC0415
    from network_pipeline.metrics import Counters  # noqa: PLC0415
    from network_pipeline.progress import FileReport  # noqa: PLC0415

    path = _path(values)
    check_output(path)
    plan = _plan(values)
    counters = Counters(*COUNTED)
    stop = cli.stop_on_signals()
    with places.all_fetched(values["files"], ENDINGS) as names, export(path) as output:
        files = inputs(names)
        conversion = Conversion(output, counters, plan)
        with FileReport("packets-pcap", counters, files, conversion.reading):
            summary = conversion.run(files, stop)
    conversion.keep_ledger(path)
    for line in summary.lines(counters.snapshot()):
        print(line)
    print(path)
    raise_problems(summary, plan.filter)


def _path(values: cli.Values) -> Path:
    if values["output"]:
        return Path(values["output"])
    stamp = time.strftime("%Y-%m-%d-%H-%M-%S")
    return Path(values["dir"]) / f"{values['name']}-{stamp}.csv"


def _plan(values: cli.Values) -> Plan:
    from network_pipeline.convert import Plan  # noqa: PLC0415

    return Plan(
        source=values["source"] or socket.gethostname(),
        batch_frames=values["batch_frames"],
        payload_bytes=values["payload_bytes"],
        payload_key=cli.payload_key(values),
        filter=cli.file_filter(values),
        threads=values["threads"],
    )


def raise_problems(summary: Summary, frame_filter: FileFilter | None) -> None:
    """Raise what was wrong with files or a filter, now that all that was right is written."""
    problems = list(frame_filter.problems) if frame_filter else []
    if summary.damaged:
        names = ", ".join(damage.name for damage in summary.damaged)
        problems.append(f"damaged: {names}; the frames before the damage are rows")
    if problems:
        raise NetworkPipelineError("; ".join(problems))
