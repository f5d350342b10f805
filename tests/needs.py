"""What tests need of the machine: where it is missing they are skipped, and fail in CI."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest


def lacking(what: str) -> NoReturn:
    """Skip the test that needs ``what``; where CI=true, fail it."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"needs {what}")
    pytest.skip(f"needs {what}")


def program(name: str) -> str:
    """Return the path of a program that the test needs."""
    return shutil.which(name) or lacking(name)
