"""The glossary: twenty words in order, each of which the other pages use."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
GLOSSARY = ROOT / "docs/glossary.md"
WORDS = re.findall(r"^- \*\*([a-z ]+)\*\*: ", GLOSSARY.read_text(), re.MULTILINE)
OTHERS = [page for page in (ROOT / "docs").glob("*.md") if page != GLOSSARY]


def test_there_are_twenty_words_in_order() -> None:
    assert len(WORDS) == GLOSSARY.read_text().count("\n- ") == 20
    assert sorted(WORDS) == WORDS


@pytest.mark.parametrize("word", WORDS)
def test_every_word_is_used_in_several_other_pages(word: str) -> None:
    pattern = re.compile(r"\b" + word.replace(" ", r"\s+") + r"s?\b", re.IGNORECASE)
    assert sum(bool(pattern.search(page.read_text())) for page in OTHERS) > 1, word


def test_the_readme_leads_to_the_glossary() -> None:
    assert "(docs/glossary.md)" in (ROOT / "README.md").read_text()
