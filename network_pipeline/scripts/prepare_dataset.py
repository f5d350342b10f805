"""prepare-dataset and audit-dataset: from rows to what a model can learn from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from network_pipeline import places, rules, settings
from network_pipeline.errors import NetworkPipelineError, UsageError
from network_pipeline.options import CLUSTER_OPTION, Option
from network_pipeline.scripts import cli

_KEY_BYTES = 32
_GROUPINGS = rules.one_of("session", "file", "connection", "host", "time")

PREPARE_OPTIONS = (
    Option("labels", "DATASET_LABELS", "", rules.text_value,
           "rules file: which rows are benign, an attack or an attempted one (docs/datasets.rst)",
           "FILE", shown="none, it must be given"),
    Option("output", "DATASET_DIR", "", rules.text_value,
           "directory of the dataset; one that is there is replaced", "DIR",
           shown="none, it must be given"),
    Option("format", "DATASET_FORMAT", "network-pipeline",
           rules.one_of("network-pipeline", "antinex"),
           "who made the inputs: this version, or the original tool (antinex), whose wrong "
           "columns are left out", "NAME"),
    Option("split_by", "DATASET_SPLIT_BY", "session", _GROUPINGS,
           "what is never on two sides of the split: session, file, connection, host or time",
           "WHAT"),
    Option("fractions", "DATASET_FRACTIONS", "0.7,0.15,0.15", rules.shares,
           "shares of training, validation and test", "A,B,C"),
    Option("seed", "DATASET_SEED", "0", rules.whole_number(0),
           "the same seed gives the same split"),
    Option("purge_seconds", "DATASET_PURGE_SECONDS", "60", rules.number(0),
           "split by time: rows this close before the next side are on none", "SECONDS"),
    Option("keep", "DATASET_KEEP", "", rules.names,
           "column that stays in the training view though it is no feature; may be repeated",
           "COLUMN", repeatable=True, shown="features only"),
    Option("partitioned", "DATASET_PARTITIONED", "no", rules.one_of("no", "yes"),
           "yes: rows.parquet and training.parquet are directories of files by source and date, "
           "which the workers of a cluster write", "no|yes"),
    Option("anonymize", "DATASET_ANONYMIZE", "no", rules.one_of("no", "yes"),
           "yes: addresses keep their prefixes only (Crypto-PAn), names and MACs become digests",
           "no|yes"),
    Option("key_file", "DATASET_KEY_FILE", "", rules.text_value,
           "file with the secret to anonymize with, 32 bytes that only you can read", "FILE",
           shown="anonymize.key in the state directory, made when it is first needed"),
    CLUSTER_OPTION,
)  # fmt: skip

AUDIT_OPTIONS = (
    Option("format", "AUDIT_FORMAT", "table", rules.one_of("table", "json"),
           "table for people, json for programs", "NAME"),
    Option("fail_on", "AUDIT_FAIL_ON", "failure", rules.one_of("failure", "warning"),
           "the mildest finding that makes the exit code 1", "LEVEL"),
)  # fmt: skip

_PREPARE_EXAMPLES = """\
examples:
  prepare-dataset packets.parquet --labels rules.yaml --output dataset
  prepare-dataset monday.csv tuesday.csv --labels rules.yaml --output week --split-by time
  prepare-dataset flows.parquet --labels rules.yaml --output flows --split-by host --seed 7
  prepare-dataset packets.parquet --labels rules.yaml --output shared --anonymize yes
  prepare-dataset s3://datasets/flows/ --labels rules.yaml --output flows --dask tcp://10.0.0.1:8786
  prepare-dataset packets/ --labels rules.yaml --output dataset --partitioned yes

Inputs are packets (packets-pcap, packets-redis, packets-rabbitmq) or flows, CSV or Parquet, all of
one kind; a directory stands for the datasets in it. The output gets rows.parquet (everything),
training.parquet (features, labels, split), report.html, audit.json, README.md and manifest.json.
The same inputs give the same bytes."""

_AUDIT_EXAMPLES = """\
examples:
  audit-dataset dataset
  audit-dataset dataset --format json --fail-on warning

The exit code is 1 where something makes results on the dataset wrong: rows of one connection in
training and in test, a label that one of them lacks, a kept identity that tells a class."""


def prepare(arguments: Sequence[str] | None = None) -> int:
    """Run ``prepare-dataset``."""
    return cli.execute(
        cli.Command(
            name="prepare-dataset",
            summary="Turn packets or flows into one clean, labelled, honestly split dataset.",
            options=PREPARE_OPTIONS,
            run=_prepare,
            examples=_PREPARE_EXAMPLES,
            files="datasets of packets or of flows, CSV or Parquet",
        ),
        arguments,
    )


def audit(arguments: Sequence[str] | None = None) -> int:
    """Run ``audit-dataset``."""
    return cli.execute(
        cli.Command(
            name="audit-dataset",
            summary="Look for what would make a model look better than it is.",
            options=AUDIT_OPTIONS,
            run=_audit,
            examples=_AUDIT_EXAMPLES,
            files="directories of prepare-dataset",
        ),
        arguments,
    )


def _prepare(values: cli.Values) -> None:
    for name in ("labels", "output"):
        if not values[name]:
            raise UsageError(f"--{name} must be given")
    _need_extra()
    from network_pipeline.labelled import findings, making, prepare, splits  # noqa: PLC0415

    plan = prepare.Plan(
        splits.Plan(
            values["split_by"],
            values["fractions"],
            values["seed"],
            round(values["purge_seconds"] * 1e9),
        ),
        values["keep"],
        _key(values) if values["anonymize"] == "yes" else None,
        is_partitioned=values["partitioned"] == "yes",
    )
    given = cli.for_workers(values, "output")
    inputs = making.Inputs(given["files"], values["format"], Path(values["labels"]))
    with cli.ended_by_signals():
        audited = making.make(given["output"], inputs, plan, values["dask"])
    for line in findings.lines(audited.findings):
        print(line)
    print(places.shown(values["output"]))


def _audit(values: cli.Values) -> None:
    from network_pipeline.labelled import audit, dataset, findings  # noqa: PLC0415

    levels = findings.LEVELS[: findings.LEVELS.index(values["fail_on"]) + 1]
    failed = []
    for directory in map(Path, values["files"]):
        audited = audit.audit(dataset.open_dataset(directory))
        if values["format"] == "json":
            print(audit.as_json(audited), end="")
        else:
            print(f"{directory}:", *findings.lines(audited.findings), sep="\n")
        if any(each.level in levels for each in audited.findings):
            failed.append(str(directory))
    if failed:
        raise NetworkPipelineError(f"not as it should be: {', '.join(failed)}")


def _key(values: cli.Values) -> bytes:
    from network_pipeline import payload_key  # noqa: PLC0415

    kind = "key to anonymize with"
    if values["key_file"]:
        path = Path(values["key_file"])
        key = payload_key.load(path, kind)
    else:
        path = settings.state_dir(settings.environment()) / "anonymize.key"
        key = payload_key.load_or_make(path, kind)
    if len(key) != _KEY_BYTES:
        raise UsageError(f"{kind} {path}: must have {_KEY_BYTES} bytes")
    return key


def _need_extra() -> None:
    """See that the packages are there that an agent on a host with traffic can do without."""
    from importlib.util import find_spec  # noqa: PLC0415

    missing = [
        name for name in ("cryptography", "jinja2", "matplotlib", "yaml") if not find_spec(name)
    ]
    if missing:
        raise UsageError(
            f"{', '.join(missing)} not installed: pip install 'network-pipeline[datasets]'"
        )
