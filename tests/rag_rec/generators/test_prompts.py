from __future__ import annotations

from pathlib import Path

import pytest

from rag_rec.domain import Attributes, Item, User
from rag_rec.generators.cleaning import Cleaner
from rag_rec.generators.prompts import LABELS, RANKING, Entry, Question, Sizes, Wording, words_of
from rag_rec.generators.protocol import EvidenceLine
from tests.rag_rec.generators.prompting import ITEMS

GOLDEN = Path(__file__).parent / "golden"


def by_words(text: str, most: int) -> str:
    return " ".join(text.split()[:most])


WORDING = Wording(Cleaner(), by_words)
SHORT = Wording(Cleaner(), by_words, Sizes(title=2, details=2, comment=2, event=1, profile=3))


def text_of(question: Question) -> str:
    return "".join(f"=== {message.type}\n{message.content}\n" for message in question.messages())


@pytest.mark.parametrize(
    ("item", "text"),
    [
        (ITEMS["1"], "Toy Story (1995) | Animation, Comedy"),
        (ITEMS["3"], "Sabrina | Romance"),
        (ITEMS["4"], "A film without a title. Drama, family. An old sailor comes home."),
        (ITEMS["5"], "千と千尋の神隠し (2001)"),
        (ITEMS["6"], "Kettle | Kitchen"),
        (ITEMS["7"], "untitled"),
        (Item("8", "text", {"title": 1984, "genres": ("", "\u200b", "War")}), "1984 | War"),
        (Item("9", "text", {"title": "Up", "year": True, "genre": False}), "Up (yes) | no"),
    ],
)
def test_an_item_in_words(item: Item, text: str) -> None:
    assert WORDING.item(words_of(item)) == text


def test_every_part_is_capped() -> None:
    item = Item("1", "x", {"title": "One two three", "year": 1999, "genres": ("a b", "c d")})
    line = EvidenceLine("1", "long event", 0, 3.5, "much was written")
    assert SHORT.item(words_of(item)) == "One two (1999) | a b,"
    assert SHORT.item(words_of(item), 2) == "One two"
    assert SHORT.entry(line, "One") == Entry("long 3.5", "One", "much was")
    assert SHORT.profile(User("u", {"job": "film writer", "age": 30})) == "User: job: film writer;\n"
    assert len(words_of(Item("1", "y" * 20_000)).title) < 1000


def test_a_profile_in_words() -> None:
    attributes: Attributes = {"age": 25, "height": 1.8, "member": True, "likes": ("jazz", "tea"), "\u200b": "\u202e"}
    assert WORDING.profile(User("u", attributes)) == "User: age: 25; height: 1.8; member: yes; likes: jazz, tea; :\n"
    assert WORDING.profile(User("u")) == ""
    chosen = Wording(Cleaner(), by_words, shown=["member", "absent"])
    assert chosen.profile(User("u", attributes)) == "User: member: yes\n"
    assert Wording(Cleaner(), by_words, shown=[]).profile(User("u", attributes)) == ""


def test_an_entry_in_words() -> None:
    assert WORDING.entry(EvidenceLine("1", "rating", 0, 4.0), "Heat") == Entry("rating 4", "Heat")
    assert WORDING.entry(EvidenceLine("1", "view", 0), "Heat") == Entry("view", "Heat")
    assert WORDING.entry(EvidenceLine("1", "\u200b", 0), "Heat") == Entry("event", "Heat")
    commented = WORDING.entry(EvidenceLine("1", "like", 0, None, "so\nB. good"), "Heat")
    assert (commented.head, commented.tail) == ("- like:", "Comment: so B. good\n")


@pytest.mark.parametrize("name", ["full", "stranger"])
def test_the_exact_prompt(name: str) -> None:
    entries = [
        Entry("rating 4", "Toy Story (1995) | Animation, Comedy"),
        Entry("view", "Sabrina | Romance", "a bit long"),
    ]
    questions = {
        "full": Question("User: age: 25; gender: F\n", entries, ["Heat (1995) | Action, Crime", "Kettle | Kitchen"]),
        "stranger": Question("", [], ["Heat (1995) | Action, Crime"]),
    }
    assert text_of(questions[name]) == (GOLDEN / f"{name}.txt").read_text()


def test_the_template_has_no_words_of_one_request() -> None:
    assert set(RANKING.input_variables) == {"profile", "history", "recent", "candidates"}
    assert len(set(LABELS)) == 52


def test_braces_in_titles_are_words() -> None:
    question = Question("", [Entry("view", "{recent}")], ["{candidates} {0}"])
    assert "A. {candidates} {0}\n" in text_of(question)
    assert "- view: {recent}\nMost recent: {recent}\n" in text_of(question)
