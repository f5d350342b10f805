"""One target under atheris, in a process whose package is interpreted and thus can be measured.

Arguments: the target, the directory of the compiled package, and what libFuzzer takes. The first
input that fails ends the process; libFuzzer saves it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["network_pipeline"]):
    from tests.fuzz.other_form import OtherForm


def main() -> None:
    """Fuzz until libFuzzer ends the process."""
    name, compiled, *options = sys.argv[1:]
    with OtherForm(name, Path(compiled)) as other:
        atheris.Setup([sys.argv[0], *options], other.check)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
