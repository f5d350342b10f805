from __future__ import annotations

import os
from pathlib import Path

import pytest

from network_pipeline.dataset.lease import alone
from tests import needs


@pytest.fixture
def leases(tmp_path: Path) -> None:
    """Require that the file system of the temporary directory knows leases."""
    trial = os.open(tmp_path, os.O_RDWR | os.O_TMPFILE)
    with alone(trial, 0) as granted:
        pass
    os.close(trial)
    if not granted:
        needs.lacking(f"a file system with leases for {tmp_path}")
