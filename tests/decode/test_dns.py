"""DNS messages: bytes and what they say, malformed ones above all."""

from __future__ import annotations

import struct
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from network_pipeline.decode import dns, dns_reader
from network_pipeline.decode.columnar import COMPILED
from network_pipeline.decode.written import Text


def _message(body: bytes, *, qdcount: int = 0, ancount: int = 0) -> bytes:
    return struct.pack("!6H", 0x1234, 0x8180, qdcount, ancount, 0, 0) + body


def _record(kind: int, rdata: bytes, name: bytes = b"\x01a\x00") -> bytes:
    return name + struct.pack("!HHIH", kind, 1, 60, len(rdata)) + rdata


def _read(message: bytes) -> dns.Dns:
    found = dns.parse(message)
    assert found is not None
    return found


def test_header() -> None:
    found = _read(bytes.fromhex("abcd f5b3 0000 0000 0003 0004"))
    assert found.header._asdict() == {
        "id": 0xABCD,
        "qr": 1,
        "opcode": 14,
        "aa": 1,
        "tc": 0,
        "rd": 1,
        "ra": 1,
        "z": 0,
        "ad": 1,
        "cd": 1,
        "rcode": 3,
        "qdcount": 0,
        "ancount": 0,
        "nscount": 3,
        "arcount": 4,
    }
    assert (found.question, found.answers, found.error) == (None, [], "")


def test_each_flag_has_its_bit() -> None:
    names = {15: "qr", 10: "aa", 9: "tc", 8: "rd", 7: "ra", 6: "z", 5: "ad", 4: "cd"}
    for bit, name in names.items():
        header = _read(struct.pack("!6H", 0, 1 << bit, 0, 0, 0, 0)).header
        assert [field for field, value in header._asdict().items() if value] == [name]


def test_question_class_is_as_on_the_wire() -> None:
    found = _read(_message(b"\x04_ipp\x05local\x00\x00\x0c\x80\x01", qdcount=1))
    assert found.question == dns.Question("_ipp.local", 12, 0x8001)


def test_the_first_question_counts_and_answers_follow_the_last() -> None:
    questions = b"\x01a\x00\x00\x01\x00\x01" + b"\x01b\x00\x00\x1c\x00\x01"
    found = _read(_message(questions + _record(1, b"\x01\x02\x03\x04"), qdcount=2, ancount=1))
    assert found.question == dns.Question("a", 1, 1)
    assert found.answers == [dns.Answer("a", 1, 60, "1.2.3.4")]


NAMES = [
    (b"\x00", "."),
    (b"\x03www\x07Example\x03org\x00", "www.Example.org"),
    (b"\x0eliving room tv\x00", "living room tv"),
    (b"\x03a.b\x00", r"a\046b"),
    (b"\x03a;b\x00", r"a\059b"),
    (b"\x03a\\b\x00", r"a\092b"),
    (b"\x05Caf\xc3\xa9\x00", r"Caf\195\169"),
    (b"\x04\x00\n\x7f\xff\x00", r"\000\010\127\255"),
    (b"\x3f" + b"x" * 63 + b"\x00", "x" * 63),
]


@pytest.mark.parametrize(("name", "text"), NAMES)
def test_names(name: bytes, text: str) -> None:
    found = _read(_message(name + b"\x00\x01\x00\x01", qdcount=1))
    assert found.question == dns.Question(text, 1, 1)
    assert found.error == ""


def test_pointers_lead_back() -> None:
    question = b"\x01a\x07example\x03org\x00\x00\x01\x00\x01"  # at 12, example at 14
    record = _record(5, b"\x01b\xc0\x0e", name=b"\xc0\x0c")
    found = _read(_message(question + record, qdcount=1, ancount=1))
    assert found.answers == [dns.Answer("a.example.org", 5, 60, "b.example.org")]


RDATA = [
    (1, b"\x7f\x00\x00\x01", "127.0.0.1"),
    (1, b"\x7f\x00\x00", "7f0000"),
    (1, b"", ""),
    (28, bytes(15) + b"\x01", "::1"),
    (28, bytes(4), "00000000"),
    (2, b"\x02ns\x00", "ns"),
    (5, b"\x00", "."),
    (12, b"\x03ptr\x00", "ptr"),
    (39, b"\x03new\x00", "new"),
    (5, b"\x01b\x00\xff", "b"),
    (5, b"", ""),
    (15, b"\x00\x0a\x02mx\x00", "000a026d7800"),
    (16, b"\x02hi", "026869"),
    (65280, b"\x00\xff", "00ff"),
]


@pytest.mark.parametrize(("kind", "rdata", "text"), RDATA)
def test_rdata(kind: int, rdata: bytes, text: str) -> None:
    found = _read(_message(_record(kind, rdata), ancount=1))
    assert found.answers == [dns.Answer("a", kind, 60, text)]
    assert found.error == ""


QUESTION_END = b"\x00\x01\x00\x01"
LONGEST = (b"\x3f" + b"x" * 63) * 3 + b"\x3d" + b"y" * 61 + b"\x00"

BAD_QUESTIONS = [
    ("points to itself", b"\xc0\x0c" + QUESTION_END, "pointer"),
    ("points forward", b"\xc0\x12" + QUESTION_END + b"\x01a\x00", "pointer"),
    ("label and loop", b"\x01a\xc0\x0c" + QUESTION_END, "name"),
    ("300 labels", b"\x01a" * 300 + b"\x00" + QUESTION_END, "name"),
    ("pointer cut", b"\x01a\xc0", "truncated"),
    ("name cut in a label", b"\x03ab", "truncated"),
    ("name cut after a label", b"\x01a", "truncated"),
    ("nothing there", b"", "truncated"),
    ("type cut", b"\x01a\x00\x00\x01\x00", "truncated"),
    ("label type 0x40", b"\x41a\x00" + QUESTION_END, "label"),
    ("label type 0x80", b"\x81a\x00" + QUESTION_END, "label"),
    ("256 bytes", b"\x01z" + LONGEST + QUESTION_END, "name"),
]


