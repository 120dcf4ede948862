from __future__ import annotations

import math

import numpy as np
import pytest

from rag_rec.catalogue.columns import AttributeTable, CodeColumn, Kind, NumberColumn, Vector, kind_of
from rag_rec.errors import InvalidInput


def test_a_vector_grows_and_pads_with_missing() -> None:
    vector = Vector(np.int32, -1)
    vector[40] = 7
    assert vector[40] == 7
    assert vector[3] == vector[10_000] == -1
    assert vector.first(42).tolist() == [-1] * 40 + [7, -1]
    assert vector.first(1000).shape == (1000,)
    assert vector.first(2).tolist() == [-1, -1]
    vector.clear(40)
    vector.clear(99_999)
    assert vector[40] == -1


def test_numbers_keep_their_type_where_they_can() -> None:
    column = NumberColumn()
    for row, value in enumerate([3, -2.5, 2**53, 1e300]):
        column.set(row, value)
    assert [column.get(row) for row in range(5)] == [3, -2.5, 2**53, 1e300, None]
    assert [type(column.get(row)) for row in range(4)] == [int, float, int, float]


def test_a_missing_number_stands_in_no_relation() -> None:
    column = NumberColumn()
    column.set(1, 5)
    for operation in ("=", "!=", "<", "<=", ">", ">="):
        assert not column.compare(operation, 5.0, 3)[[0, 2]].any()
    assert column.compare("!=", 4.0, 3).tolist() == [False, True, False]
    assert column.present(3).tolist() == [False, True, False]


def test_codes_are_shared_by_equal_values() -> None:
    column = CodeColumn()
    for row in range(1000):
        column.set(row, ("Comedy", "Drama") if row % 2 else ("Drama",))
    assert column.compare("=", "Comedy", 1000).tolist() == [False, True] * 500
    assert column.compare("!=", "Comedy", 1001).tolist() == [True, False] * 500 + [False]
    assert column.compare("contains", "Drama", 2).tolist() == [True, True]


@pytest.mark.parametrize(
    ("value", "kind"),
    [("x", Kind.STRING), (3, Kind.NUMBER), (0.5, Kind.NUMBER), (True, Kind.BOOLEAN), ((), Kind.LIST)],
)
def test_each_value_has_a_kind(value: str | float | bool | tuple[str, ...], kind: Kind) -> None:
    assert kind_of(value) is kind


@pytest.mark.parametrize("value", [math.nan, math.inf, 10**400, ("a", 1), None, ["a"], {"a": 1}])
def test_other_values_are_refused(value: object) -> None:
    with pytest.raises(InvalidInput, match="string, a finite number"):
        kind_of(value)  # type: ignore[arg-type]


def test_a_row_is_replaced_as_a_whole_or_not_at_all() -> None:
    table = AttributeTable()
    table.put(0, {"year": 1990, "genres": ("Drama",), "new": True})
    with pytest.raises(InvalidInput):
        table.put(0, {"year": 2000, "score": math.nan})
    assert table.row(0) == {"year": 1990, "genres": ("Drama",), "new": True}
    assert table.fields() == ["genres", "new", "year"]
    table.put(0, {"year": "unknown"})
    assert table.row(0) == {"year": "unknown"}
    assert set(table.kinds("year")) == {Kind.NUMBER, Kind.STRING}
