"""Anonymized rows: who sent them cannot be seen, what they do can."""

from __future__ import annotations

from typing import Any

import polars as pl

from network_pipeline.labelled import meaning
from network_pipeline.labelled.anonymize import Anonymizer
from network_pipeline.schema import COLUMN_NAMES
from tests.labelled import traffic
from tests.labelled.test_cryptopan import KEY, VECTORS

ROLES = {name: meaning.role(name, "packets") for name in COLUMN_NAMES}


def anonymized(*values: dict[str, Any], key: bytes = KEY) -> list[dict[str, Any]]:
    frame = Anonymizer(key, ROLES).anonymize(traffic.rows(values).frame)
    assert tuple(frame.columns) == COLUMN_NAMES
    return [{k: v for k, v in row.items() if v is not None} for row in frame.to_dicts()]


def test_addresses_in_every_column_are_those_of_crypto_pan() -> None:
    (one, other), *_, (first, second) = VECTORS.items()
    [row] = anonymized(
        {"ip_src": one, "arp_pdst": one, "ipv6_dst": first, "icmpv6_target": first, "ip_dst": "x"}
    )
    assert row == {
        "ip_src": other, "arp_pdst": other, "ipv6_dst": second, "icmpv6_target": second,
    }  # fmt: skip


def test_ethernet_addresses_keep_what_kind_they_are() -> None:
    rows = anonymized(
        {"eth_src": "00:11:22:33:44:55", "eth_dst": "ff:ff:ff:ff:ff:ff"},
        {"eth_src": "00:11:22:33:44:55", "eth_dst": "01:00:5e:00:00:01"},
    )
    assert rows[0]["eth_src"] == rows[1]["eth_src"] != "00:11:22:33:44:55"
    assert rows[0]["eth_dst"] == "ff:ff:ff:ff:ff:ff"
    assert [int(rows[1][name][:2], 16) & 3 for name in ("eth_src", "eth_dst")] == [2, 3]


def test_names_are_digests_whatever_their_case() -> None:
    one, other = anonymized({"dns_qd_qname": "Example.COM"}, {"dns_qd_qname": "example.com"})
    assert one == other
    assert len(bytes.fromhex(one["dns_qd_qname"])) == 16


def test_answers_are_changed_one_by_one() -> None:
    address, changed = next(iter(VECTORS.items()))
    [row] = anonymized({"dns_an_rdata": f"example.com;{address}", "dns_qd_qname": "example.com"})
    assert row["dns_an_rdata"] == f"{row['dns_qd_qname']};{changed}"


def test_content_and_checksums_are_taken_out() -> None:
    secret = {
        "raw_load": b"user",
        "padding_load": b"x",
        "tcp_options_raw": b"y",
        "ip_options": b"z",
    }
    assert anonymized({**secret, "ip_chksum": 1, "tcp_chksum": 2, "udp_chksum": 3}) == [{}]


def test_numbers_times_and_sessions_stay() -> None:
    kept = {"session": "s", "frame_number": 7, "tcp_dport": 80, "ip_ttl": 64, "raw_len": 4}
    assert anonymized(kept) == [kept]


def test_the_key_decides() -> None:
    row = {"source": "edge", "ip_src": "192.0.2.1", "eth_src": "00:11:22:33:44:55"}
    [one], [same] = anonymized(row), anonymized(row)
    [other] = anonymized(row, key=bytes(32))
    assert one == same
    assert [one[name] == other[name] for name in row] == [False] * 3
    assert [one[name] == row[name] for name in row] == [False] * 3


def test_flows() -> None:
    flows = pl.DataFrame(
        {
            "flow_id": ["f"],
            "community_id": ["1:abc"],
            "src_ip": [next(iter(VECTORS))],
            "state": ["SF"],
        }
    )
    roles = {name: meaning.role(name, "flows") for name in flows.columns}
    [row] = Anonymizer(KEY, roles).anonymize(flows).to_dicts()
    assert (row["src_ip"], row["state"]) == (next(iter(VECTORS.values())), "SF")
    assert row["community_id"] != "1:abc"
