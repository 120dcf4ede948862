"""Synthetic walks over the graph of similar items: what the base learns from. There is no person in them.

A walk begins at an item and goes on to items whose texts are near one of those that it has visited. Now and then it
names an attribute of where it is and goes on to any item that shares it, so that attribute tokens mean something.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from rag_rec.compact.attributes import ItemAttributes
from rag_rec.compact.vocabulary import BOS, Vocabulary
from rag_rec.vectors.protocol import Vectors

Tokens = npt.NDArray[np.int64]
NONE: Final = -1
CHUNK: Final = 512
"""Rows of the similarity matrix held at a time."""


@dataclass(frozen=True, slots=True)
class WalkSettings:
    """How walks are made.

    Attributes:
        per_item: walks that begin at each item, in every epoch.
        most: walks in an epoch; of a large catalogue they begin at a part of the items, another one in every epoch.
        length: tokens after ``<bos>``.
        neighbours: the nearest items that a walk may go on to.
        temperature: of the choice among them by cosine similarity; the lower, the nearer.
        attribute_share: how often an attribute is named.
        return_share: how often a walk goes on from an earlier item than the last: people have several interests.
    """

    per_item: int = 1
    most: int = 8000
    length: int = 32
    neighbours: int = 20
    temperature: float = 0.1
    attribute_share: float = 0.15
    return_share: float = 0.2


@dataclass(frozen=True, slots=True)
class SimilarItems:
    """The nearest items of each by text: ``places`` int64 [n, k], and the ``cumulative`` probability of each."""

    places: Tokens
    cumulative: npt.NDArray[np.float64]

    @classmethod
    def of(cls, vectors: Vectors, neighbours: int, temperature: float) -> Self:
        """The graph of text vectors float32 [n, d]; no item is its own neighbour unless it is the only one.

        It compares all pairs: seconds for ten thousand items, minutes for a hundred thousand.
        """
        count = min(neighbours, max(1, len(vectors) - 1))
        found = [_nearest(vectors, start, count) for start in range(0, len(vectors), CHUNK)]
        places = np.concatenate([places for places, _ in found])
        scores = np.concatenate([scores for _, scores in found]).astype(np.float64) / temperature
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        return cls(places, np.cumsum(weights / weights.sum(axis=1, keepdims=True), axis=1))

    def step(self, places: Tokens, draws: npt.NDArray[np.float64]) -> Tokens:
        """A neighbour of each of these items int64 [w], chosen by a number in [0, 1) each."""
        chosen = (self.cumulative[places] <= draws[:, None]).sum(axis=1)
        return np.asarray(self.places[places, np.minimum(chosen, self.places.shape[1] - 1)])


@dataclass(frozen=True, slots=True)
class Lists:
    """Lists of different lengths in one array: the members int64 [m] of row r are at ``offsets[r]:offsets[r + 1]``."""

    offsets: Tokens
    members: Tokens

    @classmethod
    def of(cls, rows: Tokens, members: Tokens, count: int) -> Self:
        """From pairs of row and member, for this many rows."""
        order = np.argsort(rows, kind="stable")
        lengths = np.bincount(rows, minlength=count)
        return cls(np.concatenate([[0], np.cumsum(lengths)]), members[order])

    def pick(self, rows: Tokens, draws: npt.NDArray[np.float64]) -> Tokens:
        """A member of each of these rows, chosen by a number in [0, 1) each; -1 where a row has none."""
        starts = self.offsets[rows]
        lengths = self.offsets[rows + 1] - starts
        if not len(self.members):
            return np.full(len(rows), NONE)
        places = np.minimum(starts + (draws * lengths).astype(np.int64), len(self.members) - 1)
        return np.where(lengths > 0, self.members[places], NONE)


@dataclass(frozen=True, slots=True)
class Walks:
    """Makes walks as token rows.

    Attributes:
        similar: the graph of items.
        named: attribute tokens by item.
        sharing: items by attribute token.
        first_item: token id of the first item.
        settings: how walks are made.
    """

    similar: SimilarItems
    named: Lists
    sharing: Lists
    first_item: int
    settings: WalkSettings

    @classmethod
    def over(cls, vectors: Vectors, attributes: ItemAttributes, vocabulary: Vocabulary, settings: WalkSettings) -> Self:
        """Walks over a catalogue by its text vectors float32 [n, d], in the order of the vocabulary's items."""
        return cls(
            SimilarItems.of(vectors, settings.neighbours, settings.temperature),
            Lists.of(attributes.items, attributes.tokens, len(vectors)),
            Lists.of(attributes.tokens, attributes.items, len(vocabulary)),
            vocabulary.first_item,
            settings,
        )

    @property
    def count(self) -> int:
        """How many walks are drawn at a time."""
        return min(self.settings.most, len(self.similar.places) * self.settings.per_item)

    def draw(self, draws: np.random.Generator) -> Tokens:
        """The walks of an epoch in random order, int64 [count, 1 + length]; the first column is ``<bos>``."""
        starts = np.tile(np.arange(len(self.similar.places)), self.settings.per_item)
        starts = draws.permutation(starts)[: self.count]
        visited: Tokens = np.repeat(starts[:, None], self.settings.length + 1, axis=1)
        tokens = np.full((len(starts), self.settings.length + 1), BOS, dtype=np.int64)
        named = np.full(len(starts), NONE)
        for column in range(1, self.settings.length + 1):
            arrived = self._arrive(visited[:, :column], named, draws)
            named = self._name(visited[:, column - 1], named, draws)
            tokens[:, column] = np.where(named >= 0, named, arrived + self.first_item)
            visited[:, column] = np.where(named >= 0, visited[:, column - 1], arrived)
        return tokens

    def _arrive(self, visited: Tokens, named: Tokens, draws: np.random.Generator) -> Tokens:
        """The item to go on to: one that shares the attribute just named, or a neighbour; rarely one visited before."""
        if visited.shape[1] == 1:
            return visited[:, 0]
        arrived = self._propose(visited, named, draws)
        again = (visited == arrived[:, None]).any(axis=1)
        return np.where(again, self._propose(visited, named, draws), arrived)

    def _propose(self, visited: Tokens, named: Tokens, draws: np.random.Generator) -> Tokens:
        count, length = len(visited), visited.shape[1]
        returns = draws.random(count) < self.settings.return_share
        origins = np.where(returns, draws.integers(0, length, count), length - 1)
        near = self.similar.step(visited[np.arange(count), origins], draws.random(count))
        return np.where(named >= 0, self.sharing.pick(np.maximum(named, 0), draws.random(count)), near)

    def _name(self, places: Tokens, named: Tokens, draws: np.random.Generator) -> Tokens:
        """The attribute of these items to name next, -1 for none; never two in a row."""
        count = len(places)
        picked = self.named.pick(places, draws.random(count))
        return np.where((draws.random(count) < self.settings.attribute_share) & (named < 0), picked, NONE)


def _nearest(vectors: Vectors, start: int, count: int) -> tuple[Tokens, npt.NDArray[np.float32]]:
    """The ``count`` nearest of the items from ``start`` on, int64 [rows, count], nearest first, and their cosines."""
    rows = np.arange(start, min(start + CHUNK, len(vectors)))
    scores = vectors[rows] @ vectors.T
    if len(vectors) > 1:
        scores[np.arange(len(rows)), rows] = -np.inf
    places = np.argpartition(-scores, count - 1, axis=1)[:, :count]
    found = np.take_along_axis(scores, places, axis=1)
    order = np.lexsort((places, -found), axis=1)
    return np.take_along_axis(places, order, axis=1), np.take_along_axis(found, order, axis=1)
