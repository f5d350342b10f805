"""The package in its other form, in a process of its own: compiled beside interpreted modules.

Compiled modules cannot be imported twice under one name. And what they do to their process, should
they read where they must not, is seen from outside of it.
"""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from network_pipeline.decode import columnar
from tests.fuzz.targets import TARGETS, same

_ROOT = Path(__file__).resolve().parents[2]
_SIZE = struct.Struct("!I")


class OtherForm:
    """Observes inputs of a target with the package that lies in ``directory``."""

    def __init__(self, target: str, directory: Path) -> None:
        self._target = target
        self._command = [sys.executable, "-m", __name__, target]
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        path = os.pathsep.join((str(self._directory), str(_ROOT)))
        self._process = subprocess.Popen(
            self._command,
            cwd=self._directory,
            env={**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        is_compiled = self._answer()
        assert is_compiled == str(not columnar.COMPILED), "both forms are the same"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process
        self._process.communicate()

    def observe(self, data: bytes) -> str:
        """Return what the other form makes of an input; AssertionError where it fails or dies."""
        assert self._process
        assert self._process.stdin
        _send(self._process.stdin, data)
        return self._answer()

    def check(self, data: bytes) -> None:
        """Raise AssertionError, or what was raised, where an input is a find."""
        target = TARGETS[self._target]
        observed = target.observe(data)
        target.judge(data, observed)
        same(self.observe(data), observed)

    def _answer(self) -> str:
        assert self._process
        assert self._process.stdout
        answer = _receive(self._process.stdout)
        assert answer is not None, f"the other form ended with code {self._process.wait()}"
        return answer.decode(errors="surrogatepass")


def _send(pipe: IO[bytes], data: bytes) -> None:
    pipe.write(_SIZE.pack(len(data)) + data)
    pipe.flush()


def _receive(pipe: IO[bytes]) -> bytes | None:
    head = pipe.read(_SIZE.size)
    return pipe.read(*_SIZE.unpack(head)) if len(head) == _SIZE.size else None


def main() -> None:
    """Answer until standard input ends."""
    target = TARGETS[sys.argv[1]]
    _send(sys.stdout.buffer, str(columnar.COMPILED).encode())
    while (data := _receive(sys.stdin.buffer)) is not None:
        _send(sys.stdout.buffer, target.observe(data).encode(errors="surrogatepass"))


if __name__ == "__main__":
    main()
