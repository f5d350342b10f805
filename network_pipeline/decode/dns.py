r"""DNS messages (RFC 1035 section 4): the header, the first question and the answers.

A message is read from front to back and up to the first thing that is wrong; what was read before
it stays, and ``error`` names it. Authority and additional records have no columns and are not read.

Work is bounded whatever the counts claim. A record has at least eleven bytes, so there are never
more records than bytes. A name has at most 255 (RFC 1035 section 2.3.4) and its pointers lead back
(section 4.1.4: "a prior occurrence"); what a pointer led to is kept by its place, so that no label
is read twice for pointers. Since two bytes can then stand for 255, what a message says may take 4
KiB of text and 16 bytes for each of its own, of which honest messages need half, and 256 KiB at
most: the answer beyond that and those behind it are left out. The reading is done in
:mod:`.dns_reader`.

A name is text without the trailing dot; the root is ``.``, since an empty text could not be told
from an absent one. Bytes that are not printable ASCII are written ``\DDD`` (section 5.1), and so
are three that would be ambiguous: the backslash, a dot inside a label, and ``;``, which joins
answers.

Reasons: ``truncated``, ``name`` (too long, or endless), ``label`` (neither a length nor a pointer),
``pointer`` (not back), ``rdata`` (a name longer than its record), ``size`` (too much text).
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from network_pipeline.decode import dns_reader
from network_pipeline.decode.dns_reader import REASONS, TEXTS, Reader, most_written
from network_pipeline.decode.written import Text

HEADER_BYTES = dns_reader.HEADER_BYTES

_HEADER = struct.Struct("!6H")
_QUESTION = struct.Struct("!HH")


class Header(NamedTuple):
    """The twelve bytes that every message begins with."""

    id: int
    qr: int
    opcode: int
    aa: int
    tc: int
    rd: int
    ra: int
    z: int
    ad: int
    cd: int
    rcode: int
    qdcount: int
    ancount: int
    nscount: int
    arcount: int


class Question(NamedTuple):
    """What is asked: a name, a type and a class, the class as on the wire."""

    qname: str
    qtype: int
    qclass: int


class Answer(NamedTuple):
    """A record of the answer section; ``ttl`` in seconds, ``rdata`` as text or as hex."""

    rrname: str
    type: int
    ttl: int
    rdata: str


class Dns(NamedTuple):
    """A message up to its end or its first error; ``error`` is empty or a reason in one word."""

    header: Header
    question: Question | None
    answers: list[Answer]
    error: str


def parse(message: bytes) -> Dns | None:
    """Return what a message says; ``None`` where even its header is cut."""
    if len(message) < HEADER_BYTES:
        return None
    texts = [Text(memoryview(bytearray(most_written(len(message))))) for _ in range(TEXTS)]
    reader = Reader(memoryview(message), texts)
    reason = reader.read(0, len(message))
    qname, *columns = [bytes(text.data[: text.used]).decode("ascii") for text in texts]
    question = None
    if reader.question_at >= 0:
        question = Question(qname, *_QUESTION.unpack_from(message, reader.question_at))
    answers: list[Answer] = []
    if reader.answers:
        rows = zip(*(column.split(";") for column in columns), strict=True)
        answers = [Answer(name, int(kind), int(ttl), rdata) for name, kind, ttl, rdata in rows]
    return Dns(_header(message), question, answers, REASONS[reason])


def _header(message: bytes) -> Header:
    number, flags, qdcount, ancount, nscount, arcount = _HEADER.unpack_from(message)
    return Header(
        id=number,
        qr=flags >> 15,
        opcode=flags >> 11 & 0xF,
        aa=flags >> 10 & 1,
        tc=flags >> 9 & 1,
        rd=flags >> 8 & 1,
        ra=flags >> 7 & 1,
        z=flags >> 6 & 1,
        ad=flags >> 5 & 1,
        cd=flags >> 4 & 1,
        rcode=flags & 0xF,
        qdcount=qdcount,
        ancount=ancount,
        nscount=nscount,
        arcount=arcount,
    )
