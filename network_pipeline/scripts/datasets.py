"""network-pipeline verify and dedupe: whether rows are all there, and there once."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from network_pipeline.errors import DatasetError, UsageError
from network_pipeline.scripts import cli

if TYPE_CHECKING:
    from network_pipeline.verify import Account, Verdict

_VERIFY = """\
Read the rows of datasets and the ledgers beside them, and account for every frame of every session:
a row, or missing for a reason that a ledger names. Name all the files that the sessions' processors
wrote, or their directory. Exit code 1 where they do not add up: a frame is missing unexplained, a
row is there twice, a line is torn or of another shape, counts contradict each other."""

_DEDUPE = """\
Copy datasets without the rows of frames that came before, by session and frame number; the inputs
are read in the order given, those of a directory by their names. All are CSV, or all Parquet. What
the ledgers beside them say is put together beside the copy."""

#: Columns of the table: an account's field and its title; those without any count are left out.
_COUNTS = (
    ("frames", "frames"), ("rows", "rows"), ("duplicate", "duplicate"), ("rejected", "rejected"),
    ("shed", "shed"), ("under_way", "under way"), ("spooled", "spooled"), ("died", "died"),
    ("kernel_dropped", "kernel dropped"), ("not_sampled", "not sampled"),
    ("unexplained", "unexplained"),
)  # fmt: skip
_ALWAYS = ("frames", "rows", "unexplained")


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the two to the commands of ``network-pipeline``."""
    verify = commands.add_parser(
        "verify", help="say whether every frame of a dataset is accounted for", description=_VERIFY
    )
    verify.add_argument(
        "datasets",
        metavar="DATASET",
        nargs="+",
        type=cli.file_name,
        help="CSV or Parquet files, or directories",
    )
    verify.add_argument(
        "--final", action="store_true",
        help="nothing is under way any more: agents ended, spools and queues are empty",
    )  # fmt: skip
    verify.add_argument("--json", action="store_true", help="print one JSON object")
    verify.set_defaults(action=_verify)
    dedupe = commands.add_parser(
        "dedupe", help="copy datasets without duplicate rows", description=_DEDUPE
    )
    dedupe.add_argument(
        "inputs",
        metavar="INPUT",
        nargs="+",
        type=cli.file_name,
        help="CSV or Parquet files, or directories",
    )
    dedupe.add_argument("--output", metavar="FILE", required=True, help="the copy; replaced")
    dedupe.set_defaults(action=_dedupe)


def _verify(given: argparse.Namespace) -> None:
    from network_pipeline import audit, verify  # noqa: PLC0415

    paths = audit.dataset_files(given.datasets)
    with _progress(paths) as progress:
        datasets = [audit.examine(path, progress) for path in paths]
    verdict = verify.judge(datasets, is_final=given.final)
    if given.json:
        print(_as_json(verdict))
    else:
        print(*_as_table(verdict.accounts), sep="\n")
        print(*verdict.complaints, sep="\n", end="\n" if verdict.complaints else "")
    if verdict.complaints:
        raise DatasetError(verdict.text)
    if not given.json:
        print(verdict.text)


def _dedupe(given: argparse.Namespace) -> None:
    from network_pipeline import audit  # noqa: PLC0415
    from network_pipeline.dataset.dedupe import dedupe  # noqa: PLC0415

    if any(
        Path(name).samefile(Path(given.output).parent)
        for name in given.inputs
        if Path(name).is_dir()
    ):
        raise UsageError(f"{given.output}: lies in a directory that is read; name one in another")
    inputs = audit.dataset_files(given.inputs)
    with _progress(inputs) as progress:
        copied = dedupe(inputs, Path(given.output), progress)
    torn = f", {copied.torn:,} bytes of torn last lines left out" if copied.torn else ""
    print(f"{copied.kept:,} rows kept, {copied.dropped:,} duplicates dropped{torn}")
    print(given.output)


# -- showing


def _as_table(accounts: Sequence[Account]) -> Iterator[str]:
    rows = [[account.session, account.source, account.state, *_numbers(account)]
            for account in accounts]  # fmt: skip
    titles = ["session", "source", "agent", *(title for _, title in _COUNTS)]
    shown = [
        place
        for place, title in enumerate(titles)
        if place < 3 or _COUNTS[place - 3][0] in _ALWAYS or any(row[place] != "0" for row in rows)
    ]
    widths = {place: max(len(row[place]) for row in [titles, *rows]) for place in shown}
    for row in [titles, *rows]:
        cells = (
            row[place].ljust(widths[place]) if place < 3 else row[place].rjust(widths[place])
            for place in shown
        )
        yield "  ".join(cells).rstrip()


def _numbers(account: Account) -> list[str]:
    return [f"{_count(account, name):,}" for name, _ in _COUNTS]


def _count(account: Account, name: str) -> int:
    value = getattr(account, name)
    return int(value) if isinstance(value, int) else int(value.count)


def _as_json(verdict: Verdict) -> str:
    import json  # noqa: PLC0415

    sessions = [
        {
            "session": account.session,
            "source": account.source,
            "agent": account.state,
            **{name: _count(account, name) for name, _ in _COUNTS},
            "unexplained_frames": account.unexplained.pairs(),
        }
        for account in verdict.accounts
    ]
    return json.dumps(
        {
            "adds_up": not verdict.complaints,
            "verdict": verdict.text,
            "complaints": verdict.complaints,
            "rejected_without_frame_numbers": verdict.unnamed_rejected,
            "sessions": sessions,
        },
        indent=1,
    )


@contextmanager
def _progress(paths: Sequence[Path]) -> Iterator[Callable[[int], object]]:
    """Show a bar on a terminal while the block reads the files."""
    if not sys.stderr.isatty():
        yield lambda _taken: None
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import Progress  # noqa: PLC0415

    total = sum(path.stat().st_size for path in paths if path.exists())
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("reading", total=total)
        yield lambda taken: bar.advance(task, taken)
