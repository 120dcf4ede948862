"""What would be costly is refused by a scan, and what a parser accepts within the bounds is never refused."""

from __future__ import annotations

import tracemalloc
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.errors import BodyTooLarge, MalformedRequest
from serving.structure import MAX_DEPTH, MAX_DIGITS, Bounds, check_structure

BOUNDS = Bounds(4 * 2**20, 1000)
SIZE = 4 * 2**20

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(
    ['"', "\\", '\\"', ",[{", "}]:"]
)
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(texts, inner, max_size=5),
    max_leaves=20,
)


def size_of(value: Any) -> int:
    """Brackets and commas, by walking."""
    if isinstance(value, list | dict):
        members = value.values() if isinstance(value, dict) else value
        return max(1, len(value)) + sum(map(size_of, members))
    return 0


@given(values)
def test_the_scan_counts_what_the_parser_finds(value: Any) -> None:
    text, size = orjson.dumps(value), size_of(value)
    check_structure(text, Bounds(SIZE, max(size, 1)))
    if size > 1:
        with pytest.raises(BodyTooLarge):
            check_structure(text, Bounds(SIZE, size - 1))


COSTLY = {
    "numbers": b"[" + b"1," * (SIZE // 2) + b"1]",
    "objects": b"[" + b"{}," * (SIZE // 3) + b"{}]",
    "texts": b'["' + b'","' * (SIZE // 3) + b'"]',
    "fields": b"{" + b'"a":1,' * (SIZE // 6) + b'"a":1}',
    "backslashes": b'["' + b'\\\\","' * (SIZE // 5) + b'"]',
    "digits": b"[" + b"1" * SIZE + b"]",
    "long numbers": b"[" + (b"1" * (MAX_DIGITS - 1) + b",") * (SIZE // MAX_DIGITS) + b"1]",
}


@pytest.mark.parametrize("body", COSTLY.values(), ids=COSTLY)
def test_a_costly_text_is_refused_in_little_memory(body: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(BodyTooLarge):
            check_structure(body, BOUNDS)
        assert tracemalloc.get_traced_memory()[1] < 4 * SIZE
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b"[{"])
def test_a_deep_text_is_refused(opening: bytes) -> None:
    with pytest.raises(MalformedRequest, match="levels"):
        check_structure(opening * (MAX_DEPTH + 1), BOUNDS)
    check_structure(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH, BOUNDS)


def test_numbers_may_have_as_many_digits_as_a_double() -> None:
    check_structure(b"[%d]" % 10**300, BOUNDS)
    with pytest.raises(BodyTooLarge, match="digits"):
        check_structure(b"[-1%s.5]" % (b"0" * MAX_DIGITS), BOUNDS)


def test_text_that_is_no_json_is_left_to_the_parser() -> None:
    for text in (b"", b'"', b"\\", b'["\\', b"}}}", b"x"):
        check_structure(text, BOUNDS)
