"""The package's own rules: imports go down, one reader of the environment, inert imports."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "network_pipeline"

#: Layers of the package, highest first. A module imports from its own layer and those below.
LAYERS = (
    ("scripts",),
    ("demo",),
    ("supervisor",),
    ("agent_table",),
    ("agent_metrics",),
    ("watcher",),
    ("worker", "seat"),
    ("figures",),
    ("file_agent", "progress", "flows.parts"),
    ("dictionary", "flows.outputs", "flows.datasets"),
    ("flows.recording", "flows.cic", "flows.layouts", "parts"),
    (
        "agent",
        "convert",
        "crew",
        "processor",
        "privileges",
        "traffic",
        "report",
        "logs",
        "exposition",
    ),
    ("audit",),
    ("splunk", "backlog", "summary"),
    ("arrow_messages", "json_messages"),
    ("labelled.making",),
    ("labelled.report", "labelled.manifest"),
    ("labelled.audit", "labelled.charts"),
    ("labelled.copies",),
    ("labelled.dataset",),
    ("labelled.prepare",),
    ("labelled.labelling", "labelled.splitting"),
    ("labelled.anonymize", "labelled.groups", "labelled.labels", "labelled.tables"),
    ("labelled.alerts", "labelled.antinex", "labelled.cryptopan", "labelled.splits"),
    ("labelled.rules_file", "labelled.parquet", "labelled.whole_directory"),
    ("labelled.conditions", "labelled.findings", "labelled.separability", "labelled.yaml_items"),
    ("labelled.rows",),
    ("labelled.meaning",),
    ("scoreboard", "succession"),
    ("dataset.parquet_recorder",),
    ("capture", "broker", "dataset.recorder", "dataset.exports", "dataset.dedupe"),
    ("dataset.book", "dataset.series"),
    ("dataset.identities",),
    ("dataset.ledger_files",),
    ("dataset.partitions",),
    ("dataset.writers", "dataset.csv_text", "dataset.csv_cells"),
    ("dataset.lease",),
    ("flows",),
    ("decode", "dataset.flatten", "dataset.nested_batches"),
    ("rows", "sessions", "verify", "losses"),
    ("batch_message", "ledger"),
    ("message", "settings"),
    ("options",),
    ("arrow_stream", "text_forms"),
    (
        "arrow_arrays",
        "interpreted",
        "schema",
        "frames",
        "metrics",
        "ranges",
        "rules",
        "range_sets",
        "ordered",
        "payload_key",
        "notify",
        "places",
        "cluster",
        "page_server",
    ),
    ("errors",),
)


def modules() -> list[str]:
    paths = sorted(PACKAGE.rglob("*.py"))
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths]
    return [name.removesuffix(".__init__") for name in names]


def level(module: str) -> int:
    name = module.removeprefix("network_pipeline").removeprefix(".")
    for number, layer in enumerate(LAYERS):
        if any(name == part or name.startswith(part + ".") for part in layer):
            return number
    return len(LAYERS)


def tree(module: str) -> ast.Module:
    path = ROOT / Path(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(file.read_text())


def imported(module: str) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name in set(modules())}


def test_every_module_has_a_place_in_the_layers() -> None:
    packages = {
        "network_pipeline",
        "network_pipeline.dataset",
        "network_pipeline.labelled",
    }
    lost = [name for name in modules() if level(name) == len(LAYERS) and name not in packages]
    assert not lost


@pytest.mark.parametrize("module", modules())
def test_imports_only_go_down(module: str) -> None:
    upward = {name for name in imported(module) if level(name) < level(module)}
    assert not upward


def test_the_environment_is_read_in_settings_alone() -> None:
    readers = {
        module
        for module in modules()
        for node in ast.walk(tree(module))
        if isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv", "environb")
    }
    assert readers == {"network_pipeline.settings"}


def test_only_logs_imports_spylunking() -> None:
    importers = {
        module
        for module in modules()
        for node in ast.walk(tree(module))
        if isinstance(node, ast.ImportFrom | ast.Import) and "spylunking" in ast.unparse(node)
    }
    assert importers == {"network_pipeline.logs"}


_EFFECTS = """
import importlib, logging, os, signal, socket, sys, threading

# What these do when they are imported is not ours to judge: scapy asks for devices and routes.
import polars  # sets a variable for its allocator
import scapy.layers.inet6

def state():
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    descriptors = sorted(os.listdir("/proc/self/fd"))
    return (threading.active_count(), logging.root.handlers[:], handlers, descriptors,
            dict(os.environ), os.getcwd(), os.umask(os.umask(0o22)))

def refuse(*_args, **_options):
    raise AssertionError("a socket at import")

real = socket.socket.connect
socket.socket.connect = refuse
socket.socket.bind = refuse
os.umask(0o22)
before = state()
for name in sys.argv[1:]:
    importlib.import_module(name)
assert state() == before, (state(), before)
"""


def test_an_import_has_no_effect() -> None:
    run = subprocess.run(
        [sys.executable, "-c", _EFFECTS, *modules()], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout == ""
