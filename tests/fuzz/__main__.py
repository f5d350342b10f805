"""Fuzzing, bounded by time: every target for some seconds, then a line for each.

An input that is a find is saved, and this ends with exit code 1. ``--input`` tries saved ones
again, without atheris::

    python -m tests.fuzz --seconds 60
    python -m tests.fuzz columnar --input finds/columnar-crash-...
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import network_pipeline
from network_pipeline.decode import columnar
from tests.decode import interpreted
from tests.fuzz.other_form import OtherForm
from tests.fuzz.targets import TARGETS

_ROOT = Path(__file__).resolve().parents[2]

#: A single input that takes longer is a find, and one that needs more memory.
_MOST_SECONDS = 20
_MOST_MIB = 2_048


def main() -> int:
    """Run as the command line says; return 1 for a find."""
    arguments = _arguments()
    with tempfile.TemporaryDirectory(prefix="network-pipeline-fuzz-") as name:
        source = Path(name) / "source"
        interpreted.copy_source(source)
        for path in arguments.input:
            _try(arguments.targets, path, source)
        if arguments.input:
            return 0
        arguments.finds.mkdir(parents=True, exist_ok=True)
        done = [_fuzz(target, arguments, Path(name)) for target in arguments.targets]
    return 0 if all(done) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--seconds", type=int, default=60, help="for every target")
    parser.add_argument("--seed", type=int, default=0, help="of the engine, 0: another every time")
    parser.add_argument("--finds", type=Path, default=Path(".tox/fuzz-finds"), help="where they go")
    parser.add_argument("--corpus", type=Path, help="what to begin with, and to add to")
    parser.add_argument("--input", type=Path, action="append", default=[], help="saved input")
    arguments = parser.parse_args()
    if unknown := set(arguments.targets) - set(TARGETS):
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    if not columnar.COMPILED:
        parser.error("the package is not compiled; there is nothing to compare with")
    arguments.targets = arguments.targets or list(TARGETS)
    return arguments


def _try(targets: list[str], path: Path, source: Path) -> None:
    data = path.read_bytes()
    for name in targets:
        with OtherForm(name, source) as other:
            other.check(data)
        print(f"{path}: {name} holds")


def _fuzz(name: str, arguments: argparse.Namespace, directory: Path) -> bool:
    """Fuzz a target and say how far it came; return whether nothing was found."""
    begin = time.monotonic()
    done = _engine(name, _options(name, arguments, directory), directory)
    seconds = time.monotonic() - begin
    inputs = _last(r"number_of_executed_units: (\d+)", done.stdout)
    edges = _last(r"cov: (\d+)", done.stdout)
    found = f"FOUND, exit code {done.returncode}" if done.returncode else "nothing found"
    print(f"{name:10} {inputs:>12,} inputs {seconds:>7.0f} s {edges:>7,} edges  {found}")
    if done.returncode:
        print(done.stdout[-6_000:], file=sys.stderr)
    return done.returncode == 0


def _options(name: str, arguments: argparse.Namespace, directory: Path) -> list[str]:
    """Return what libFuzzer takes, after writing the files that it reads."""
    corpus = (arguments.corpus or directory / "corpus").resolve() / name
    corpus.mkdir(parents=True, exist_ok=True)
    seeds = directory / f"{name}-seeds"
    seeds.mkdir()
    for number, data in enumerate(TARGETS[name].seeds()):
        (seeds / str(number)).write_bytes(data)
    words = directory / f"{name}-words"
    escaped = ("".join(f"\\x{byte:02x}" for byte in word) for word in TARGETS[name].words)
    words.write_text("".join(f'"{word}"\n' for word in escaped))
    return [
        f"-max_total_time={arguments.seconds}",
        f"-max_len={TARGETS[name].most_bytes}",
        f"-timeout={_MOST_SECONDS}",
        f"-rss_limit_mb={_MOST_MIB}",
        f"-seed={arguments.seed}",
        f"-artifact_prefix={arguments.finds.resolve()}/{name}-",
        "-print_final_stats=1",
        *([f"-dict={words}"] if TARGETS[name].words else []),
        str(corpus),
        str(seeds),
    ]


def _engine(name: str, options: list[str], directory: Path) -> subprocess.CompletedProcess[str]:
    compiled = str(Path(network_pipeline.__file__).parents[1])
    path = os.pathsep.join((str(directory / "source"), str(_ROOT)))
    return subprocess.run(
        [sys.executable, "-m", "tests.fuzz.engine", name, compiled, *options],
        cwd=directory,  # no package lies there
        env={**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )


def _last(pattern: str, text: str) -> int:
    return int([0, *re.findall(pattern, text)][-1])


if __name__ == "__main__":
    sys.exit(main())
