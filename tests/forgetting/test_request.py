from __future__ import annotations

import pytest

from rag_rec.errors import InvalidInput
from rag_rec.forgetting.request import ForgetRequest


@pytest.mark.parametrize(
    ("places", "lines", "words"),
    [
        ([1], (2, 5, 9), "Line 5 names"),
        ([0, 2], (2, 5, 9), "Lines 2 and 9 name"),
        ([0, 1, 2], (2, 5, 9), "Lines 2, 5 and 9 name"),
        ([1], None, "Position 1 of user_ids names"),
        ([0, 2], None, "Positions 0 and 2 of user_ids name"),
    ],
)
def test_places_are_named_by_line_or_by_position(places: list[int], lines: tuple[int, ...] | None, words: str) -> None:
    assert ForgetRequest(("a", "b", "c"), lines=lines).at(places, "name") == words


def test_many_places_are_counted() -> None:
    request = ForgetRequest(tuple(map(str, range(50))))
    assert request.at(range(50), "name").endswith(", 18, 19 and 30 more of user_ids name")


def test_whoever_is_named_again_is_told_by_line() -> None:
    with pytest.raises(
        InvalidInput, match=r"^Lines 4 and 6 name a user who is named before: name each once"
    ) as refused:
        ForgetRequest(("ada", "ben", "ada", "ada"), lines=(1, 2, 4, 6)).check()
    assert "ada" not in str(refused.value)
