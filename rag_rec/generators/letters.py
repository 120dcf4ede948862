"""Letters as labels: a prompt for instruction-tuned LLMs in which every candidate has a letter of its own.

One forward pass gives the log-probability of every letter as the reply's first token, and with it the ranking (Yue et
al., "LlamaRec", arXiv 2311.02089; Reddy et al., "FIRST", arXiv 2406.15657).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from string import Formatter
from typing import Final, NamedTuple, Self

from rag_rec.errors import InvalidInput
from rag_rec.generators.chat_tokens import ChatFrame, ChatTokenizer, Tokens
from rag_rec.generators.cleaning import Cleaner
from rag_rec.generators.prompts import (
    LABELS,
    NO_HISTORY,
    QUESTION,
    RECENT,
    SYSTEM,
    Entry,
    ItemWords,
    Question,
    Sizes,
    Wording,
    words_of,
)
from rag_rec.generators.protocol import Encoded, EvidenceCost, EvidenceLine, Prompt

TOKEN_BUDGET = 2000
"""Tokens of a prompt; together with the answer it fits a server started with ``--max-model-len 2048``."""

SQUEEZES = (None, 16, 8, 4)
"""Caps on the tokens of a line's item, tried one after another until all candidates fit."""

LEAST_LINE = 12
"""Tokens that a candidate's line needs at least: its letter, the tightest squeeze, the line's end."""

REMEMBERED_ITEMS = 20_000


class Line(NamedTuple):
    """An item's text and its token ids where it ends a line."""

    text: str
    tokens: Tokens


class HistoryLine(NamedTuple):
    """A line of the history: in words, the token ids of its item, and those of all of it."""

    entry: Entry
    item: Tokens
    tokens: Tokens


class Shown(NamedTuple):
    """What one prompt shows."""

    profile: Line
    history: list[HistoryLine]
    candidates: list[Line]


