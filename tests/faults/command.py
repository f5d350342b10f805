"""A command of the suite, in a process of its own, with other constants than it comes with.

Run as ``python command.py NAME CONSTANTS ARGUMENT...``, where CONSTANTS is a JSON object such as
``{"network_pipeline.broker.streams.VISIBILITY_SECONDS": 2}``. The modules that are named must not
import the ones that copy the constant.
"""

from __future__ import annotations

import importlib
import json
import sys
from importlib.metadata import entry_points


def main() -> int:
    name, constants, *arguments = sys.argv[1:]
    for place, value in json.loads(constants).items():
        module, _, constant = place.rpartition(".")
        setattr(importlib.import_module(module), constant, value)
    [command] = entry_points(group="console_scripts", name=name)
    sys.argv = [name, *arguments]
    return int(command.load()())


if __name__ == "__main__":
    sys.exit(main())
