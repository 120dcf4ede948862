"""Turns what people liked into token sequences, and the sequences into batches for training.

A person is read as ``<bos>``, the tokens of their profile, then the tokens of their positive items from oldest to
newest. A long history is cut into windows; each begins as a prompt does, with the prefix, so that training and
ranking meet the same positions. Batches are a function of the seed and the epoch alone: a resumed run makes the same.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from rag_rec.errors import InvalidInput
from rag_rec.evaluation.held_out import is_held_out

Tokens = npt.NDArray[np.int64]

NO_TARGET: Final = -100
"""Marks positions whose next token is not learned; what PyTorch's cross-entropy leaves out by default."""

LEAST_POSITIVES: Final = 5
"""People with fewer positives are not asked: what is left would say too little of them."""

ASKED: Final = 2500
"""People to ask where there are so many. The gain of one person in NDCG@10 has a standard deviation of about .14 on
ML-1M: so many people show a mean gain of .008, which is 5 % there, four times out of five."""

MOST_LOST: Final = 0.1
"""Of all choices, the largest share that may be kept from the training."""

BATCHES_TOGETHER: Final = 16
"""Windows are sorted by length within so many batches at a time: little padding, and still a random order."""


@dataclass(frozen=True, slots=True)
class TokenSequence:
    """One person: the ``prefix`` int64 [p] (``<bos>`` and profile), then the items' tokens, oldest first, int64 [n]."""

    prefix: Tokens
    items: Tokens


@dataclass(frozen=True, slots=True)
class Batch:
    """``tokens`` int64 [b, l], padded on the right, and ``targets`` int64 [b, l]: the token to come, or NO_TARGET.

    ``part`` is that of the people, where they are split into parts.
    """

    tokens: Tokens
    targets: Tokens
    part: int = 0


@dataclass(frozen=True, slots=True)
class Windows:
    """Cuts sequences into windows of at most ``context`` items, anew in every epoch, and packs them into batches.

    Attributes:
        sequences: the people.
        context: most items in a window.
        size: windows in a batch.
        padding: the token that fills up short rows.
        seed: of the cuts and of the order.
        part: which part of the people they are, where they are split into parts.
    """

    sequences: Sequence[TokenSequence]
    context: int
    size: int
    padding: int
    seed: int
    part: int = 0

    def batches(self, epoch: int) -> list[Batch]:
        """The batches of an epoch; every item of every sequence is the target of exactly one position."""
        draws = np.random.default_rng([self.seed, epoch])
        windows = [window for sequence in self.sequences for window in self._cut(sequence, draws)]
        windows = [windows[place] for place in draws.permutation(len(windows))]
        batches = [self._pack(group) for group in _by_length(windows, self.size)]
        return [batches[place] for place in draws.permutation(len(batches))]

    def _cut(self, sequence: TokenSequence, draws: np.random.Generator) -> Iterator[_Window]:
        count = len(sequence.items)
        first = count if count <= self.context else int(draws.integers(1, self.context + 1))
        edges = [0, *range(first, count, self.context), count]
        for start, stop in itertools.pairwise(edges):
            if stop > start:
                yield _window(sequence, start, stop)

    def _pack(self, windows: Sequence[_Window]) -> Batch:
        length = max(len(window.tokens) for window in windows) - 1
        tokens = np.full((len(windows), length), self.padding, dtype=np.int64)
        targets = np.full((len(windows), length), NO_TARGET, dtype=np.int64)
        for row, window in enumerate(windows):
            read = len(window.tokens) - 1
            tokens[row, :read] = window.tokens[:-1]
            targets[row, window.learned - 1 : read] = window.tokens[window.learned :]
        return Batch(tokens, targets, self.part)


@dataclass(frozen=True, slots=True)
class _Window:
    """A piece of a sequence; its tokens from position ``learned`` on are targets."""

    tokens: Tokens
    learned: int


def share_to_ask(lengths: Collection[int]) -> float:
    """The share of the people to hold out so that a gate can tell a gain from noise.

    The smallest of 1, 1/2, 1/4, ... under which at least :data:`ASKED` people can be asked, or 1 where there are not so
    many; halved further while it would keep more than :data:`MOST_LOST` of all choices from the training. Steps of two,
    so that one person more or less hardly ever changes it: an adapter trained without a person equals that of a system
    which never knew them.

    Args:
        lengths: how many positives each person has.
    """
    able = sum(length >= LEAST_POSITIVES for length in lengths)
    people, positives = sum(length > 1 for length in lengths), sum(lengths)
    share = 1.0
    while able * share >= 2 * ASKED or people * share > max(1.0, MOST_LOST * positives):
        share /= 2
    return share


def hold_out(
    histories: Iterable[tuple[str, Tokens]], share: float, seed: int
) -> tuple[list[tuple[str, Tokens]], dict[str, int]]:
    """Take the newest item from a sample of the users, so that something is left to validate on.

    Args:
        histories: user ids and their positive items int64 [n], oldest first.
        share: of the users; 1 takes from everybody. A history of one item is left whole.
        seed: of the sample.

    Returns:
        The histories to learn from, and the item taken from each user of the sample.

    Raises:
        InvalidInput: the share is not within 0 and 1.
    """
    if not 0.0 <= share <= 1.0:
        raise InvalidInput(f"The share of people to hold out is {share}; it must lie between 0 and 1.")
    kept: list[tuple[str, Tokens]] = []
    held: dict[str, int] = {}
    for user, items in histories:
        taken = len(items) > 1 and is_held_out(user, share, seed)
        if taken:
            held[user] = int(items[-1])
        kept.append((user, items[:-1] if taken else items))
    return kept, held


def _window(sequence: TokenSequence, start: int, stop: int) -> _Window:
    """Items ``start`` to ``stop``. The item before them is read but not learned: it was learned in its own window."""
    before = sequence.items[max(0, start - 1) : start]
    tokens = np.concatenate([sequence.prefix, before, sequence.items[start:stop]])
    return _Window(tokens, len(sequence.prefix) + len(before))


def _by_length(windows: Sequence[_Window], size: int) -> Iterator[list[_Window]]:
    """Groups of ``size`` windows of about equal length."""
    for start in range(0, len(windows), size * BATCHES_TOGETHER):
        alike = sorted(windows[start : start + size * BATCHES_TOGETHER], key=lambda window: len(window.tokens))
        for place in range(0, len(alike), size):
            yield alike[place : place + size]
