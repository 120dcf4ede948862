from __future__ import annotations

import pytest

from rag_rec.errors import ConfirmationRequired, InvalidInput
from rag_rec.forgetting.request import ForgetRequest
from rag_rec.store.records import Selection


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


def test_whoever_is_named_again_is_found() -> None:
    assert ForgetRequest(("ada", "ben", "ada", "ada")).named_again() == [2, 3]
    assert ForgetRequest(("ada", "ben")).named_again() == []


@pytest.mark.parametrize(
    ("users", "confirm", "plan", "said"),
    [
        (("ada",), None, None, "and nothing is confirmed and no plan is quoted:"),
        (("ada",), "ada", None, "and no plan is quoted:"),
        (("ada",), None, "p", "and nothing is confirmed:"),
        (("ada",), "ben", "p", "and the confirmation does not repeat the user's id:"),
        (("ada",), "ben", None, "and the confirmation does not repeat the user's id and no plan is quoted:"),
        (("ada", "ben"), "ada", "p", "and the confirmation does not repeat the number of its users:"),
    ],
)
def test_what_is_lacking_of_a_confirmation_is_said(
    users: tuple[str, ...], confirm: str | None, plan: str | None, said: str
) -> None:
    with pytest.raises(ConfirmationRequired) as refused:
        ForgetRequest(users, confirm=confirm, plan=plan).check_confirmed()
    assert said in str(refused.value)
    assert "ada" not in str(refused.value)


@pytest.mark.parametrize(("confirm", "plan"), [("ada", None), (None, "p"), ("ada", "p")])
def test_a_dry_run_confirms_nothing(confirm: str | None, plan: str | None) -> None:
    ForgetRequest.of("ada").check_unconfirmed()
    with pytest.raises(InvalidInput, match="nothing to confirm"):
        ForgetRequest.of("ada", None, confirm, plan).check_unconfirmed()


@pytest.mark.parametrize("after", [5, 6])
def test_a_span_of_no_time_is_refused(after: int) -> None:
    ForgetRequest.of("ada", Selection(after=4, before=5)).check()
    with pytest.raises(InvalidInput, match="No time is both"):
        ForgetRequest.of("ada", Selection(after=after, before=5)).check()
