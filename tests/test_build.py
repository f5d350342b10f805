"""The package builds with and without a C compiler, from a checkout and from its sdist."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib import metadata, util
from pathlib import Path

import pytest

from tests import needs
from tests.decode import interpreted

_ROOT = Path(__file__).resolve().parents[1]
_COPIED = ("pyproject.toml", "setup.py", "README.rst", "LICENSE", "MANIFEST.in")
_MODULES = {
    "network_pipeline/capture/bpf",
    "network_pipeline/capture/records",
    "network_pipeline/capture/ring_frames",
    "network_pipeline/dataset/csv_cells",
    "network_pipeline/decode/dns_reader",
    "network_pipeline/decode/gather",
    "network_pipeline/decode/layers",
    "network_pipeline/decode/options",
    "network_pipeline/decode/written",
    "network_pipeline/flows/ended",
    "network_pipeline/flows/fanout",
    "network_pipeline/flows/features",
    "network_pipeline/flows/fragments",
    "network_pipeline/flows/kept",
    "network_pipeline/flows/keys",
    "network_pipeline/flows/meter",
    "network_pipeline/flows/packets",
    "network_pipeline/flows/store",
    "network_pipeline/flows/texts",
    "network_pipeline/text_forms",
}
_LEAST_SETUPTOOLS = 77

_BUILD = "import sys; from setuptools import build_meta; {}(sys.argv[1])"
_USE = """
import numpy as np
from network_pipeline.decode import columnar
from network_pipeline.frames import FrameBatch
data = bytes.fromhex("ffffffffffff0200000000010806") + bytes(8)
numbers = np.array([1], np.uint64)
batch = FrameBatch(data, np.zeros(1, np.int64), np.array([22], np.uint32),
    np.array([22], np.uint32), np.zeros(1, np.int64), numbers, np.array([1], np.uint16),
    np.zeros(1, np.uint16), (None,))
[row] = columnar.decode_batch(batch, source="agent", session="run").to_pylist()
print(columnar.COMPILED, row["eth_src"], row["arp_op"], columnar.__file__, sep=",")
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    installed = int(metadata.version("setuptools").split(".")[0])
    if installed < _LEAST_SETUPTOOLS or not util.find_spec("Cython"):
        needs.lacking(f"setuptools {_LEAST_SETUPTOOLS} and Cython")
    directory = tmp_path / "checkout"
    directory.mkdir()
    interpreted.copy_source(directory)
    for name in _COPIED:
        shutil.copy(_ROOT / name, directory)
    return directory


def _build(directory: Path, kind: str, **environment: str) -> Path:
    out = directory / "dist"
    subprocess.run(
        [sys.executable, "-c", _BUILD.format(f"build_meta.build_{kind}"), str(out)],
        cwd=directory,
        env={**os.environ, **environment},
        capture_output=True,
        check=True,
        timeout=300,
    )
    [built] = out.iterdir()
    return built


def _use(wheel: Path, directory: Path) -> list[str]:
    """Return what the package in a wheel says of itself and of a frame."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(directory)
    written = interpreted.run(directory, _USE).decode().strip()
    compiled, mac, op, file = written.split(",")
    assert Path(file).is_relative_to(directory)
    return [compiled, mac, op]


def _files(checkout: Path) -> set[str]:
    """Return what is in a checkout and in its package."""
    paths = [*checkout.iterdir(), *(checkout / "network_pipeline").rglob("*")]
    return {str(path.relative_to(checkout)) for path in paths}


def _modules(wheel: Path) -> set[str]:
    names = zipfile.ZipFile(wheel).namelist()
    return {name.split(".")[0] for name in names if name.endswith((".so", ".pyd"))}


def test_without_a_compiler(checkout: Path, tmp_path: Path) -> None:
    before = _files(checkout)
    wheel = _build(checkout, "wheel", CC="/bin/false")
    assert _files(checkout) - before == {"build", "dist", "network_pipeline.egg-info"}
    assert _modules(wheel) == set()
    assert _use(wheel, tmp_path / "used") == ["False", "02:00:00:00:00:01", "0"]


def test_without_cython(checkout: Path, tmp_path: Path) -> None:
    hidden = tmp_path / "hidden" / "Cython"
    hidden.mkdir(parents=True)
    (hidden / "__init__.py").write_text("raise ImportError('hidden')\n")
    wheel = _build(checkout, "wheel", PYTHONPATH=str(hidden.parent))
    assert _modules(wheel) == set()


def test_from_the_sdist_with_a_compiler(checkout: Path, tmp_path: Path) -> None:
    if not shutil.which("cc") and not os.environ.get("CC"):
        pytest.skip("there is no C compiler")
    (checkout / "tests").mkdir()
    (checkout / "tests" / "test_build.py").touch()  # setuptools would take it in
    sdist = _build(checkout, "sdist")
    with tarfile.open(sdist) as archive:
        names = [name.partition("/")[2] for name in archive.getnames()]
    assert not [name for name in names if name.endswith((".c", ".so"))]
    assert not [name for name in names if name.startswith("tests")]
    # Not by the archive's extractall: its filter came with Python 3.11.4, and is asked for since.
    subprocess.run(["tar", "-xf", sdist, "-C", tmp_path], check=True)
    [unpacked] = tmp_path.glob("network_pipeline-*")
    wheel = _build(unpacked, "wheel", CFLAGS="-O0")
    assert _modules(wheel) == _MODULES
    assert not [name for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".c")]
    assert _use(wheel, tmp_path / "used") == ["True", "02:00:00:00:00:01", "0"]
