"""Holds free text to its evidence: a sentence leaves only if everything that it cites was given.

The text comes from an LLM, piece by piece, and may say anything. It is let through sentence by sentence. A sentence
that names evidence that does not exist, or an address on the net, is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from rag_rec.generators.cleaning import visible

LONGEST_SENTENCE = 600
"""A sentence longer than this is taken to end here, in characters."""

_BRACKETS = str.maketrans("【】［］", "[][]")
_END = re.compile(r"""(?:[.!?…]+["'”’)]*(?:\s*\[[^\[\]]{0,40}\])*[.!?]*\s+|[。！？]\s*|\n+)(?=[^\s\[])""")
_BRACKETED = re.compile(r"\[([^\[\]]*)(?:\]|$)")
_NAMED = re.compile(r"\b(?:evidence|facts?|reasons?|sources?)\s*#?(\d+)", re.I)
_RANGE = re.compile(r"(\d{1,3})\s*[-–—]\s*(\d{1,3})")
_ADDRESS = re.compile(r"://|www\.|\b[\w.+-]+@[\w-]+\.\w|\b[\w-]+\.(?:com|net|org|io|ru|cn|info|biz)\b", re.I)
_THINK = "<think>"
_THOUGHT = re.compile(r"\s*<think>.*?</think>\s*", re.S)


@dataclass(slots=True)
class Grounding:
    """Lets the sentences of one text through. ``given`` is how many pieces of evidence there are, numbered from 1.

    ``cited`` collects the numbers that the text cites; ``removed`` counts the sentences left out.
    """

    given: int
    cited: set[int] = field(default_factory=set)
    removed: int = 0

    def check(self, pieces: Iterable[str]) -> Iterator[str]:
        """The sentences that may leave, each with the white space after it, as soon as each is complete."""
        waiting = ""
        for piece in _spoken(pieces):
            waiting += visible(piece.translate(_BRACKETS), keep_lines=True)
            *complete, waiting = _split(waiting)
            yield from self._passed(complete)
        yield from self._passed([waiting])

    def _passed(self, sentences: Iterable[str]) -> Iterator[str]:
        for sentence in sentences:
            if not self._may_leave(sentence):
                self.removed += 1
            elif sentence.strip():
                self.cited |= numbers_in(sentence)
                yield sentence

    def _may_leave(self, sentence: str) -> bool:
        whole = sentence.count("[") == sentence.count("]")  # half a citation could be completed by what follows
        return whole and numbers_in(sentence) <= set(range(1, self.given + 1)) and not _ADDRESS.search(sentence)


def numbers_in(sentence: str) -> set[int]:
    """Numbers of evidence that a sentence names: ``[1]``, ``[1, 3]``, ``[2-4]``, ``[Fact 2]``, ``fact 2``."""
    found = {int(number) for number in _NAMED.findall(sentence)}
    for inside in _BRACKETED.findall(sentence):
        for first, last in _RANGE.findall(inside):
            found |= set(range(int(first), int(last) + 1))
        found |= {int(number) for number in re.findall(r"\d+", inside)}
    return found


def _spoken(pieces: Iterable[str]) -> Iterator[str]:
    """Without what the model thinks aloud at the beginning."""
    head, undecided = "", True
    for piece in pieces:
        if not undecided:
            yield piece
            continue
        head += piece
        undecided = _may_be_thought(head)
        if not undecided:
            yield _THOUGHT.sub("", head, count=1)
    if undecided and not head.lstrip().startswith(_THINK):
        yield head


def _may_be_thought(text: str) -> bool:
    """Whether a text that has just begun is a thought that has not ended, or may turn out to be one."""
    return _THINK.startswith(text.lstrip()[: len(_THINK)]) and "</think>" not in text


def _split(text: str) -> list[str]:
    """Complete sentences, and what is not complete yet."""
    parts, start = [], 0
    for end in _END.finditer(text):
        parts.append(text[start : end.end()])
        start = end.end()
    rest = text[start:]
    while len(rest) > LONGEST_SENTENCE:
        parts.append(rest[:LONGEST_SENTENCE])
        rest = rest[LONGEST_SENTENCE:]
    return [*parts, rest]
