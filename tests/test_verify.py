from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from network_pipeline.ledger import AgentLedger, DatasetLedger, SessionLedger
from network_pipeline.range_sets import RangeSet
from network_pipeline.verify import Account, Dataset, SessionRows, Verdict, judge


def dataset(
    rows: Sequence[int],
    agent: AgentLedger | None = None,
    *,
    rejected: Iterable[int] = (),
    name: str = "x.csv",
    session: str = "s",
) -> Dataset:
    """Return a file with these rows whose ledger is right."""
    once = RangeSet((n, n) for n in rows)
    again = RangeSet((n, n) for n in rows if rows.count(n) > 1)
    aside = RangeSet((n, n) for n in rejected)
    entry = SessionLedger(
        source="lb1",
        received=len(rows) + aside.count,
        written=len(rows),
        rejected=aside.count,
        frames=tuple(once.pairs()),
        rejected_frames=tuple(aside.pairs()),
        agent=agent,
    )
    there = {session: SessionRows("lb1", len(rows), once, again)} if rows else {}
    return Dataset(name, 100, there, ledger=DatasetLedger(name, 100, sessions={session: entry}))


def agent(
    captured: int, *, lost: Sequence[int] = (), ended: str = "stopped", **counts: int
) -> AgentLedger:
    """Return a ledger that adds up where ``counts`` do not say otherwise."""
    dropped, spooled = counts.get("kernel_dropped", 0), counts.get("spooled", 0)
    shed = counts.get("shed", len(lost))
    published = captured - dropped - spooled - shed
    known = {"published": published, "last": captured - dropped, "shed": shed, **counts}
    pairs = tuple(RangeSet((n, n) for n in lost).pairs())
    made = AgentLedger("lb1", "s", captured=captured, lost=pairs, ended=ended)
    return replace(made, **known)  # type: ignore[arg-type]  # all are counts


def only(verdict: Verdict) -> Account:
    [account] = verdict.accounts
    return account


def counts(account: Account) -> dict[str, int]:
    names = ("rejected", "shed", "under_way", "spooled", "died", "duplicate")
    found = {name: getattr(account, name) for name in names} | {
        "unexplained": account.unexplained.count
    }
    return {name: count for name, count in found.items() if count}


ONE_TO_TEN = list(range(1, 11))


def test_a_session_that_is_all_there() -> None:
    verdict = judge([dataset(ONE_TO_TEN, agent(12, kernel_dropped=2))])
    account = only(verdict)
    assert (account.session, account.source, account.state) == ("s", "lb1", "stopped")
    assert (account.frames, account.rows, account.kernel_dropped) == (10, 10, 2)
    assert counts(account) == {}
    assert verdict.complaints == []
    assert verdict.text == "10 rows of 1 sessions add up: 2 kernel dropped"


@pytest.mark.parametrize(
    ("rows", "word", "is_final", "expected"),
    [
        ([1, 2, 5, 6], agent(6, lost=[3, 4]), False, {"shed": 2}),
        ([1, 2, 5, 6], agent(6), False, {"unexplained": 2}),
        ([1, 2, 5, 6], None, False, {"unexplained": 2}),
        ([1, 2], agent(5), False, {"unexplained": 3}),
        ([1, 2], agent(5, spooled=3), False, {"spooled": 3}),
        ([1, 2], agent(5, spooled=3), True, {"unexplained": 3}),
        ([1, 2], agent(5, spooled=2), False, {"spooled": 2, "unexplained": 1}),
        ([2, 3], agent(5, spooled=2), False, {"spooled": 2, "unexplained": 1}),
        ([1, 4], agent(5, ended="", published=2), False, {"under_way": 3}),
        ([1, 4], agent(5, ended="", published=2), True, {"unexplained": 3}),
        ([1, 4, 9], agent(5, ended="", published=2), False, {"under_way": 6}),
        ([1, 2], agent(5, ended="killed", published=2), True, {"died": 3}),
        ([1, 2], agent(5, ended="killed", published=3), True, {"died": 2, "unexplained": 1}),
        ([1, 3], agent(5, ended="killed", published=2), True, {"died": 2, "unexplained": 1}),
        ([1, 2, 3, 4, 5, 6, 7], agent(5, ended="killed", published=2), True, {}),
        ([1, 2, 7], agent(5, ended="killed", published=2), True, {"unexplained": 4}),
        # What was in the spool of an agent that was killed is to come, in the end.
        ([1], agent(5, ended="killed", published=1, spooled=2), False, {"died": 4}),
        ([1], agent(5, ended="killed", published=1, spooled=2), True,
         {"died": 2, "unexplained": 2}),
        # Shed when the time to end was over, but the broker had it: no loss after all.
        ([1, 2, 3, 4], agent(5, lost=[4, 5]), False, {"shed": 1}),
    ],
)  # fmt: skip
def test_every_missing_frame_has_a_reason_or_is_unexplained(
    rows: list[int], word: AgentLedger | None, is_final: bool, expected: dict[str, int]
) -> None:
    verdict = judge([dataset(rows, word)], is_final=is_final)
    assert counts(only(verdict)) == expected
    assert bool(verdict.complaints) == ("unexplained" in expected)