class LetterEncoder:
    """Implements :class:`rag_rec.generators.protocol.Encoder` with the letters A to Z and a to z.

    Prompts are put together line by line. What the lines of items cost is remembered by their text, which is not
    personal; everything else is tokenised anew for every prompt.

    Args:
        tokenizer: of the model that will answer.
        budget: most tokens of a prompt. Evidence is left out from the oldest on until the rest fits; candidates never
            are, their titles are shortened instead.
        sizes: caps on untrusted texts.
        shown: user attributes that a prompt may show; None is all of them.

    Raises:
        InvalidInput: a letter is not one token of its own as the reply's first token, or the budget is too small.
    """

    most_candidates: Final = len(LABELS)
    ordered: Final = True
    evidence_cost: Final[EvidenceCost | None] = None
    least_mass: Final = 0.5
    """Label mass below which an answer should not be relied on: the model would rather say something else."""

    def __init__(
        self,
        tokenizer: ChatTokenizer,
        budget: int = TOKEN_BUDGET,
        sizes: Sizes | None = None,
        shown: Sequence[str] | None = None,
    ) -> None:
        self._tokenizer = tokenizer
        self._frame = tokenizer.frame(SYSTEM)
        self.label_tokens = label_tokens(tokenizer, self._frame)
        self._wording = Wording(Cleaner(tokenizer.special), tokenizer.capped, sizes, shown)
        self._budget = budget
        self._literals = {text: self._line_start(text) for text in _literals()}
        self._marks = [self._line_start(f"{label}.") for label in LABELS]
        self._item = lru_cache(maxsize=REMEMBERED_ITEMS)(self._written)
        self._fixed = self._tokens_of_every_prompt()
        self._check_budget((sizes or Sizes()).profile)

    @classmethod
    def open(cls, name: str, budget: int = TOKEN_BUDGET) -> Self:
        """An encoder for a model, by its Hugging Face name or its folder. Raises ``NotReady`` and ``InvalidInput``."""
        return cls(ChatTokenizer.open(name), budget)

    @property
    def special_ids(self) -> frozenset[int]:
        """The tokenizer's special tokens: those that open and close the turns of a conversation, among others."""
        return frozenset(self._tokenizer.special_ids)

    def encode(self, prompt: Prompt, order: Sequence[int]) -> Encoded:
        """Write the prompt. See :meth:`rag_rec.generators.protocol.Encoder.encode`.

        Raises:
            InvalidInput: more candidates than letters, or an order that is no permutation of them.
        """
        self._check(prompt, order)
        labels: list[int | None] = [None] * len(order)
        for label, position in zip(self.label_tokens, order, strict=False):
            labels[position] = label
        fields = self._fields(self._select(prompt, order))
        parts = [self._frame.before]
        for literal, field, _, _ in Formatter().parse(QUESTION):
            parts += [self._literals[literal], *(fields[field] if field else ())]
        return Encoded(tuple(chain(*parts, self._frame.after)), tuple(labels), prompt.salt)

    def question(self, prompt: Prompt, order: Sequence[int]) -> Question:
        """What the prompt shows, in words. For people; :meth:`encode` writes the same as tokens."""
        shown = self._select(prompt, order)
        return Question(shown.profile.text, [e.entry for e in shown.history], [line.text for line in shown.candidates])

    def _fields(self, shown: Shown) -> dict[str, list[Tokens]]:
        """Token ids of the fields of the question."""
        marked = zip(self._marks, shown.candidates, strict=False)
        recent = [self._literals[RECENT], shown.history[-1].item] if shown.history else []
        return {
            "profile": [shown.profile.tokens],
            "history": [told.tokens for told in shown.history] or [self._literals[NO_HISTORY]],
            "recent": recent,
            "candidates": [part for mark, line in marked for part in (mark, line.tokens)],
        }

    def _select(self, prompt: Prompt, order: Sequence[int]) -> Shown:
        """What the budget lets the prompt show."""
        profile = self._wording.profile(prompt.user)
        tokens = self._line_start(profile)
        asked = [words_of(prompt.item(prompt.candidates[position].item_id)) for position in order]
        candidates, squeeze, room = self._candidates(asked, self._budget - self._fixed - len(tokens))
        return Shown(Line(profile, tokens), self._history(prompt, squeeze, room), candidates)

    def _candidates(self, asked: Sequence[ItemWords], room: int) -> tuple[list[Line], int | None, int]:
        """Lines of all candidates, how much they had to be squeezed, and the room that is left."""
        for squeeze in SQUEEZES:
            lines = [self._item(words, squeeze) for words in asked]
            spent = sum(len(mark) + len(line.tokens) for mark, line in zip(self._marks, lines, strict=False))
            if spent <= room:
                break
        return lines, squeeze, room - spent

    def _history(self, prompt: Prompt, squeeze: int | None, room: int) -> list[HistoryLine]:
        """The latest lines of the history for which there is room, oldest first."""
        found: list[HistoryLine] = []
        for line in reversed(prompt.evidence):
            told = self._told(line, self._item(words_of(prompt.item(line.item_id)), squeeze))
            room -= len(told.tokens) + (0 if found else len(self._literals[RECENT]) + len(told.item))
            if room < 0:
                break
            found.append(told)
        return found[::-1]

    def _told(self, line: EvidenceLine, item: Line) -> HistoryLine:
        entry = self._wording.entry(line, item.text)
        return HistoryLine(
            entry, item.tokens, self._line_start(entry.head) + item.tokens + self._line_start(entry.tail)
        )

    def _written(self, words: ItemWords, squeeze: int | None) -> Line:
        """An item as the end of a line. No special token can be in it, whatever its text."""
        text = self._wording.item(words, squeeze)
        return Line(text, self._harmless(self._tokenizer.after("A.", f" {text}\n")))

    def _line_start(self, text: str) -> Tokens:
        """Token ids of a text at the beginning of a line."""
        return self._harmless(self._tokenizer.after("\n", text)) if text else ()

    def _harmless(self, tokens: Tokens) -> Tokens:
        """Some tokenizers have special tokens among the words as well: none may come out of a text."""
        special = self._tokenizer.special_ids
        return tokens if special.isdisjoint(tokens) else tuple(token for token in tokens if token not in special)

    def _check(self, prompt: Prompt, order: Sequence[int]) -> None:
        if len(order) > self.most_candidates:
            raise InvalidInput(f"There are {len(order)} candidates, but only {self.most_candidates} letters: ask less.")
        if sorted(order) != list(range(len(prompt.candidates))):
            raise InvalidInput("The order must name the position of every candidate once.")

    def _tokens_of_every_prompt(self) -> int:
        always = [text for text, *_ in Formatter().parse(QUESTION)] + [NO_HISTORY]
        return len(self._frame.before) + len(self._frame.after) + sum(len(self._literals[text]) for text in always)

    def _check_budget(self, profile: int) -> None:
        least = self._fixed + profile + LEAST_LINE * len(LABELS)
        if self._budget < least:
            raise InvalidInput(
                f"A prompt of {self._budget} tokens cannot hold {len(LABELS)} candidates: allow at least {least}."
            )


def label_tokens(tokenizer: ChatTokenizer, frame: ChatFrame) -> Tokens:
    """The token by which a reply says each of :data:`LABELS`, in their order.

    A reply begins right after the frame, or with a space where the template leaves that to the model.

    Raises:
        InvalidInput: some letter is not one token, not a token of its own, or not apart from the prompt.
    """
    leads = ("", " ") if frame.after_text[-1:].isspace() or frame.after[-1] in tokenizer.special_ids else (" ", "")
    for lead in leads:
        replies = [tokenizer.reply(frame, lead + label) for label in LABELS]
        tokens = tuple(reply[0] for reply in replies if reply and len(reply) == 1)
        if len(set(tokens)) == len(LABELS) and tokenizer.special_ids.isdisjoint(tokens):
            return tokens
    raise InvalidInput(
        "The tokenizer does not spell the letters A-Z and a-z as one token each at the beginning of a reply, so they "
        "cannot stand for candidates: choose another instruction-tuned model, or the compact generator."
    )


def _literals() -> list[str]:
    """The fixed texts of the question."""
    return [text for text, *_ in Formatter().parse(QUESTION)] + [NO_HISTORY, RECENT]
