from __future__ import annotations

from enum import StrEnum

import pytest

from rag_rec.commands.printing import Answer, in_words, said

ID = "0123456789abcdef" * 2


class Colour(StrEnum):
    RED = "red"


@pytest.fixture(autouse=True)
def _eighty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def plain(text: str) -> str:
    return text.replace("\x1b[1m", "").replace("\x1b[0m", "")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "-"),
        (True, "yes"),
        (False, "no"),
        (7, "7"),
        (0.1 + 0.2, "0.3"),
        (Colour.RED, "red"),
        ({"users": 1, "interactions": 6}, "users 1, interactions 6"),
        ({}, "none"),
        (("a", None), "a, -"),
        ([], "none"),
        ("[bold]", "[bold]"),
    ],
)
def test_a_value_is_said_without_a_trace_of_python(value: object, words: str) -> None:
    assert said(value) == words
    assert plain(in_words({"value": value})).splitlines()[0].startswith("value:")


def test_a_series_stands_one_below_the_other() -> None:
    printed = plain(in_words({"held": (), "one": [ID], "two": (ID, ID), "enum": [Colour.RED]}))
    assert printed == f"held: none\none: {ID}\ntwo:\n  {ID}\n  {ID}\nenum: red\n"


def test_rows_that_fit_are_a_table_without_empty_columns() -> None:
    rows = [{"request": ID, "batch": None, "state": "complete"}, {"request": ID, "batch": None, "state": "hidden"}]
    assert plain(in_words({"requests": rows})) == (
        f"requests:\n  request                           state\n  {ID}  complete\n  {ID}  hidden\n"
    )


def test_rows_that_do_not_fit_are_blocks_in_which_nothing_is_cut() -> None:
    rows = [{"request": ID, "plan": ID * 2, "adapter": None, "state": state} for state in ("complete", "hidden")]
    assert plain(in_words({"requests": rows})) == (
        f"requests:\n  request: {ID}\n  plan: {ID * 2}\n  state: complete\n\n"
        f"  request: {ID}\n  plan: {ID * 2}\n  state: hidden\n"
    )


def test_an_answer_has_words_of_its_own() -> None:
    answer = Answer({"since": 5}, {"since": "then"})
    assert answer == {"since": 5}
    assert plain(in_words(answer)) == "since: then\n"
