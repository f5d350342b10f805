"""The loops of :mod:`.dns`: reads messages, many in a row, and writes what they say as texts.

Compiled, see :mod:`network_pipeline.interpreted`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from network_pipeline.decode.written import Text

if not TYPE_CHECKING:
    from network_pipeline.interpreted import nogil
else:
    from cython import nogil

HEADER_BYTES: Final = 12
_HEADER_BYTES = HEADER_BYTES
_QUESTION_BYTES = 4  # behind its name,
_RECORD_BYTES = 10  # and those of a record

_MOST_NAME_BYTES = 255

TEXTS: Final = 5  # that a reader writes

#: Most bytes of all texts of a message: so many by its bytes and so many more, up to a limit. What
#: an honest one holds by byte: one as hex, four as an escape, seven as an answer of sixteen bytes
#: with an address and a name of eighty.
_MOST_TEXT = 256 * 1024
_FREE_TEXT = 4 * 1024
_TEXT_PER_BYTE = 16

#: Most bytes that one record adds to a text, beside two for each of its own as hex: a name of 255
#: that are all escaped, and the semicolon.
_RECORD_TEXT = 1024
_MOST_RDATA_BYTES = 65_535

_POINTER = 0xC0  # the first byte of a pointer is this or more,
_LONGEST_LABEL = 0x3F  # and that of a label its length
_REACH = 1 << 14  # pointers lead to one of the first places of a message

_A = 1
_AAAA = 28
#: By type: 1 where its data is one name: NS, CNAME, PTR, DNAME.
_HOLDS_NAME = bytes(kind in (2, 5, 12, 39) for kind in range(256))

#: By byte: 1 where it stands for itself; not so the dot, the semicolon and the backslash.
_PLAIN = bytes(0x20 <= byte < 0x7F and byte not in b"\\.;" for byte in range(256))
_ZERO, _DOT, _SEMICOLON, _BACKSLASH = b"0.;\\"

#: By their numbers, of which 0 is none.
REASONS: Final = ("", "truncated", "name", "label", "pointer", "rdata", "size")
_TRUNCATED, _NAME, _LABEL, _BACKWARD, _RDATA, _SIZE = range(1, len(REASONS))


class Reader:
    """Reads messages that lie in ``data`` and writes their texts, one after the other.

    ``texts`` are the first questions' names, and of answers the names, types, times to live and
    data, those of one message joined by ``;``.

    What is known of a name is kept by the place that it begins at, if a pointer can lead there:
    its size without compression, and where its first label (or root) is. Marks of earlier messages
    are told apart by the message's number.
    """

    def __init__(self, data: memoryview, texts: list[Text]) -> None:
        self.data = data
        self.qname, self.rrname, self.type, self.ttl, self.rdata = texts
        self.begin = 0
        self.end = 0
        self.next = 0  # the first byte that was not read yet
        self.message = 0
        self.question_at = -1  # where type and class of the first question are
        self.answers = 0
        self.most_text = 0  # that all texts may hold once the message is read
        reach = min(len(data), _REACH)
        self.reach = reach
        self.known_in = memoryview(bytearray(4 * reach)).cast("i")
        self.sizes = memoryview(bytearray(4 * reach)).cast("i")
        self.labels = memoryview(bytearray(4 * reach)).cast("i")
        self.trail = memoryview(bytearray(4 * _MOST_NAME_BYTES)).cast("i")

    def has_room(self, size: int) -> int:
        """Return whether the texts can take a message of so many bytes, whatever is in it."""
        used = max(self.qname.used, self.rrname.used)
        used = max(used, self.type.used)
        used = max(used, self.ttl.used)
        used = max(used, self.rdata.used)
        return used + most_written(size) <= len(self.qname.data)

    def read(self, begin: int, end: int) -> int:
        """Read the message between ``begin`` and ``end``, 12 bytes at least; return the reason."""
        self.begin = begin
        self.end = end
        self.next = begin + _HEADER_BYTES
        self.message += 1
        self.question_at = -1
        self.answers = 0
        self.most_text = self._text_bytes() + _most_text(end - begin)
        reason = self._read_questions(self._u16(begin + 4))
        if reason == 0:
            reason = self._read_answers(self._u16(begin + 6))
        return reason

    def _read_questions(self, count: int) -> int:
        for number in range(count):
            at = self.next
            reason = self._check_name(at)
            if reason:
                return reason
            if self.next + _QUESTION_BYTES > self.end:
                return _TRUNCATED
            if number == 0:
                self.question_at = self.next
                self._write_name(self.qname, at)
            self.next += _QUESTION_BYTES
        return 0

    def _read_answers(self, count: int) -> int:
        for _ in range(count):
            reason = self._read_answer()
            if reason:
                return reason
        return 0

    def _read_answer(self) -> int:
        name_at = self.next
        reason = self._check_name(name_at)
        if reason:
            return reason
        at = self.next
        if at + _RECORD_BYTES > self.end:
            return _TRUNCATED
        data_at = at + _RECORD_BYTES
        data_end = data_at + self._u16(at + 8)
        if data_end > self.end:
            return _TRUNCATED
        reason = self._write_answer(name_at, at, data_at, data_end)
        if reason:
            return reason
        self.answers += 1
        self.next = data_end
        return 0

    def _write_answer(self, name_at: int, at: int, data_at: int, data_end: int) -> int:
        """Write a record whose type is at ``at``, or nothing of it if there is a reason not to."""
        names, kinds = self.rrname.used, self.type.used
        ttls, rdata = self.ttl.used, self.rdata.used
        if self.answers > 0:
            self._write_semicolons()
        self._write_name(self.rrname, name_at)
        self.type.number(self._u16(at))
        self.ttl.number(self._u16(at + 4) << 16 | self._u16(at + 6))
        reason = self._write_rdata(self._u16(at), data_at, data_end)
        if reason == 0 and self._text_bytes() > self.most_text:
            reason = _SIZE
        if reason:
            self.rrname.cut(names)
            self.type.cut(kinds)
            self.ttl.cut(ttls)
            self.rdata.cut(rdata)
        return reason

    def _write_semicolons(self) -> int:
        self.rrname.byte(_SEMICOLON)
        self.type.byte(_SEMICOLON)
        self.ttl.byte(_SEMICOLON)
        return self.rdata.byte(_SEMICOLON)

    def _text_bytes(self) -> int:
        answers = self.rrname.used + self.type.used + self.ttl.used + self.rdata.used
        return self.qname.used + answers

    def _write_rdata(self, kind: int, at: int, end: int) -> int:
        """Write a record's data; what is between a name in it and its end is passed by."""
        if kind == _A and end - at == 4:
            return self.rdata.ipv4(self.data, at)
        if kind == _AAAA and end - at == 16:
            return self.rdata.ipv6(self.data, at)
        if kind > 255 or _HOLDS_NAME[kind] == 0 or at == end:
            return self.rdata.hex(self.data, at, end)
        reason = self._check_name(at)
        if reason:
            return reason
        return _RDATA if self.next > end else self._write_name(self.rdata, at)

    # -- names -------------------------------------------------------------------------------------

    def _check_name(self, at: int) -> int:
        """Set ``next`` to where the name at ``at`` ends there; return what is wrong with it."""
        place = at
        after = -1  # not known before the first pointer or the root
        count = 0  # of the labels and pointers on the way
        size = 1  # of the root
        while after < 0 or not self._is_known(place):
            if place >= self.end:
                return _TRUNCATED
            length = self.data[place]
            if length == 0:
                self._remember(place, size, place)
                after = place + 1 if after < 0 else after
                break
            if count == _MOST_NAME_BYTES:
                return _NAME
            self.trail[count] = place
            count += 1
            if length <= _LONGEST_LABEL:
                place += 1 + length
                continue
            if length < _POINTER:
                return _LABEL
            if place + 1 >= self.end:
                return _TRUNCATED
            after = place + 2 if after < 0 else after
            if self._target(place) >= place:
                return _BACKWARD
            place = self._target(place)
        self.next = after
        return self._measure_name(count, place)

    def _measure_name(self, count: int, last: int) -> int:
        """Note the size of the name that ``count`` places of ``trail`` and ``last`` make.

        Every end of it becomes known on the way. Returns what is wrong with it.
        """
        known = self._is_known(last)
        size = self.sizes[last - self.begin] if known else 1
        label = self.begin + self.labels[last - self.begin] if known else last
        for number in range(count):
            place = self.trail[count - 1 - number]
            length = self.data[place]
            if length <= _LONGEST_LABEL:
                size += 1 + length
                label = place
            if size > _MOST_NAME_BYTES:
                return _NAME
            self._remember(place, size, label)
        return 0

    def _is_known(self, place: int) -> int:
        at = place - self.begin
        return at < self.reach and self.known_in[at] == self.message

    def _remember(self, place: int, size: int, label: int) -> int:
        at = place - self.begin
        if at < self.reach:
            self.known_in[at] = self.message
            self.sizes[at] = size
            self.labels[at] = label - self.begin
        return 0

    def _target(self, place: int) -> int:
        """Return where the pointer at ``place`` leads."""
        return self.begin + (self._u16(place) & (_REACH - 1))

    def _write_name(self, text: Text, at: int) -> int:
        """Write the name at ``at``, which was checked, with a dot between its labels."""
        place = self._label_at(at)
        if self.data[place] == 0:
            return text.byte(_DOT)
        while True:
            self._write_label(text, place)
            place = self._label_at(place + 1 + self.data[place])
            if self.data[place] == 0:
                return 0
            text.byte(_DOT)

    def _label_at(self, place: int) -> int:
        """Return the label, or root, at ``place`` or where the pointers from it lead."""
        if self.data[place] < _POINTER:
            return place
        if not self._is_known(place):  # beyond the reach of pointers, but not this one's target
            place = self._target(place)
        return self.begin + self.labels[place - self.begin]

    def _write_label(self, text: Text, at: int) -> int:
        for place in range(at + 1, at + 1 + self.data[at]):
            value = self.data[place]
            if _PLAIN[value]:
                text.byte(value)
            else:
                text.byte(_BACKSLASH)
                text.byte(_ZERO + value // 100)
                text.byte(_ZERO + value // 10 % 10)
                text.byte(_ZERO + value % 10)
        return 0

    def _u16(self, at: int) -> int:
        return self.data[at] << 8 | self.data[at + 1]


def _most_text(size: int) -> int:
    """Return most bytes of all texts that a message of ``size`` bytes may have."""
    return min(_MOST_TEXT, _FREE_TEXT + _TEXT_PER_BYTE * size)


def most_written(size: int) -> int:
    """Return most bytes of any text while it is read: those, and a record that is then cut off."""
    return _most_text(size) + _RECORD_TEXT + 2 * min(size, _MOST_RDATA_BYTES)


def read_column(
    reader: Reader,
    begins: memoryview,
    ends: memoryview,
    questions: memoryview,
    answers: memoryview,
    offsets: memoryview,
    reasons: memoryview,
    row: int,
) -> int:
    """Read the messages of all rows from ``row`` on; return the row before which texts are full.

    ``begins`` is -1 where a row has none. ``questions`` and ``answers`` get a place where a message
    has a question (its type and class) or answers, ``reasons`` the number of what is wrong with it.
    A row of ``offsets`` is an Arrow offsets buffer of a text.
    """
    with nogil:
        while row < len(begins):
            if begins[row] >= 0:
                if not reader.has_room(ends[row] - begins[row]):
                    break
                reasons[row] = reader.read(begins[row], ends[row])
                questions[row] = reader.question_at
                answers[row] = begins[row] if reader.answers > 0 else -1
            row += 1
            offsets[0, row] = reader.qname.used
            offsets[1, row] = reader.rrname.used
            offsets[2, row] = reader.type.used
            offsets[3, row] = reader.ttl.used
            offsets[4, row] = reader.rdata.used
    return row
