from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_rec.forgetting.ledger import canonical
from rag_rec.layers.finding import LayerName

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text("abc"), inner))


@given(VALUES)
def test_whatever_was_written_can_be_read_and_written_again(value: object) -> None:
    text = canonical.dumps(value)
    assert canonical.dumps(canonical.loads(text)) == text


def test_names_are_sorted_and_nothing_is_superfluous() -> None:
    assert canonical.dumps({"b": (1, 2.0), "a": {"d": 1e-7, "c": LayerName.STORE}}) == (
        '{"a":{"c":"store","d":1e-7},"b":[1,2]}'
    )


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, 2**53, -(2**53), 1e300])
def test_a_number_that_json_cannot_carry_stands_as_text(number: float) -> None:
    assert canonical.loads(canonical.dumps({"figures": [number]})) == {"figures": [str(number)]}


def test_the_largest_exact_number_stands_as_a_number() -> None:
    assert canonical.dumps([canonical.LARGEST, -canonical.LARGEST]) == "[9007199254740991,-9007199254740991]"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "nonsense",
        '{"a": 1}',
        '{"a":1}\n',
        '{"b":1,"a":2}',
        '{"a":1,"a":1}',
        "[1.0]",
        "[9007199254740993]",
        "[NaN]",
        '"\\u00e9"',
        "\ud800",
        "[" * 600 + "]" * 600,
        "[" * 100_000,
    ],
)
def test_what_is_not_canonical_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # the reasons are the parsers' own
        canonical.loads(text)


def test_what_is_not_json_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="unsupported type"):
        canonical.dumps({"a": object()})
