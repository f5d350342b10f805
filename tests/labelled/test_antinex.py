"""Recordings of the original tool: what is right in them is taken, what is wrong is named."""

from __future__ import annotations

from pathlib import Path

from network_pipeline.capture.raw_file import file_session
from network_pipeline.labelled import antinex, tables
from network_pipeline.schema import COLUMN_NAMES

#: A header and rows as the original wrote them, with pandas' floats and -1 for what was absent.
HEADER = (
    "arp_id,dns_default_aa,dns_id,eth_dst,eth_id,eth_src,eth_type,icmp_code,icmp_id,idx,ip_dst,"
    "ip_id,ip_ihl,ip_len,ip_src,ip_tos,ip_version,ipvsix_id,label_name,label_value,pad_id,"
    "raw_hex_field_load,raw_id,raw_load,src_file,tcp_dport,tcp_fields_options.MSS,"
    "tcp_fields_options.Timestamp,tcp_fields_options.WScale,tcp_id,tcp_seq,tcp_sport,udp_id,"
    "whatever"
)
ROWS = (
    "-1.0,-1.0,-1.0,00:00:00:00:00:01,-1.0,00:00:00:00:00:02,2048,-1.0,-1.0,0,127.0.0.1,-1.0,"
    "5,4078,127.0.0.2,0,4,-1.0,attack,1,-1.0,"
    "-1.0,-1.0,-1.0,-1.0,8080,65495.0,"
    "1653831073,7.0,-1.0,65072,48408,-1.0,x",
    "-1.0,-1.0,-1.0,00:00:00:00:00:01,-1.0,00:00:00:00:00:02,2048,-1.0,-1.0,1,127.0.0.1,-1.0,"
    "5,4078,127.0.0.2,0,4,-1.0,nonattack,0,-1.0,"
    "00ff,-1.0,-1.0,-1.0,8080,-1.0,"
    "-1.0,-1.0,-1.0,65072,48408,-1.0,x",
)


def read(tmp_path: Path) -> tuple[tables.Table, list[dict[str, object]]]:
    path = tmp_path / "recording.csv"
    path.write_text("\n".join((HEADER, *ROWS)) + "\n")
    [table] = tables.open_tables([str(path)], "antinex")
    [batch] = tables.batches(table, "antinex")
    assert tuple(batch.columns) == (*COLUMN_NAMES, "label_name")
    return table, [{k: v for k, v in row.items() if v is not None} for row in batch.to_dicts()]


def test_what_is_right_is_taken(tmp_path: Path) -> None:
    table, [first, second] = read(tmp_path)
    assert table.kind == "packets"
    assert table.roles["label_name"] == "label"
    session = file_session(tmp_path / "recording.csv")
    same = {
        "source": "antinex", "session": session, "eth_dst": "00:00:00:00:00:01",
        "eth_src": "00:00:00:00:00:02", "eth_type": 2048, "ip_version": 4, "ip_ihl": 5, "ip_tos": 0,
        "ip_src": "127.0.0.2", "ip_dst": "127.0.0.1", "tcp_sport": 48408, "tcp_dport": 8080,
    }  # fmt: skip
    options = {"tcp_options_mss": 65495, "tcp_options_wscale": 7, "tcp_options_tsval": 1653831073}
    assert first == {**same, **options, "frame_number": 1, "label_name": "attack"}
    assert second == {
        **same, "frame_number": 2, "raw_load": b"\x00\xff", "raw_len": 2, "label_name": "nonattack",
    }  # fmt: skip


def test_what_is_wrong_is_named_with_the_reason(tmp_path: Path) -> None:
    table, _ = read(tmp_path)
    notes = "\n".join(table.notes)
    over = "the converter wrote later fields of the header over it, the checksum last"
    assert f"left out, {over}: icmp_code, ip_len, tcp_seq" in notes
    assert "scapy's defaults for a layer, not a packet's values: dns_default_aa" in notes
    assert (
        "an id of the recorder, not the header's: arp_id, dns_id, eth_id, icmp_id, ip_id," in notes
    )
    assert "left out, not known: whatever" in notes


def test_nothing_is_both_right_and_wrong() -> None:
    taken = {each for names in antinex.TAKEN.values() for each in names}
    assert not taken & set(antinex.WRONG)
    assert set(antinex.TAKEN) <= set(COLUMN_NAMES)
