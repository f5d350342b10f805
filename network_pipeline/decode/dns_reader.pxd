cimport cython
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t

from network_pipeline.decode.written cimport Text

cdef int _HEADER_BYTES, _QUESTION_BYTES, _RECORD_BYTES
cdef int _MOST_NAME_BYTES, _MOST_TEXT, _FREE_TEXT, _TEXT_PER_BYTE, _RECORD_TEXT
cdef int _MOST_RDATA_BYTES
cdef int _POINTER, _LONGEST_LABEL, _REACH, _A, _AAAA
cdef const uint8_t[::1] _HOLDS_NAME, _PLAIN
cdef uint8_t _ZERO, _DOT, _SEMICOLON, _BACKSLASH
cdef int _TRUNCATED, _NAME, _LABEL, _BACKWARD, _RDATA, _SIZE

@cython.final
cdef class Reader:
    cdef const uint8_t[::1] data
    cdef readonly Text qname, rrname, type, ttl, rdata
    cdef int64_t begin, end, next
    cdef int message, reach
    cdef int64_t most_text
    cdef readonly int64_t question_at
    cdef readonly int answers
    cdef int32_t[::1] known_in, sizes, labels, trail

    cpdef int has_room(self, int64_t size) except -1 nogil
    cpdef int read(self, int64_t begin, int64_t end) except -1 nogil
    cdef int _read_questions(self, int count) except -1 nogil
    cdef int _read_answers(self, int count) except -1 nogil
    cdef int _read_answer(self) except -1 nogil
    @cython.locals(names=int64_t, kinds=int64_t, ttls=int64_t, rdata=int64_t)
    cdef int _write_answer(
        self, int64_t name_at, int64_t at, int64_t data_at, int64_t data_end
    ) except -1 nogil
    cdef int _write_semicolons(self) except -1 nogil
    @cython.locals(answers=int64_t)
    cdef int64_t _text_bytes(self) except -1 nogil
    cdef int _write_rdata(self, int kind, int64_t at, int64_t end) except -1 nogil
    @cython.locals(after=int64_t, size=int, count=int, length=int)
    cdef int _check_name(self, int64_t at) except -1 nogil
    @cython.locals(known=int, size=int, label=int64_t, length=int)
    cdef int _measure_name(self, int count, int64_t last) except -1 nogil
    cdef int _is_known(self, int64_t place) except -1 nogil
    cdef int _remember(self, int64_t place, int size, int64_t label) except -1 nogil
    cdef int64_t _target(self, int64_t place) except -1 nogil
    cdef int _write_name(self, Text text, int64_t at) except -1 nogil
    cdef int64_t _label_at(self, int64_t place) except -1 nogil
    cdef int _write_label(self, Text text, int64_t at) except -1 nogil
    cdef int _u16(self, int64_t at) except -1 nogil

cdef int64_t _most_text(int64_t size) except -1 nogil
cpdef int64_t most_written(int64_t size) except -1 nogil
cpdef int64_t read_column(
    Reader reader,
    const int32_t[::1] begins,
    const int32_t[::1] ends,
    int32_t[::1] questions,
    int32_t[::1] answers,
    int32_t[:, ::1] offsets,
    uint8_t[::1] reasons,
    int64_t row,
) except -1
