"""The docs name everything there is, and say of the columns what the schema says."""

import re
import tomllib
from pathlib import Path

import pytest

from network_pipeline import dictionary, settings
from network_pipeline.flows.schema import FLOW_COLUMNS
from network_pipeline.options import (
    AGENT_OPTIONS,
    BROKER_OPTIONS,
    CAPTURE_OPTIONS,
    LOG_OPTION,
    METRICS_OPTIONS,
    PROCESSOR_OPTIONS,
    PUBLISHER_OPTIONS,
    RING_OPTIONS,
    Option,
)
from network_pipeline.scripts import (
    capture_pcap,
    flows,
    listen,
    main,
    pcap,
    prepare_dataset,
    send,
)

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.rst").read_text()
DOCS = README + "".join(path.read_text() for path in sorted((ROOT / "docs").glob("*.rst")))
COMMANDS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
#: Of what runs all the time: captures and processors.
SERVICE_OPTIONS = (
    *BROKER_OPTIONS,
    *PUBLISHER_OPTIONS,
    *CAPTURE_OPTIONS,
    *PROCESSOR_OPTIONS,
    *METRICS_OPTIONS,
    LOG_OPTION,
)
OPTIONS = (
    *SERVICE_OPTIONS,
    *RING_OPTIONS,
    *AGENT_OPTIONS,
    *send.OPTIONS,
    *listen.OPTIONS,
    main.PORT_OPTION,
    *pcap.OPTIONS,
    *capture_pcap.OPTIONS,
    *prepare_dataset.PREPARE_OPTIONS,
    *prepare_dataset.AUDIT_OPTIONS,
    *flows.OPTIONS,
)
SPLUNK_VARIABLES = re.findall(r'"(SPLUNK_\w+)"', Path(settings.__file__).read_text())


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_described(command: str) -> None:
    assert f"``{command}``" in README


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.variable)
def test_every_variable_and_its_flag_are_described(option: Option) -> None:
    row = re.compile(rf"^``{option.variable}``.*``{option.flag}``", re.MULTILINE)
    assert row.search(README)


@pytest.mark.parametrize("variable", SPLUNK_VARIABLES)
def test_every_splunk_variable_is_described(variable: str) -> None:
    assert f"``{variable}``" in README


def test_the_columns_page_is_that_of_the_schema() -> None:
    # network-pipeline columns --rst > docs/columns.rst
    assert (ROOT / "docs" / "columns.rst").read_text() == dictionary.as_rst()


def test_the_page_of_flows_ends_with_their_columns() -> None:
    # network-pipeline columns --of flows --rst
    page = (ROOT / "docs" / "flows.rst").read_text()
    assert page.partition("Columns\n-------\n\n")[2] == dictionary.flows_as_rst()


def test_the_readme_says_how_many_columns_flows_have() -> None:
    assert f"A flow has {len(FLOW_COLUMNS)} columns" in README


@pytest.mark.parametrize("path", ["README.rst", "CHANGELOG.rst", "LICENSE"])
def test_what_a_package_has(path: str) -> None:
    assert (ROOT / path).stat().st_size > 500


def test_pages_are_linked_from_the_readme() -> None:
    pages = {path.name for path in (ROOT / "docs").glob("*.rst")}
    assert pages == set(re.findall(r"docs/(\w+\.rst)", README))
