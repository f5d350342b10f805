"""The files that programs read, made when they are first asked for.

All come from the generator. The captures of a series have seeds of their own, so that each is a
session of its own: a capture's session is derived from how it begins.
"""

from __future__ import annotations

import enum
import subprocess
import sys
from pathlib import Path

#: Frames for programs that need minutes for a million.
SLICE_FRAMES = 50_000

SERIES_FILES = 10


class Reads(enum.Enum):
    """What a program is given."""

    CAPTURE = "one capture"
    SLICE = "a capture that is a slice of that"
    SERIES = "captures of the whole size, one after another"
    DATASET = "the Parquet dataset of one capture"
    FLOOD = "that of a SYN flood of as many frames"
    DATASETS = "the datasets of the captures of a series"
    MESSAGES = "the JSON messages of the slice's frames"
    BATCHES = "the Arrow messages of one capture, with 64 bytes of payload"


#: How files of messages end, and what writes them.
_WRITERS = {
    Reads.MESSAGES: (".messages", "bench.programs.write_messages"),
    Reads.BATCHES: (".batches", "bench.programs.write_batches"),
}


class Inputs:
    """Files in ``directory``; a whole capture has ``frames`` frames."""

    def __init__(self, directory: Path, frames: int, seed: int) -> None:
        self._directory = directory
        self._frames = frames
        self._seed = seed

    def frames(self, reads: Reads) -> int:
        """Return how many frames the files have, all together."""
        if reads in (Reads.SLICE, Reads.MESSAGES):
            return min(self._frames, SLICE_FRAMES)
        return self._frames * (SERIES_FILES if reads in (Reads.SERIES, Reads.DATASETS) else 1)

    def files(self, reads: Reads) -> list[Path]:
        """Return what a program is given."""
        if reads in (Reads.SERIES, Reads.DATASETS):
            seeds = range(self._seed, self._seed + SERIES_FILES)
            captures = [self._capture(self._frames, seed) for seed in seeds]
            return captures if reads is Reads.SERIES else list(map(self._dataset, captures))
        return [self._file(reads, self.frames(reads))]

    def least(self, reads: Reads) -> list[Path]:
        """Return the same with one frame: some modules are only imported for the first."""
        return [self._file(reads, 1)]

    def _file(self, reads: Reads, frames: int) -> Path:
        capture = self._capture(frames, self._seed, is_flood=reads is Reads.FLOOD)
        if reads in (Reads.DATASET, Reads.DATASETS, Reads.FLOOD):
            return self._dataset(capture)
        if reads in _WRITERS:
            return self._messages(capture, *_WRITERS[reads])
        return capture

    def _capture(self, frames: int, seed: int, *, is_flood: bool = False) -> Path:
        path = self._directory / f"{frames}-{seed}{'-flood' if is_flood else ''}.pcap"
        if not path.exists():
            options = [f"--frames={frames}", f"--seed={seed}", *(["--flood"] if is_flood else [])]
            _run("bench.generate", str(path), *options)
        return path

    def _dataset(self, capture: Path) -> Path:
        path = capture.with_suffix(".parquet")
        if not path.exists():
            _run("bench.programs.write_dataset", str(capture), str(path))
        return path

    def _messages(self, capture: Path, ending: str, program: str) -> Path:
        path = capture.with_suffix(ending)
        if not path.exists():
            _run(program, str(capture), str(path))
        return path


def _run(module: str, *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", module, *arguments], check=True)