def test_what_was_set_aside_is_no_gap() -> None:
    account = only(judge([dataset([1, 3], agent(4), rejected=[2, 4])]))
    assert counts(account) == {"rejected": 2}
    requeued = judge([dataset([1, 2], agent(2), rejected=[2])])
    assert counts(only(requeued)) == {}


def test_losses_without_numbers_explain_as_many_frames_as_they_were() -> None:
    word = replace(agent(20, lost=[15, 16], shed=5), is_incomplete=True)
    rows = [n for n in range(1, 21) if n not in (3, 5, 7, 15, 16)]
    assert counts(only(judge([dataset(rows, word)]))) == {"shed": 5}
    verdict = judge([dataset([n for n in rows if n not in (9, 18)], word)])
    assert counts(only(verdict)) == {"shed": 5, "unexplained": 2}
    assert only(verdict).unexplained.pairs() == [(9, 9), (18, 18)]


def test_rows_of_competing_processors_are_one_session() -> None:
    files = [
        dataset([1, 2, 5], agent(6, ended="", published=3), name="a.csv"),
        dataset([3, 4, 6], agent(6, sequence=1), name="b.csv"),
    ]
    verdict = judge(files)
    assert only(verdict).state == "stopped"
    assert verdict.text == "6 rows of 1 sessions add up"
    assert judge(files[:1]).text == "3 rows of 1 sessions add up: 3 under way"
    assert counts(only(judge(files[1:]))) == {"unexplained": 3}


def test_duplicates_in_a_file_and_across_files() -> None:
    verdict = judge([dataset([1, 2, 2, 3, 3, 3], agent(5), name="a"), dataset([3, 4, 5], name="b")])
    assert counts(only(verdict)) == {"duplicate": 4}
    assert list(verdict.complaints) == ["session s: 4 duplicate rows: 2-3"]


def test_sessions_are_apart() -> None:
    files = [dataset([1, 2], agent(2)), dataset([1], session="t", name="y")]
    verdict = judge(files)
    assert [(a.session, a.state, a.rows) for a in verdict.accounts] == [
        ("s", "stopped", 2),
        ("t", "unknown", 1),
    ]
    assert verdict.complaints == []


def wrong(**values: object) -> AgentLedger:
    return replace(agent(3), **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("word", "complaint"),
    [
        (wrong(captured=4), "captured 4 is not published 3 + spooled 0 + shed 0 + "
                            "kernel_dropped 0 + not_sampled 0"),
        (wrong(captured=2, ended=""), "captured 2 is not published 3 + spooled 0 + shed 0 + "
                                      "kernel_dropped 0 + not_sampled 0"),
        (wrong(lost=((3, 3),)), "shed 0 frames, but 1 are named"),
        (wrong(shed=1, published=2), "shed 1 frames, but 0 are named"),
        (wrong(last=2), "1 frames after 2, the last of its agent: 3"),
    ],
)  # fmt: skip
def test_an_agent_that_contradicts_itself_or_the_rows(word: AgentLedger, complaint: str) -> None:
    assert list(judge([dataset([1, 2, 3], word)]).complaints) == [f"session s: {complaint}"]


def test_an_agent_that_runs_may_hold_frames() -> None:
    assert not judge([dataset([1, 2, 3], wrong(captured=9, ended="", last=3))]).complaints


def with_entry(file: Dataset, size: int = 100, **values: object) -> Dataset:
    assert file.ledger is not None
    entry = replace(file.ledger.sessions["s"], **values)  # type: ignore[arg-type]
    return replace(file, ledger=replace(file.ledger, size=size, sessions={"s": entry}))


