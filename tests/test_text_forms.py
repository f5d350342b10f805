"""Texts as they lie in columns are held to what JSON texts are held to, one by one."""

from __future__ import annotations

import re
from types import ModuleType
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from network_pipeline import arrow_arrays, text_forms
from network_pipeline.message import TEXT_PATTERNS
from tests.decode import interpreted

_FORMS = {
    "mac": text_forms.MAC,
    "ipv4": text_forms.IPV4,
    "ipv6": text_forms.IPV6,
    "string": text_forms.LINE,
}
_MODULES = (text_forms, interpreted.module(text_forms))

#: Texts that fit, nearly fit, and others.
_TEXTS = st.one_of(
    st.from_regex(TEXT_PATTERNS["mac"], fullmatch=True),
    st.from_regex(TEXT_PATTERNS["ipv4"], fullmatch=True),
    st.from_regex(TEXT_PATTERNS["ipv6"], fullmatch=True),
    st.text("0123456789abcdef.:g", max_size=47),
    st.text(st.sampled_from("a\x1f\x7f\x80\x9f\xa0\xc2\u2027\u2028\u2029\u202a\u3028\U00010028")),
    st.text(max_size=5),
)


def fits(module: ModuleType, form: int, column: pa.Array[Any]) -> bool:
    return bool(
        module.all_fit(
            form,
            arrow_arrays.bitmap(column).data,
            column.offset,
            arrow_arrays.ends(column).data,
            arrow_arrays.octets(column).data,
        )
    )


@given(st.lists(st.none() | _TEXTS, min_size=1, max_size=12), st.integers(0, 11))
@example(["01:02:03:04:05:0a", "01-02-03-04-05-0a"], 0)
@example([*["1.2.3.4"] * 10, "1.2.3.4.5"], 9)
@example(["1234.1.1.1"], 0)
@example(["1..1.1"], 0)
@example(["1.1.1."], 0)
@example([""], 0)
@example(["\xa0", "\x85"], 0)
@example(["a\u2028b"], 0)
def test_a_column_fits_where_all_its_texts_do(texts: list[str | None], begin: int) -> None:
    column = pa.array(texts, pa.string()).slice(min(begin, len(texts) - 1))
    for kind, form in _FORMS.items():
        matches = re.compile(TEXT_PATTERNS[kind]).fullmatch
        fit = all(text is None or matches(text) for text in column.to_pylist())
        assert [fits(module, form, column) for module in _MODULES] == [fit, fit]


@pytest.mark.parametrize("module", _MODULES)
def test_what_has_no_value_is_not_looked_at(module: ModuleType) -> None:
    column = pa.array(["1.2.3.4", "\n", "1.2.3.4"])
    bits = pa.py_buffer(b"\x05")
    hidden = pa.Array.from_buffers(pa.string(), 3, [bits, *column.buffers()[1:]])
    assert [fits(module, text_forms.IPV4, each) for each in (column, hidden)] == [False, True]
