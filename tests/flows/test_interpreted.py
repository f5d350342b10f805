"""Without its extension modules the package makes the same flows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.decode import interpreted

_MAKE = """
import hashlib
from network_pipeline.flows import meter
from network_pipeline.flows.recording import FlowSettings
from tests.flows import making, test_oracle
rows = test_oracle.rows_of_traffic(5, 300, 0.3)
made = making.flows_of_rows(rows, FlowSettings(3, 10, 1, most_flows=20, community_id_seed=9))
digest = hashlib.sha256(repr((made.flows, made.ids)).encode()).hexdigest()
print(meter.__file__.endswith(".py"), digest)
"""


def test_the_flows_are_the_same(tmp_path: Path) -> None:
    interpreted.copy_source(tmp_path)
    is_plain, without = interpreted.run(tmp_path, _MAKE).decode().split()
    built = subprocess.run([sys.executable, "-c", _MAKE], capture_output=True, check=True)
    assert is_plain == "True"
    assert without == built.stdout.decode().split()[1]