@pytest.mark.parametrize(
    ("file", "complaint"),
    [
        (with_entry(dataset([1, 2], agent(2)), received=3),
         "session s: received 3 is not written 2 + duplicate 0 + rejected 0"),
        (with_entry(dataset([1, 2], agent(2)), frames=((1, 3),)),
         "session s: 1 rows are gone that were written: 3"),
        (with_entry(dataset([1, 2], agent(2)), received=3, written=3),
         "session s: its ledger says that 3 rows were written, there are 2"),
        (with_entry(dataset([1, 2], agent(2)), received=1, written=1),
         "session s: its ledger says that 1 rows were written, there are 2"),
        (with_entry(dataset([1, 2], agent(2)), size=107), "7 bytes shorter than its ledger says"),
        (replace(dataset([1, 2], agent(2)), problems=["a torn last line, 3 bytes"]),
         "a torn last line, 3 bytes"),
        (replace(dataset([1, 2]), ledger=DatasetLedger("x.csv", 100, schema="old")),
         "its ledger is of schema old, not of this one"),
    ],
)  # fmt: skip
def test_a_file_that_contradicts_its_ledger(file: Dataset, complaint: str) -> None:
    assert list(judge([file]).complaints) == [f"x.csv: {complaint}"]


def test_rows_behind_what_the_ledger_knows_are_a_killed_processors() -> None:
    late = with_entry(
        dataset([1, 2, 3], agent(3)), size=60, received=1, written=1, frames=((1, 1),)
    )
    assert not judge([late]).complaints


def test_nothing_at_all_adds_up() -> None:
    assert judge([]).text == "0 rows of 0 sessions add up"


# -- random histories


class History:
    """A session whose every frame's fate is drawn, told in ledgers as the parts would."""

    def __init__(self, seed: int) -> None:
        chance = self.chance = random.Random(seed)
        self.last = chance.randint(0, 30)
        self.ended = chance.choice(["stopped", "killed", ""])
        self.lost = {n for n in self.numbers() if chance.random() < 0.15}
        sent = [n for n in self.numbers() if n not in self.lost]
        self.left = chance.randint(0, len(sent)) if chance.random() < 0.5 else 0
        self.delivered = sent[: len(sent) - self.left]
        self.aside = {n for n in self.delivered if chance.random() < 0.1}
        self.rows = [n for n in self.delivered if n not in self.aside]

    def numbers(self) -> range:
        return range(1, self.last + 1)

    def word(self) -> AgentLedger:
        dropped = self.chance.randint(0, 5)
        spooled = self.left if self.ended == "stopped" else 0
        return AgentLedger(
            "lb1",
            "s",
            captured=self.last + dropped,
            kernel_dropped=dropped,
            shed=len(self.lost),
            lost=tuple(RangeSet((n, n) for n in self.lost).pairs()),
            published=len(self.delivered),
            spooled=spooled,
            last=self.last,
            ended=self.ended,
        )

    def files(self, rows: list[int]) -> list[Dataset]:
        """Share the rows among competing processors, which hear the agent now and then."""
        names = ["a.csv", "b.csv", "c.csv"][: self.chance.randint(1, 3)]
        word, hears = self.word(), self.chance.choice(names)
        share: dict[str, list[int]] = {name: [] for name in names}
        for number in rows:
            share[self.chance.choice(names)].append(number)
        return [
            dataset(
                share[name],
                word if name == hears else None,
                rejected=self.aside if name == names[0] else (),
                name=name,
            )
            for name in names
        ]


@given(st.integers(0, 2**32))
def test_nothing_is_said_of_a_history_that_is_explained(seed: int) -> None:
    history = History(seed)
    account = only(judge(history.files(history.rows)))
    assert account.complaints == []
    assert account.rows == len(history.rows)
    assert account.frames == history.last
    named = (account.under_way, account.spooled, account.died)
    assert sum(named) == history.left
    assert account.shed == len(history.lost)
    assert account.rejected == len(history.aside)


@given(st.integers(0, 2**32), st.data())
def test_a_row_that_is_gone_is_always_noticed(seed: int, data: st.DataObject) -> None:
    history = History(seed)
    if not history.rows or not history.ended:
        return
    gone = data.draw(st.sampled_from(history.rows))
    left = [n for n in history.rows if n != gone]
    verdict = judge(history.files(left), is_final=data.draw(st.booleans()))
    assert only(verdict).unexplained.count >= 1
    assert verdict.complaints


@given(st.integers(0, 2**32), st.data())
def test_a_row_that_is_there_twice_is_always_noticed(seed: int, data: st.DataObject) -> None:
    history = History(seed)
    if not history.rows:
        return
    twice = data.draw(st.sampled_from(history.rows))
    verdict = judge(history.files([*history.rows, twice]))
    assert only(verdict).duplicate == 1
    assert f"session s: 1 duplicate rows: {twice}" in verdict.complaints
