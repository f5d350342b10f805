from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from network_pipeline import ledger
from network_pipeline.errors import MessageError
from network_pipeline.ledger import AgentLedger, DatasetLedger, LedgerError, SessionLedger
from network_pipeline.schema import SCHEMA_VERSION

AGENT = AgentLedger(
    source="lb1",
    session="s",
    sequence=3,
    captured=12,
    kernel_dropped=1,
    shed=3,
    spooled=1,
    published=7,
    last=11,
    lost=((3, 4), (9, 9)),
    ended="stopped",
    at=1_700_000_000_000_000_000,
)
SESSION = SessionLedger(
    source="lb1",
    received=9,
    written=7,
    duplicate=1,
    rejected=1,
    frames=((1, 2), (5, 8), (10, 10)),
    rejected_frames=((11, 11),),
    agent=AGENT,
)
DATASET = DatasetLedger("x.csv", 999, at=5, sessions={"s": SESSION, "t": SessionLedger()})


def test_an_agents_ledger_comes_back_from_its_message() -> None:
    message = AGENT.message()
    assert message.content_type == ledger.LEDGER_TYPE
    assert message.headers == {
        "schema": SCHEMA_VERSION,
        "source": "lb1",
        "session": "s",
        "first": 0,
        "count": 0,
        "created": AGENT.at,
    }
    assert ledger.of_message(message.body, message.headers) == AGENT
    assert AGENT.accounted == AGENT.captured


def test_a_datasets_ledger_comes_back_from_its_text() -> None:
    assert ledger.parse_dataset(DATASET.text()) == DATASET
    assert DATASET.text().count(b"\n") == 4
    assert ledger.parse_dataset(DatasetLedger("y").text()) == DatasetLedger("y")


def test_the_newest_word_of_an_agent_counts() -> None:
    later = AgentLedger("lb1", "s", sequence=4)
    assert ledger.newer(AGENT, later) is later
    assert ledger.newer(later, AGENT) is later
    assert ledger.newer(None, AGENT) is AGENT
    assert ledger.newer(AGENT, None) is AGENT
    assert ledger.newer(None, None) is None


def test_a_killed_agent_said_more_than_its_heir_knows() -> None:
    said = AgentLedger("lb1", "s", sequence=9, captured=50, last=50, lost=((7, 8),))
    heirs = AgentLedger("lb1", "s", sequence=4, captured=20, last=20, ended="killed")
    both = replace(said, ended="killed")
    assert ledger.newer(said, heirs) == ledger.newer(heirs, said) == both
    assert ledger.newer(both, heirs) == ledger.newer(heirs, both) == both
    stopped = replace(said, sequence=10, ended="stopped")
    assert ledger.newer(stopped, heirs) == ledger.newer(heirs, stopped) == stopped


def test_the_latest_losses_are_kept() -> None:
    lost = [(n, n) for n in range(1, 2 * ledger.MAX_LOST_RANGES + 2, 2)]
    kept, is_incomplete = ledger.latest(lost)
    assert kept == tuple(lost[1:])
    assert is_incomplete
    assert ledger.latest(lost[1:]) == (tuple(lost[1:]), False)
    full = AgentLedger("lb1", "s", lost=tuple((10**18 + a, 10**18 + b) for a, b in kept))
    assert len(full.text()) < ledger.MAX_AGENT_BYTES


