from __future__ import annotations

from tools.figures import MARKED, PAGE, RESULTS, page


def test_the_page_shows_what_was_measured() -> None:
    text = PAGE.read_text()
    assert page(text) == text, "run `make figures`"


def test_every_result_is_shown() -> None:
    shown = {found[2] for found in MARKED.finditer(PAGE.read_text())}
    assert shown >= {path.stem for path in RESULTS.glob("*.json")}
