"""The notebook of the docs, executed: its cells assert what its text says."""

from __future__ import annotations

import os
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests import needs
from tests.decode.captures import SHARED

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "docs" / "notebooks" / "datasets.ipynb"
NEEDED = ("ipykernel", "nbclient", "nbformat", "sklearn")


@pytest.fixture
def commands(tmp_path: Path) -> Path:
    """Return a directory with the commands of this checkout, whatever is installed."""
    entry_points = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    directory = tmp_path / "bin"
    directory.mkdir()
    for name in ("packets-pcap", "packets-flows", "prepare-dataset", "audit-dataset"):
        module, function = entry_points[name].split(":")
        script = directory / name
        script.write_text(
            f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(ROOT)!r})\n"
            f"from {module} import {function} as command\nsys.exit(command())\n"
        )
        script.chmod(0o755)
    return directory


def test_the_notebook_runs(commands: Path) -> None:
    if missing := [name for name in NEEDED if not find_spec(name)]:
        needs.lacking(f"{', '.join(missing)}: pip install -e '.[notebook]'")
    if not SHARED.is_dir():
        pytest.skip("the shared captures are not beside the checkout")
    import nbformat  # noqa: PLC0415  only where the extra is installed
    from nbclient import NotebookClient  # noqa: PLC0415

    notebook = nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]
    client = NotebookClient(
        notebook, timeout=300, resources={"metadata": {"path": str(NOTEBOOK.parent)}}
    )
    path = f"{commands}{os.pathsep}{os.environ['PATH']}"
    client.execute(env={**os.environ, "PATH": path, "CAPTURES": str(SHARED.resolve())})


def test_the_notebook_was_saved_as_it_ran() -> None:
    text = NOTEBOOK.read_text()
    assert '"output_type": "error"' not in text
    assert "exit code 1" in text
