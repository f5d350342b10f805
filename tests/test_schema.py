import csv
from pathlib import Path

import pytest

from network_pipeline.schema import COLUMN_NAMES, COLUMNS, INTEGER_LIMITS, SCHEMA_VERSION

CONTRACT = Path(__file__).resolve().parents[1] / "../shared/columns.tsv"


def test_a_columns_place_in_a_nested_dict_spells_its_name() -> None:
    assert ["_".join(column.path) for column in COLUMNS] == list(COLUMN_NAMES)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("source", ("source",)),
        ("frame_number", ("frame", "number")),
        ("vlan2_id", ("vlan2", "id")),
        ("ip_options", ("ip", "options")),
        ("ipv6_frag_id", ("ipv6", "frag_id")),
        ("tcp_options_mss", ("tcp", "options", "mss")),
        ("dns_qdcount", ("dns", "qdcount")),
        ("dns_qd_qname", ("dns", "qd", "qname")),
        ("dns_an_rdata", ("dns", "an", "rdata")),
    ],
)
def test_places(name: str, path: tuple[str, ...]) -> None:
    assert COLUMNS[COLUMN_NAMES.index(name)].path == path


def test_names_are_unique_and_types_known() -> None:
    assert len(set(COLUMN_NAMES)) == len(COLUMNS) == 111
    texts = {"string", "hex", "mac", "ipv4", "ipv6", "timestamp[ns, UTC]"}
    assert {column.type for column in COLUMNS} == texts | set(INTEGER_LIMITS)


def test_the_version_is_that_of_these_names_and_types() -> None:
    # A new value here is a new schema: processors refuse the messages of older agents.
    assert SCHEMA_VERSION == "63f75fb67a583c0c"


def test_the_table_equals_the_contract() -> None:
    if not CONTRACT.exists():
        pytest.skip("the contract of the columns is not beside the checkout")
    with CONTRACT.open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    for row in rows:
        row["tshark"] = "" if row["tshark"] == "-" else row["tshark"]
    contract = [tuple(row.values()) for row in rows]
    assert [tuple(column[:5]) for column in COLUMNS] == contract
