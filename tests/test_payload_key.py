"""The key of digests: made once, whole, for its owner alone; never shown."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import pytest

from network_pipeline import payload_key
from network_pipeline.errors import UsageError


def test_a_key_is_made_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "state" / "network-pipeline" / "payload.key"
    key = payload_key.load_or_make(path)
    assert len(key) == payload_key.KEY_BYTES
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert payload_key.load_or_make(path) == payload_key.load(path) == key
    assert [each.name for each in path.parent.iterdir()] == ["payload.key"]
    assert caplog.messages == [
        f"made the payload key {path}: keep it, digests of others do not match"
    ]


def test_all_who_make_it_at_once_have_the_same(tmp_path: Path) -> None:
    path = tmp_path / "payload.key"
    together = threading.Barrier(8)
    keys = []

    def make() -> None:
        together.wait(30)
        keys.append(payload_key.load_or_make(path))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(keys) == 8
    assert set(keys) == {path.read_bytes()}
    assert [each.name for each in tmp_path.iterdir()] == ["payload.key"]


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640])
def test_the_owner_and_a_group_may_read(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"k" * 16)
    path.chmod(mode)
    assert payload_key.load(path) == b"k" * 16


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o620, 0o644])
def test_others_may_not(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"secret of 16 bytes"[:16])
    path.chmod(mode)
    with pytest.raises(UsageError, match="other users can read or change it: chmod 600") as refused:
        payload_key.load(path)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("size", [0, 15, 65, 4096])
def test_too_short_or_too_long(tmp_path: Path, size: int) -> None:
    path = tmp_path / "key"
    path.write_bytes(bytes(size))
    path.chmod(0o600)
    with pytest.raises(UsageError, match=r"must have 16 to 64 bytes$"):
        payload_key.load(path)


def test_a_named_key_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file or directory"):
        payload_key.load(tmp_path / "key")
    with pytest.raises(UsageError, match="Is a directory"):
        payload_key.load(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_one_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"payload key .*: File exists"):
        payload_key.load_or_make(tmp_path / "file" / "payload.key")


def test_names_tell_keys_apart_and_are_no_digests() -> None:
    key, other = b"a" * 32, b"b" * 32
    assert payload_key.name(key) == payload_key.name(key) != payload_key.name(other)
    assert len(payload_key.name(key)) == 8
    assert hashlib.blake2b(key=key, digest_size=4).hexdigest() != payload_key.name(key)
