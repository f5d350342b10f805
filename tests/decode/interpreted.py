"""The package without its extension modules, for tests of what runs interpreted."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import network_pipeline

_PACKAGE = Path(network_pipeline.__file__).parent
_TESTS = Path(__file__).resolve().parents[1]
_SUFFIXES = ("*.so", "*.pyd", "__pycache__")


def module(built: ModuleType) -> ModuleType:
    """Return one module as plain Python, however it is built; others use the built one."""
    name = built.__name__.rpartition(".")[2]
    source = Path(str(built.__file__)).with_name(f"{name}.py")
    spec = importlib.util.spec_from_file_location(f"interpreted_{name}", source)
    assert spec
    assert spec.loader
    made = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = made
    spec.loader.exec_module(made)
    return made


def copy_source(directory: Path) -> None:
    """Copy the package's source into a directory."""
    shutil.copytree(_PACKAGE, directory / _PACKAGE.name, ignore=shutil.ignore_patterns(*_SUFFIXES))


def run(directory: Path, script: str) -> bytes:
    """Run a script with the package from a directory; return what it writes to stdout."""
    path = os.pathsep.join((str(directory), str(_TESTS.parent)))
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, env=environment, cwd=directory, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout
