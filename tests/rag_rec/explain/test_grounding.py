from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_rec.explain.grounding import LONGEST_SENTENCE, Grounding, numbers_in


def checked(text: str, given: int = 2, cut: int = 3) -> tuple[str, set[int], int]:
    grounding = Grounding(given)
    pieces = [text[start : start + cut] for start in range(0, len(text), cut)]
    return "".join(grounding.check(pieces)), grounding.cited, grounding.removed


@pytest.mark.parametrize(
    ("sentence", "numbers"),
    [
        ("You liked Heat [1].", {1}),
        ("Both [1, 2] and [ 4 ].", {1, 2, 4}),
        ("All [1-3], or [5–6].", {1, 2, 3, 5, 6}),
        ("See [Fact 2] and [fact #3].", {2, 3}),
        ("As Evidence 7 shows, and facts 8.", {7, 8}),
        ("Cut off [9", {9}),
        ("The Number 23 (1995) and Apollo 13 [sic].", set()),
        ("", set()),
    ],
)
def test_numbers_that_a_sentence_names(sentence: str, numbers: set[int]) -> None:
    assert numbers_in(sentence) == numbers


@pytest.mark.parametrize("cut", [1, 2, 5, 1000])
@pytest.mark.parametrize(
    ("text", "left", "cited", "removed"),
    [
        ("You liked Heat [1]. It is tense [2].", "You liked Heat [1]. It is tense [2].", {1, 2}, 0),
        ("You liked Heat [1]. You loved Ran [3]. Good!", "You liked Heat [1]. Good!", {1}, 1),
        ("You liked Heat. [1] And Ran. [3] Good!", "You liked Heat. [1] Good!", {1}, 1),
        ("Heat【1】。Ran【9】。", "Heat[1]。", {1}, 1),
        ("First [1]\nsecond [0]\nthird", "First [1]\nthird", {1}, 1),
        ("It is like fact 12. You will like it.", "You will like it.", set(), 1),
        ("See http://evil.example now. Heat [1].", "Heat [1].", {1}, 1),
        ("Write to me@evil.example. Go to evil.com! Heat [1].", "Heat [1].", {1}, 2),
        ("<think>Let me see [9]. Hm.</think>\n\nHeat [1].", "Heat [1].", {1}, 0),
        ("<think>never ends [9].", "", set(), 0),
        ("<three words> [1].", "<three words> [1].", {1}, 0),
        ("<thi", "<thi", set(), 0),
        ("zero\u200bwidth\u202e [1].", "zerowidth [1].", {1}, 0),
        ("Heat [1]. Ran [\n3]. And", "Heat [1]. And", {1}, 2),
        ("  ", "", set(), 0),
        ("", "", set(), 0),
    ],
)
def test_only_grounded_sentences_leave(text: str, left: str, cited: set[int], removed: int, cut: int) -> None:
    assert checked(text, 2, cut) == (left, cited, removed)


def test_a_sentence_leaves_as_soon_as_it_is_complete() -> None:
    read: list[str] = []

    def pieces() -> Iterator[str]:
        for piece in ("You liked", " Heat [1]. ", "It", " is tense [2].", " End."):
            read.append(piece)
            yield piece

    sentences = Grounding(2).check(pieces())
    assert next(sentences) == "You liked Heat [1]. "
    assert read[-1] == "It"
    assert "".join(sentences) == "It is tense [2]. End."


def test_a_sentence_without_an_end_is_cut() -> None:
    text, _, removed = checked("word " * 1000, cut=7)
    assert text == "word " * 1000
    grounding = Grounding(1)
    assert len(next(grounding.check(["x" * 10_000]))) == LONGEST_SENTENCE
    assert removed == 0


words = st.sampled_from(
    [
        "Heat",
        " ",
        ". ",
        "! ",
        "[1]",
        "[2]",
        "[3]",
        "[",
        "]",
        "[1, 3]",
        "fact 4",
        "\n",
        "www.",
        "<think>",
        "</think>",
        "。",
    ]
)


@given(st.lists(words, max_size=12), st.integers(1, 9))
def test_what_leaves_names_only_what_was_given_however_it_is_cut(parts: list[str], cut: int) -> None:
    text = "".join(parts)
    left, cited, _ = checked(text, 2, cut)
    assert cited <= {1, 2}
    assert numbers_in(left) <= {1, 2}
    assert "www." not in left