def changed(text: bytes, **values: Any) -> bytes:
    return json.dumps({**json.loads(text), **values}).encode()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "a ledger that is not JSON"),
        (b"\xff", "a ledger that is not JSON"),
        (b"[" * 100_000, "a ledger that is not JSON"),
        (b"[]", "a ledger that is no JSON object"),
        (b"{}", "a ledger of version None, this program reads 1"),
        (changed(AGENT.text(), version=2), "a ledger of version 2, this program reads 1"),
        (changed(AGENT.text(), version=True), "a ledger of version True, this program reads 1"),
        (changed(AGENT.text(), session="a\nb"), "a ledger whose 'session' is not valid"),
        (changed(AGENT.text(), session=""), "a ledger whose 'session' is not valid"),
        (changed(AGENT.text(), source="x" * 201), "a ledger whose 'source' is not valid"),
        (changed(AGENT.text(), captured=-1), "a ledger whose 'captured' is not valid"),
        (changed(AGENT.text(), captured=1.5), "a ledger whose 'captured' is not valid"),
        (changed(AGENT.text(), captured=True), "a ledger whose 'captured' is not valid"),
        (changed(AGENT.text(), captured=2**64), "a ledger whose 'captured' is not valid"),
        (changed(AGENT.text(), lost=[[0, 1]]), "a ledger whose 'lost' is not valid"),
        (changed(AGENT.text(), lost=[[2, 1]]), "a ledger whose 'lost' is not valid"),
        (changed(AGENT.text(), lost=[[1, 2], [3, 4]]), "a ledger whose 'lost' is not valid"),
        (changed(AGENT.text(), lost=[[5, 6], [1, 2]]), "a ledger whose 'lost' is not valid"),
        (changed(AGENT.text(), lost=[[1, 2**64]]), "a ledger whose 'lost' is not valid"),
        (changed(AGENT.text(), lost=[[1]]), "a ledger whose 'lost' is not valid"),
        (changed(AGENT.text(), lost={}), "a ledger whose 'lost' is not valid"),
        (changed(AGENT.text(), ended="soon"), "a ledger whose 'ended' is not valid"),
        (changed(AGENT.text(), is_incomplete=0), "a ledger whose 'is_incomplete' is not valid"),
        (b" " * (ledger.MAX_AGENT_BYTES + 1), "a ledger of 1048577 bytes, the limit is 1048576"),
    ],
)
def test_what_is_no_ledger_is_refused_with_a_reason(text: bytes, reason: str) -> None:
    with pytest.raises(LedgerError) as caught:
        ledger.parse_agent(text)
    assert str(caught.value) == reason
    with pytest.raises(MessageError) as refused:
        ledger.of_message(text, {})
    assert str(refused.value) == reason


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"version": None}, "a ledger of version None, this program reads 1"),
        ({"sessions": []}, "a ledger without sessions"),
        ({"sessions": {"s": []}}, "a ledger with a session that is no JSON object"),
        ({"sessions": {"s\n": {}}}, "a ledger whose 'session' is not valid"),
        ({"sessions": {"s": {}}}, "a ledger whose 'source' is not valid"),
        ({"sessions": {"s": {"agent": 3}}}, "a ledger whose agent is no JSON object"),
        ({"size": "1"}, "a ledger whose 'size' is not valid"),
    ],
)
def test_what_is_no_ledger_of_a_dataset_is_refused(values: Any, reason: str) -> None:
    with pytest.raises(LedgerError) as caught:
        ledger.parse_dataset(changed(DATASET.text(), **values))
    assert str(caught.value) == reason


def test_a_ledger_speaks_for_its_own_session_only() -> None:
    with pytest.raises(MessageError, match="another session"):
        ledger.of_message(AGENT.text(), {"session": "other"})
    other = DatasetLedger("x", sessions={"other": SESSION})
    with pytest.raises(LedgerError, match="an agent's of another session"):
        ledger.parse_dataset(other.text())


def test_another_schema_is_left_to_the_reader() -> None:
    assert ledger.parse_dataset(changed(DATASET.text(), schema="old")).schema == "old"


@given(st.data())
def test_any_bytes_give_a_ledger_or_its_error(data: st.DataObject) -> None:
    whole = DATASET.text()
    place = data.draw(st.integers(0, len(whole)))
    text = whole[:place] + data.draw(st.binary(max_size=4)) + whole[place + data.draw(
        st.integers(0, 4)
    ) :]  # fmt: skip
    for parse in (ledger.parse_agent, ledger.parse_dataset):
        with suppress(LedgerError):
            parse(text)
