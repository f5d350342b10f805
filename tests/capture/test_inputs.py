"""Files of a command: each is there, and each is read once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from network_pipeline.capture.inputs import Input, inputs
from network_pipeline.errors import UsageError

BEGIN = bytes(64 * 1024)


def files(directory: Path, **contents: bytes) -> list[str]:
    for name, content in contents.items():
        (directory / name).write_bytes(content)
    return [str(directory / name) for name in contents]


def test_files_keep_their_order_and_have_sizes(tmp_path: Path) -> None:
    b, a = files(tmp_path, b=b"12", a=b"123")
    assert inputs([b, a]) == [Input(b, 2), Input(a, 3)]


def test_the_same_content_is_read_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    a, copy, other = files(tmp_path, a=b"12", copy=b"12", other=b"13")
    link = tmp_path / "link"
    link.symlink_to(a)
    found = inputs([a, other, copy, str(link), a])
    assert found == [Input(a, 2), Input(other, 2)]
    again = f"is the same capture as {a} and is read once"
    assert caplog.messages == [f"{copy} {again}", f"{link} {again}", f"{a} {again}"]


def test_two_that_would_be_one_session_are_refused(tmp_path: Path) -> None:
    a, b = files(tmp_path, a=BEGIN + b"1", b=BEGIN + b"2")
    with pytest.raises(UsageError, match="have one size and begin alike"):
        inputs([a, b])


def test_a_pipe_is_not_opened(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)  # to open it would wait for a writer
    assert inputs([str(fifo)]) == [Input(str(fifo), None)]


@pytest.mark.parametrize("name", ["none", "directory"])
def test_what_cannot_be_read_is_said_at_once(tmp_path: Path, name: str) -> None:
    (tmp_path / "directory").mkdir()
    with pytest.raises(UsageError, match=f"cannot read .*{name}: "):
        inputs([*files(tmp_path, a=b"1"), str(tmp_path / name)])
