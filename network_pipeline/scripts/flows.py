"""packets-flows: datasets of packets, or capture files, to a dataset of flows."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from network_pipeline import places, rules
from network_pipeline.errors import UsageError
from network_pipeline.options import Option
from network_pipeline.scripts import cli, pcap

if TYPE_CHECKING:
    from network_pipeline.convert import Plan
    from network_pipeline.flows.outputs import Outputs
    from network_pipeline.flows.recording import FlowSettings, Recording
    from network_pipeline.metrics import Counters

_OF_CAPTURES = ("filter", "payload_bytes", "batch_frames", "threads", "source", "dask")

FLOW_OPTIONS = (
    Option("output", "FLOWS_OUTPUT", "", rules.text_value,
           "the dataset of flows, by its ending CSV, Parquet or JSON lines", "FILE",
           shown="none, it must be given"),
    Option("packets", "FLOWS_PACKETS", "", rules.text_value,
           "a dataset of the packets too, with the flow_id of each as the last column", "FILE",
           shown="none is written"),
    Option("idle_timeout", "FLOW_IDLE_TIMEOUT", "120", rules.number(0),
           "seconds of capture time without a packet after which a flow has ended", "SECONDS"),
    Option("active_timeout", "FLOW_ACTIVE_TIMEOUT", "1800", rules.number(0),
           "seconds after which a flow is cut and its next part begins", "SECONDS"),
    Option("activity_gap", "FLOW_ACTIVITY_GAP", "5", rules.number(0),
           "seconds without a packet after which a flow is idle, not active", "SECONDS"),
    Option("max_flows", "FLOW_MAX_FLOWS", "1000000", rules.whole_number(1),
           "flows that go on at a time, of 1 KB each; one more ends that which waits longest"),
    Option("duplicates", "FLOW_DUPLICATES", "keep", rules.one_of("keep", "drop"),
           "packets that were captured twice: keep counts them as the packets they are, drop only "
           "as duplicates", "keep|drop"),
    Option("community_id_seed", "COMMUNITY_ID_SEED", "0", rules.whole_number(0, 65_535),
           "seed of community ids, that of the tools to compare with"),
    Option("profile", "FLOW_PROFILE", "all", rules.one_of("all", "cic"),
           "columns of flows: all that there are, or those of CICFlowMeter by its names, without "
           "its errors", "all|cic"),
)  # fmt: skip

OPTIONS = (
    *FLOW_OPTIONS,
    *(option for option in pcap.OPTIONS if option.name in _OF_CAPTURES),
)

_EXAMPLES = """\
examples:
  packets-flows traffic.pcap --output flows.parquet
  packets-flows monday.parquet tuesday.parquet --output flows.csv
  packets-flows traffic.pcap --output flows.parquet --packets packets.parquet
  packets-flows traffic.pcap --output cic.csv --profile cic --duplicates drop
  packets-flows packets/ --output flows/
  packets-flows s3://datasets/packets/ --output s3://datasets/flows/ --dask tcp://10.0.0.1:8786