@pytest.mark.parametrize(
    ("body", "error"), [case[1:] for case in BAD_QUESTIONS], ids=[case[0] for case in BAD_QUESTIONS]
)
def test_bad_questions(body: bytes, error: str) -> None:
    found = _read(_message(body, qdcount=1, ancount=1))
    assert (found.question, found.answers, found.error) == (None, [], error)


def test_a_name_may_have_255_bytes() -> None:
    assert len(LONGEST) == 255
    found = _read(_message(LONGEST + QUESTION_END, qdcount=1))
    assert found.question is not None
    assert len(found.question.qname) == 253


GOOD = _record(1, b"\x01\x02\x03\x04")
BAD_ANSWERS = [
    ("not there", b"", "truncated"),
    ("fields cut", b"\x01a\x00\x00\x01\x00\x01\x00\x00\x00\x00\x00", "truncated"),
    ("data cut", GOOD[:-1], "truncated"),
    ("name loops", b"\xc0\x1a" + bytes(10), "name"),
    ("name in data loops", _record(5, b"\xc0\x2a"), "pointer"),
    ("name in data leaves it", _record(5, b"\x01b") + b"\x00", "rdata"),
]


@pytest.mark.parametrize(
    ("body", "error"), [case[1:] for case in BAD_ANSWERS], ids=[case[0] for case in BAD_ANSWERS]
)
def test_answers_before_a_bad_one_stay(body: bytes, error: str) -> None:
    found = _read(_message(GOOD + body, ancount=3))
    assert found.answers == [dns.Answer("a", 1, 60, "1.2.3.4")]
    assert found.error == error


@pytest.mark.parametrize(("hops", "name"), [(2, "a"), (254, "a"), (255, None)])
def test_a_name_has_255_labels_and_pointers_at_most(hops: int, name: str | None) -> None:
    data_at = 23  # of the first answer: the name, then pointers to what is before each
    targets = [data_at] + [data_at + 3 + 2 * n for n in range(hops - 2)]
    data = b"\x01a\x00" + b"".join(struct.pack("!H", 0xC000 | target) for target in targets)
    last = struct.pack("!H", 0xC000 | (data_at + len(data) - 2))
    body = _record(16, data, name=b"\x00") + _record(1, bytes(4), name=last)
    found = _read(_message(body, ancount=2))
    assert [answer.rrname for answer in found.answers[1:]] == ([name] if name else [])
    assert found.error == ("" if name else "name")


@pytest.mark.parametrize(
    ("count", "taken", "error"),
    [
        (28, 28, ""),  # 663 bytes may have 14,704 of text: a question of 253 and 28 answers of
        (29, 28, "size"),  # 509, with semicolons from the second on; and 677 may have 14,928
        (4_000, 510, "size"),  # 56,271 may have 262,144
    ],
)
def test_answers_cannot_grow_without_bound(count: int, taken: int, error: str) -> None:
    """Pointers let every record of 14 bytes stand for two names of 255."""
    record = _record(5, b"\xc0\x0c", name=b"\xc0\x0c")
    found = _read(_message(LONGEST + QUESTION_END + record * count, qdcount=1, ancount=count))
    assert (len(found.answers), found.error) == (taken, error)
    assert {(each.rrname, each.type, each.ttl) for each in found.answers} == {
        (found.answers[0].rdata, 5, 60)
    }


class _CountedBytes(bytes):
    """Bytes that count how often each of them is read."""

    def __init__(self, _: bytes) -> None:
        self.reads: Counter[int] = Counter()

    def __getitem__(self, place: Any) -> Any:
        self.reads[place] += 1
        return super().__getitem__(place)


@pytest.mark.skipif(COMPILED, reason="reads are counted where the reader runs interpreted")
def test_no_label_is_read_twice_for_pointers() -> None:
    longest = b"\x01x" * 127 + b"\x00"
    targets = [12 + 2 * n for n in range(127)] * 8
    pointers = b"".join(struct.pack("!H", 0xC000 | target) + QUESTION_END for target in targets)
    message = _CountedBytes(_message(longest + QUESTION_END + pointers, qdcount=1 + len(targets)))
    texts = [Text(memoryview(bytearray(1000))) for _ in range(dns_reader.TEXTS)]
    assert dns_reader.Reader(message, texts).read(0, len(message)) == 0  # type: ignore[arg-type]
    labels = range(12, 12 + len(longest))
    assert max(message.reads[place] for place in labels) < 10


def test_counts_that_lie_end_with_the_message() -> None:
    found = _read(_message(b"\x01a\x00" + QUESTION_END, qdcount=65_535, ancount=65_535))
    assert found.question == dns.Question("a", 1, 1)
    assert found.error == "truncated"


def test_a_cut_header_is_no_message() -> None:
    assert dns.parse(bytes(11)) is None
    assert dns.parse(bytes(12)) is not None


@given(st.binary(max_size=200), st.integers(0, 5), st.integers(0, 5))
def test_any_bytes_are_read(body: bytes, qdcount: int, ancount: int) -> None:
    found = _read(_message(body, qdcount=qdcount, ancount=ancount))
    assert len(found.answers) <= ancount
    texts = [answer.rrname + answer.rdata for answer in found.answers]
    texts += [found.question.qname] if found.question else []
    assert all(text.isascii() and text.isprintable() and ";" not in text for text in texts)
