"""Files here and elsewhere: names, copies, whole files, errors that tell no secret."""

from __future__ import annotations

from pathlib import Path

import pytest
import requests

from network_pipeline import places
from network_pipeline.errors import DatasetError, UsageError
from tests.beyond.conftest import BUCKET


def test_a_directory_stands_for_its_files_but_not_for_hidden_ones(tmp_path: Path) -> None:
    names = ("a/x.csv", "a/b/y.parquet", "a/.z.csv", "a/_tmp/z.csv", "a/z.txt")
    for name in names:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    expected = [str(tmp_path / "a/b/y.parquet"), str(tmp_path / "a/x.csv")]
    assert places.expand([f"{tmp_path}/a/"], (".csv", ".parquet")) == expected
    remote = [f"file://{name}" for name in expected]
    assert places.expand([f"file://{tmp_path}/a/"], (".csv", ".parquet")) == remote
    assert places.expand([f"file://{tmp_path}/a/*.csv", "-"], ()) == [remote[1], "-"]
    with pytest.raises(UsageError, match="there are no such files"):
        places.expand([f"file://{tmp_path}/*.pcap"], ())


def test_a_file_goes_elsewhere_whole_or_not_at_all(tmp_path: Path) -> None:
    name = f"file://{tmp_path}/deep/x.csv"
    for text in ("one", "two"):
        with places.written(name) as path:
            path.write_text(text)
    with pytest.raises(FileNotFoundError), places.written(name):
        Path("/nowhere/x").read_bytes()
    assert [each.name for each in (tmp_path / "deep").iterdir()] == ["x.csv"]
    with places.fetched(name) as copy:
        assert (copy.name, copy.read_text()) == ("x.csv", "two")
    assert not copy.exists()
    places.remove(name)
    assert not (tmp_path / "deep/x.csv").exists()


def test_what_is_not_there_is_named_without_passwords(s3: str) -> None:
    assert places.shown("hdfs://me:secret@host:8020/a") == "hdfs://me:***@host:8020/a"
    with pytest.raises(UsageError, match="s3://nobody-has-this/x: no such bucket or file"):
        places.fetched("s3://nobody-has-this/x").__enter__()
    with (
        pytest.raises(DatasetError, match="no such bucket or file"),
        places.written("s3://nobody-has-this/x") as path,
    ):
        path.touch()
    with pytest.raises(UsageError, match=r"pip install 'network-pipeline\[gs\]'"):
        places.fetched("gs://bucket/x").__enter__()
    with pytest.raises(UsageError, match="Protocol not known: nonsense"):
        places.fetched("nonsense://bucket/x").__enter__()


def test_wrong_credentials_are_said(s3: str) -> None:
    requests.post(f"{s3}/moto-api/reset-auth", data=b"0", timeout=10)
    try:
        with pytest.raises(UsageError, match=f"s3://{BUCKET}/x: no permission: ") as raised:
            places.fetched(f"s3://{BUCKET}/x").__enter__()
    finally:
        requests.post(f"{s3}/moto-api/reset-auth", data=b"inf", timeout=10)
    assert "not-a-secret" not in str(raised.value)
    assert "nobody" not in str(raised.value)
