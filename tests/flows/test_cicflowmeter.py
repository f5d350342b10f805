"""Errors that were published of CICFlowMeter, one test each, and its columns made without them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import pytest
from scapy.layers.inet import ICMP, IP
from scapy.packet import Packet, Padding

from network_pipeline.flows import cic
from network_pipeline.flows.recording import FlowSettings
from tests.flows import making
from tests.flows.making import CLIENT, ETHER, SERVER, Timed, connection, tcp, udp


class Sheet(making.Collected):
    layout = cic.layout()


def cic_rows(
    packets: Iterable[Timed], settings: FlowSettings | None = None
) -> list[dict[str, Any]]:
    sheet = Sheet()
    profile = cic.Profile(sheet)  # type: ignore[arg-type]
    flows = making.flows_of(packets, settings).flows
    from network_pipeline.flows.schema import arrow_schema  # noqa: PLC0415

    profile.append(pa.RecordBatch.from_pylist(flows, schema=arrow_schema()))
    return sheet.rows()


def only(packets: Iterable[Timed], settings: FlowSettings | None = None) -> dict[str, Any]:
    [row] = cic_rows(packets, settings)
    return row


def test_a_fin_leaves_no_appendix() -> None:
    late: list[Timed] = [
        (0.8, tcp("A", seq=110, ack=512)),
        (0.9, tcp("A", back=True, seq=512, ack=110)),
    ]
    row = only(connection() + late)
    assert (row["Total Fwd Packet"], row["Total Bwd packets"]) == (5, 5)
    assert (row["Src IP"], row["FIN Flag Count"]) == (CLIENT, 2)


def test_a_reset_ends_a_flow() -> None:
    closed: list[Timed] = [(0, tcp("S", seq=1)), (0.1, tcp("RA", back=True, ack=2))]
    again: list[Timed] = [(0.2, tcp("S", seq=9)), (0.3, tcp("RA", back=True, ack=10))]
    assert [row["RST Flag Count"] for row in cic_rows(closed + again)] == [1, 1]


def test_a_time_out_is_one_of_silence_and_ends_at_the_last_packet() -> None:
    # Its own is reckoned from the first packet: a flow of 200 s would be two.
    steady: list[Timed] = [(20.0 * step, udp()) for step in range(11)]
    row = only([*steady, (500, udp(ports=(1, 2)))][:-1])
    assert (row["Flow Duration"], row["Total Fwd Packet"]) == (200_000_000, 11)


def test_a_flow_of_one_protocol_holds_no_packets_of_another() -> None:
    ping = ETHER / IP(src=CLIENT, dst=SERVER) / ICMP(type=8)
    gre = ETHER / IP(src=CLIENT, dst=SERVER, proto=47) / bytes(8)
    rows = cic_rows([(0, tcp("S")), (0.1, ping), (0.2, gre), (0.3, udp(ports=making.PORTS))])
    assert [(row["Protocol"], row["Src Port"]) for row in rows] == [
        (6, 40_000), (1, None), (47, None), (17, 40_000),
    ]  # fmt: skip


def test_an_answer_of_icmp_is_backward() -> None:
    there = ETHER / IP(src=CLIENT, dst=SERVER) / ICMP(type=8)
    back = ETHER / IP(src=SERVER, dst=CLIENT) / ICMP(type=0)
    row = only([(0, there), (0.1, back)])
    assert (row["Src IP"], row["Total Fwd Packet"], row["Total Bwd packets"]) == (CLIENT, 1, 1)


def test_flags_of_all_packets_are_counted() -> None:
    pushes: list[Timed] = [(0.1 * step, tcp("PAU", data=b"x", seq=step)) for step in range(4)]
    row = only([*pushes, (1, tcp("PA", back=True, data=b"y"))])
    assert (row["Fwd PSH Flags"], row["Bwd PSH Flags"], row["PSH Flag Count"]) == (4, 1, 5)
    assert (row["Fwd URG Flags"], row["Bwd URG Flags"], row["URG Flag Count"]) == (4, 0, 4)
    assert row["ACK Flag Count"] == 5


def test_windows_are_the_first_ones() -> None:
    row = only(connection())
    assert (row["FWD Init Win Bytes"], row["Bwd Init Win Bytes"]) == (64_240, 65_160)


def test_without_a_window_there_is_no_minus_one() -> None:
    assert only([(0, udp())])["FWD Init Win Bytes"] == 0


def test_header_lengths_are_each_packets_own() -> None:
    row = only(connection())
    # SYN: 20 + 4 MSS + 3 window scale + 1 of padding; SYN ACK: 20 + 4.
    assert (row["Fwd Header Length"], row["Bwd Header Length"]) == (28 + 3 * 20, 24 + 3 * 20)
    assert row["Fwd Seg Size Min"] == 20
    assert only([(0, udp(data=b"abc"))])["Fwd Header Length"] == 8


@pytest.mark.parametrize(("drops", "packets"), [(False, 2), (True, 1)])
def test_packets_that_were_captured_twice(drops: bool, packets: int) -> None:
    twice = tcp("PA", data=b"x", ip_id=7)
    steps: list[Timed] = [(0, twice), (0.0005, twice)]
    settings = FlowSettings(drop_duplicates=drops)
    assert only(steps, settings)["Total Fwd Packet"] == packets
    made = making.flows_of(steps, settings)
    assert (made.only["duplicates"], made.counts["duplicates"]) == (1, 1)
    assert made.counts["packets"] == 1
    assert made.ids == [f"{making.SESSION}-1"] * 2


@pytest.mark.parametrize(
    "second",
    [
        (0.002, tcp("PA", data=b"x", ip_id=7)),  # too late
        (0.0005, tcp("PA", data=b"x", ip_id=8)),  # sent again
        (0.0005, tcp("PA", data=b"y", ip_id=7)),
    ],
)
def test_what_is_no_duplicate(second: Timed) -> None:
    assert making.flows_of([(0, tcp("PA", data=b"x", ip_id=7)), second]).only["duplicates"] == 0


def test_packets_without_an_identification_are_none() -> None:
    assert making.flows_of([(0, tcp("A")), (0.0001, tcp("A"))]).only["duplicates"] == 0


def test_padding_is_no_payload() -> None:
    padded: Packet = tcp("A") / Padding(bytes(6))
    row = only([(0, padded)])
    assert (row["Total Length of Fwd Packet"], row["Fwd Act Data Pkts"]) == (0, 0)


def test_subflows_are_fractions() -> None:
    steps: list[Timed] = [(0, udp(data=b"ab")), (0.5, udp(data=b"a")), (2, udp())]
    row = only(steps)
    assert (row["Subflow Fwd Packets"], row["Subflow Fwd Bytes"]) == (1.5, 1.5)
    assert row["Subflow Bwd Packets"] == 0


def test_rates_of_a_moment_are_no_infinity() -> None:
    row = only([(0, udp(data=b"ab"))])
    assert (row["Flow Bytes/s"], row["Flow Packets/s"], row["Down/Up Ratio"]) == (0, 0, 0)


def test_numbers_of_a_connection() -> None:
    row = only(connection())
    assert row["Flow Duration"] == 700_000
    assert row["Flow Bytes/s"] == pytest.approx(18 / 0.7)
    assert (row["Flow IAT Min"], row["Flow IAT Max"]) == (100_000, 100_000)
    assert row["Fwd IAT Total"] == 600_000
    assert (row["Packet Length Max"], row["Average Packet Size"]) == (10, 18 / 8)
    assert row["Packet Length Variance"] == pytest.approx(row["Packet Length Std"] ** 2)
    assert (row["Active Max"], row["Idle Max"]) == (700_000, 0)


def test_names_are_those_of_version_4() -> None:
    names = [column.name for column in cic.CIC_COLUMNS]
    assert len(names) == len(set(names)) == 77
    assert names[:3] == ["Flow ID", "Src IP", "Src Port"]
    assert names[-1] == "Idle Min"