Inputs are datasets of packets (names that end in .csv or .parquet) or capture files, not both at
once. A flow lies within one session, so within one capture file. The same packets always give the
same flows. An output that ends with a slash is a directory of Parquet files by source and date,
made of each input by itself, one by one or on a cluster. At the end every row was counted:
rows = packets in flows + ICMP errors of flows + duplicates + without flow."""


def main() -> int:
    """Run ``packets-flows``."""
    return cli.execute(
        cli.Command(
            name="packets-flows",
            summary="Turn packets into bidirectional flows.",
            options=OPTIONS,
            run=_run,
            examples=_EXAMPLES,
            files="datasets of packets, or capture files, '-' for standard input; or URLs",
        )
    )


def _run(values: cli.Values) -> None:
    from network_pipeline.dataset.ledger_files import COMPLETE_ENDINGS  # noqa: PLC0415

    if cli.is_partitioned(values["output"], values["dask"]):
        _run_partitioned(cli.for_workers(values, "output", "packets"))
        return
    with places.all_fetched(values["files"], COMPLETE_ENDINGS) as names:
        given = {**values, "files": names}
        if _are_datasets(given):
            _run_on_datasets(given)
        else:
            _run_on_captures(given)


def _are_datasets(values: cli.Values) -> bool:
    """Return whether the inputs are datasets; only capture files have a filter."""
    from network_pipeline.flows import datasets  # noqa: PLC0415

    kinds = {datasets.is_dataset(name) or places.is_directory(name) for name in values["files"]}
    if len(kinds) == 2:
        raise UsageError("datasets and capture files at once: make flows of each kind by itself")
    if kinds == {True} and values["filter"]:
        raise UsageError("--filter selects frames of capture files, and these are datasets")
    return kinds == {True}


def _run_partitioned(values: cli.Values) -> None:
    from network_pipeline.flows import parts as flow_parts  # noqa: PLC0415
    from network_pipeline.flows.recording import lines, new_counters  # noqa: PLC0415
    from network_pipeline.parts import Job, Outcome, units_of_captures  # noqa: PLC0415

    are_datasets = _are_datasets(values)
    targets = _directories(values)
    of = flow_parts.units_of_datasets if are_datasets else units_of_captures
    plan = replace(_plan(values, targets), filter=None)
    work = flow_parts.FlowParts(targets, _flow_settings(values), plan, values["filter"])
    roots = [root for root in (targets.flows, targets.packets) if root]
    outcome = Outcome(new_counters(of_captures=not are_datasets))
    pcap.run_parts("packets-flows", values, Job(work, of(values["files"]), roots), outcome)
    counts = outcome.counters.snapshot()
    for line in () if are_datasets else outcome.summary.lines(counts):
        print(line)
    for line in lines(outcome.without_flow, counts):
        print(line)
    print(*map(places.shown, roots), sep="\n")
    outcome.raise_problems()


def _run_on_captures(values: cli.Values) -> None:
    from network_pipeline.capture.inputs import inputs  # noqa: PLC0415
    from network_pipeline.convert import Conversion  # noqa: PLC0415
    from network_pipeline.flows import outputs  # noqa: PLC0415
    from network_pipeline.flows.recording import new_counters  # noqa: PLC0415
    from network_pipeline.progress import FileReport  # noqa: PLC0415

    files = inputs(values["files"])
    targets = _outputs(values)
    plan = _plan(values, targets)
    counters = new_counters(of_captures=True)
    stop = cli.stop_on_signals()
    with outputs.recording(targets, _flow_settings(values), counters) as recording:
        conversion = Conversion(recording, counters, plan)
        with FileReport("packets-flows", counters, files, conversion.reading):
            summary = conversion.run(files, stop)
            recording.finish()
    for line in summary.lines(counters.snapshot()):
        print(line)
    _show(recording, counters, targets)
    pcap.raise_problems(summary, plan.filter)


def _run_on_datasets(values: cli.Values) -> None:
    from network_pipeline.flows import datasets, outputs  # noqa: PLC0415
    from network_pipeline.flows.recording import new_counters  # noqa: PLC0415
    from network_pipeline.report import Report  # noqa: PLC0415

    datasets.check(values["files"])
    targets = _outputs(values)
    counters = new_counters(of_captures=False)
    stop = cli.stop_on_signals()
    with (
        outputs.recording(targets, _flow_settings(values), counters, joins=True) as recording,
        Report("packets-flows", counters),
    ):
        datasets.read(values["files"], recording, stop, all_columns=bool(targets.packets))
        recording.finish()
    _show(recording, counters, targets)


def _outputs(values: cli.Values) -> Outputs:
    from network_pipeline.convert import check_output  # noqa: PLC0415

    if not values["output"]:
        raise UsageError("--output names the dataset of flows, such as flows.parquet")
    paths = [Path(values[name]) for name in ("output", "packets") if values[name]]
    for path in paths:
        check_output(path)
        if any(path.resolve() == Path(name).resolve() for name in values["files"]):
            raise UsageError(f"{path} is an input")
    if len({path.resolve() for path in paths}) < len(paths):
        raise UsageError("--output and --packets name one file")
    return _targets(values)


def _directories(values: cli.Values) -> Outputs:
    if values["packets"]:
        if not places.is_directory(values["packets"]):
            raise UsageError("--packets must be a directory, with / behind, as --output is")
        if places.directory(values["packets"]) == places.directory(values["output"]):
            raise UsageError("--output and --packets name one directory")
    return _targets(values)


def _targets(values: cli.Values) -> Outputs:
    from network_pipeline.flows.outputs import Outputs  # noqa: PLC0415

    return Outputs(
        flows=values["output"],
        packets=values["packets"],
        payload_bytes=values["payload_bytes"],
        is_cic=values["profile"] == "cic",
    )


def _plan(values: cli.Values, targets: Outputs) -> Plan:
    from network_pipeline.convert import Plan  # noqa: PLC0415
    from network_pipeline.flows.columns import PAYLOAD_BYTES  # noqa: PLC0415

    kept = values["payload_bytes"] if targets.packets else 0
    return Plan(
        source=values["source"] or socket.gethostname(),
        batch_frames=values["batch_frames"],
        payload_bytes=None if kept is None else max(kept, PAYLOAD_BYTES),
        filter=cli.file_filter(values),
        threads=values["threads"],
    )


def _flow_settings(values: cli.Values) -> FlowSettings:
    from network_pipeline.flows.recording import FlowSettings  # noqa: PLC0415

    return FlowSettings(
        idle_timeout=values["idle_timeout"],
        active_timeout=values["active_timeout"],
        activity_gap=values["activity_gap"],
        most_flows=values["max_flows"],
        community_id_seed=values["community_id_seed"],
        drop_duplicates=values["duplicates"] == "drop",
    )


def _show(recording: Recording, counters: Counters, targets: Outputs) -> None:
    from network_pipeline.flows.recording import lines  # noqa: PLC0415

    for line in lines(recording.without_flow(), counters.snapshot()):
        print(line)
    print(targets.flows)
    if targets.packets:
        print(targets.packets)
