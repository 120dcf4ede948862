from __future__ import annotations

from pathlib import Path

import pytest

from tools.figures import MARKED, PAGES, RESULTS, _run, _table, page


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_page_shows_what_was_measured(path: Path) -> None:
    text = path.read_text()
    assert page(text) == text, "run `make figures`"


def test_every_result_is_shown() -> None:
    shown = {found[2] for path in PAGES for found in MARKED.finditer(path.read_text())}
    assert shown >= {path.stem for path in RESULTS.glob("*.json")}


def test_rows_that_share_their_columns_make_a_table() -> None:
    assert list(_table([{"name": "a", "ms": 1.5}, {"name": "b", "ms": 2.0}])) == [
        "| name | ms |",
        "|---|---|",
        "| a | 1.5 |",
        "| b | 2 |",
    ]


def test_rows_of_different_columns_are_listed() -> None:
    rows = [{"name": letter, **{f"{letter}{n}": n for n in range(3)}} for letter in "abcd"]
    assert list(_table(rows))[2] == "| a | a0 0; a1 1; a2 2 |"


def test_rows_of_an_earlier_run_say_which_one_it_was() -> None:
    last = {"commit": "b", "command": "now"}
    document = {**last, "runs": {"old": {"commit": "a", "command": "then"}, "new": last}}
    assert _run(document, "old") == ", by `then`, commit `a`"
    assert _run(document, "new") == ""
    assert _run(last, "any") == ""
