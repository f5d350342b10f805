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
    MESSAGES = "the JSON messages of the slice's frames"


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
        return self._frames * (SERIES_FILES if reads is Reads.SERIES else 1)

    def files(self, reads: Reads) -> list[Path]:
        """Return what a program is given."""
        if reads is Reads.SERIES:
            seeds = range(self._seed, self._seed + SERIES_FILES)
            return [self._capture(self._frames, seed) for seed in seeds]
        return [self._file(reads, self.frames(reads))]

    def least(self, reads: Reads) -> list[Path]:
        """Return the same with one frame: some modules are only imported for the first."""
        return [self._file(reads, 1)]

    def _file(self, reads: Reads, frames: int) -> Path:
        capture = self._capture(frames, self._seed)
        return self._messages(capture) if reads is Reads.MESSAGES else capture

    def _capture(self, frames: int, seed: int) -> Path:
        path = self._directory / f"{frames}-{seed}.pcap"
        if not path.exists():
            _run("bench.generate", str(path), f"--frames={frames}", f"--seed={seed}")
        return path

    def _messages(self, capture: Path) -> Path:
        path = capture.with_suffix(".messages")
        if not path.exists():
            _run("bench.programs.write_messages", str(capture), str(path))
        return path


def _run(module: str, *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", module, *arguments], check=True)
