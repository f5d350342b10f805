r"""DNS messages (RFC 1035 section 4): the header, the first question and the answers.

A message is read from front to back and up to the first thing that is wrong; what was read before
it stays, and ``error`` names it. Authority and additional records have no columns and are not read.

Work is bounded whatever the counts claim. A record has at least eleven bytes, so there are never
more records than bytes. A name has at most 255 (RFC 1035 section 2.3.4) and its pointers lead back
(section 4.1.4: "a prior occurrence"); what a pointer led to is kept by its place, so that no label
is read twice for pointers. Since two bytes can then stand for 255, all answers together may take
256 KiB of text; no honest message comes near.

A name is text without the trailing dot; the root is ``.``, since an empty text could not be told
from an absent one. Bytes that are not printable ASCII are written ``\DDD`` (section 5.1), and so
are three that would be ambiguous: the backslash, a dot inside a label, and ``;``, which joins
answers.

Reasons: ``truncated``, ``name`` (too long, or endless), ``label`` (neither a length nor a pointer),
``pointer`` (not back), ``rdata`` (a name longer than its record), ``size`` (too much text).
"""

from __future__ import annotations

import re
import struct
from typing import NamedTuple

from network_pipeline.decode import text

HEADER_BYTES = 12

_MOST_NAME_BYTES = 255
_MOST_ANSWER_TEXT = 256 * 1024

_POINTER = 0xC0  # the first byte of a pointer is this or more,
_LONGEST_LABEL = 0x3F  # and that of a label its length

_A = 1
_AAAA = 28
#: Types whose data is one name: NS, CNAME, PTR, DNAME.
_NAME_TYPES = frozenset((2, 5, 12, 39))

_HEADER = struct.Struct("!6H")
_QUESTION = struct.Struct("!HH")
_RECORD = struct.Struct("!HHIH")

#: Printable ASCII without the dot, the semicolon and the backslash: what most labels consist of.
_is_plain = re.compile(rb"[ !-\-/-:<-\[\]-~]*").fullmatch
_ESCAPED = tuple(
    chr(byte) if 0x20 <= byte < 0x7F and byte not in b"\\.;" else f"\\{byte:03d}"
    for byte in range(256)
)


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


#: Names of a message by the place that they begin at: text, and bytes without compression.
_Known = dict[int, tuple[str, int]]


def parse(message: bytes) -> Dns | None:
    """Return what a message says; ``None`` where even its header is cut."""
    if len(message) < HEADER_BYTES:
        return None
    known: _Known = {}
    header = _header(message)
    question, offset, error = _questions(message, header.qdcount, known)
    answers: list[Answer] = []
    if not error:
        error = _answers(message, offset, header.ancount, known, answers)
    return Dns(header, question, answers, error)


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


def _questions(message: bytes, count: int, known: _Known) -> tuple[Question | None, int, str]:
    """Return the first question, where the answers begin, and the error that ended the section."""
    first: Question | None = None
    offset: int = HEADER_BYTES
    for _ in range(count):
        name, offset, error = _name(message, offset, known)
        if error:
            return first, offset, error
        if offset + _QUESTION.size > len(message):
            return first, offset, "truncated"
        if first is None:
            first = Question(name, *_QUESTION.unpack_from(message, offset))
        offset += _QUESTION.size
    return first, offset, ""


def _answers(message: bytes, offset: int, count: int, known: _Known, answers: list[Answer]) -> str:
    """Append the records that begin at ``offset``; return the error that ended the section."""
    room: int = _MOST_ANSWER_TEXT
    for _ in range(count):
        answer, offset, error = _answer(message, offset, known)
        if answer is None:
            return error
        room -= len(answer.rrname) + len(answer.rdata)
        if room < 0:
            return "size"
        answers.append(answer)
    return ""


def _answer(message: bytes, offset: int, known: _Known) -> tuple[Answer | None, int, str]:
    """Return the record at ``offset``, where it ends, and the error in it."""
    name, offset, error = _name(message, offset, known)
    if error:
        return None, offset, error
    if offset + _RECORD.size > len(message):
        return None, offset, "truncated"
    kind, _, ttl, length = _RECORD.unpack_from(message, offset)
    offset += _RECORD.size
    end: int = offset + length
    if end > len(message):
        return None, offset, "truncated"
    rdata, error = _rdata(message, offset, end, kind, known)
    return None if error else Answer(name, kind, ttl, rdata), end, error


def _rdata(message: bytes, offset: int, end: int, kind: int, known: _Known) -> tuple[str, str]:
    """Return a record's data as text, and the error in it; bytes after a name are passed by."""
    if kind == _A and end - offset == 4:
        return text.ipv4(message[offset:end]), ""
    if kind == _AAAA and end - offset == 16:
        return text.ipv6(message[offset:end]), ""
    if kind in _NAME_TYPES and end > offset:
        name, name_end, error = _name(message, offset, known)
        return name, error or ("rdata" if name_end > end else "")
    return message[offset:end].hex(), ""


def _name(message: bytes, offset: int, known: _Known) -> tuple[str, int, str]:
    """Return the name at ``offset``, where it ends there, and the error in it."""
    places: list[int] = []  # of its labels and pointers
    place: int = offset
    end: int = -1  # not known before the first pointer or the root
    while end < 0 or place not in known:
        if place >= len(message):
            return "", offset, "truncated"
        length: int = message[place]
        if length == 0:
            known[place] = ("", 1)
            end = place + 1 if end < 0 else end
            break
        places.append(place)
        if len(places) > _MOST_NAME_BYTES:
            return "", offset, "name"
        if length <= _LONGEST_LABEL:
            place += 1 + length
        elif length < _POINTER:
            return "", offset, "label"
        elif place + 1 >= len(message):
            return "", offset, "truncated"
        else:
            end = place + 2 if end < 0 else end
            target: int = (length - _POINTER) << 8 | message[place + 1]
            if target >= place:
                return "", offset, "pointer"
            place = target
    name, error = _join(message, places, place, known)
    return name, end, error


def _join(message: bytes, places: list[int], last: int, known: _Known) -> tuple[str, str]:
    """Return the name that ``places`` and the known one at ``last`` make, and the error in it.

    Every end of it becomes known on the way.
    """
    name, size = known[last]
    for place in reversed(places):
        length: int = message[place]
        if length <= _LONGEST_LABEL:
            label = _label(message[place + 1 : place + 1 + length])
            name = f"{label}.{name}" if name else label
            size += 1 + length
        if size > _MOST_NAME_BYTES:
            return "", "name"
        known[place] = (name, size)
    return name or ".", ""


def _label(label: bytes) -> str:
    if _is_plain(label):
        return label.decode("ascii")
    return "".join([_ESCAPED[byte] for byte in label])
