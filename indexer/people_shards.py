"""Writes the personal part of a build, shard by shard; a shard that is there already is not written again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from indexer.reuse import OwnVectors, Reuse
from rag_rec.events.history import History, PositiveRule
from rag_rec.index.generation import Generations
from rag_rec.index.people import People
from rag_rec.index.shards import SHARDS, shard_of, shard_paths, write_shard
from rag_rec.store.protocol import Store
from rag_rec.store.records import ChangeKind
from rag_rec.vectors.flat import FlatIndex
from rag_rec.vectors.interactions import InteractionIndex
from rag_rec.vectors.protocol import Embedder

REMEMBERED_TEXTS = 20_000
"""Texts whose vectors are kept during a build."""


@dataclass(frozen=True, slots=True)
class PeopleWriter:
    """Makes profiles and interaction vectors from histories.

    Attributes:
        store: where the texts of interactions are read.
        generations: whose lock a removal takes too, so that it finds what was written before it.
        epoch: of the store when the histories were read.
        items: vectors of the items.
        embedder: embeds the interactions that have a text of their own.
        rule: which interactions make up a profile.
        reuse: whose vectors are taken over. An interaction's text never changes.
    """

    store: Store
    generations: Generations
    epoch: int
    items: FlatIndex
    embedder: Embedder
    rule: PositiveRule
    reuse: Reuse
    _met: dict[str, npt.NDArray[np.float32]] = field(default_factory=dict, repr=False)

    def write(self, folder: Path, histories: Mapping[int, History], advance: Callable[[int], None]) -> None:
        """Write all shards into a building folder. ``advance`` is called with the number of users done."""
        events = self.store.events()
        for shard, users in enumerate(_by_shard(histories)):
            if not all(path.is_file() for path in shard_paths(folder, shard)):
                self._write(folder, shard, self._people(shard, users, histories, events))
            advance(len(users))

    def _write(self, folder: Path, shard: int, people: People) -> None:
        """Write a shard without those with something forgotten meanwhile; the process that loads it replays them."""
        with self.generations.writing():
            for user in forgotten_since(self.store, self.epoch):
                people.remove(user)
            write_shard(folder, shard, people)

    def _people(
        self, shard: int, users: Sequence[int], histories: Mapping[int, History], events: Sequence[str]
    ) -> People:
        own = self._own_vectors(shard, users, histories)
        people = People(InteractionIndex(self.items), FlatIndex(self.items.dimension))
        for user in users:
            history = histories[user]
            numbers = history["interaction"][history["own_text"]].tolist()
            vectors = {number: own[number] for number in numbers if number in own}
            people.put(user, history, self.rule.mask(history, events), vectors)
        return people

    def _own_vectors(self, shard: int, users: Sequence[int], histories: Mapping[int, History]) -> OwnVectors:
        """Vectors of all interactions of a shard that have a text of their own, the new texts embedded together."""
        vectors = self.reuse.own_vectors(shard, self.items, {user: histories[user] for user in users})
        texts: dict[int, str] = {}
        for user in users:
            history = histories[user]
            own = history["interaction"][history["own_text"]].tolist()
            missing = [number for number in own if number not in vectors]
            if missing:
                texts |= {row.number: row.interaction.text or "" for row in self.store.interactions(user, missing)}
        embedded = self._embed(list(texts.values()))
        return vectors | dict(zip(texts, embedded, strict=True))

    def _embed(self, texts: Sequence[str]) -> list[npt.NDArray[np.float32]]:
        """Vectors of texts; a text that was met lately is not embedded again, since many people write the same."""
        new = [text for text in dict.fromkeys(texts) if text not in self._met]
        met = {text: self._met[text] for text in texts if text in self._met}
        met |= dict(zip(new, self.embedder.embed(new), strict=True))
        if len(self._met) + len(new) > REMEMBERED_TEXTS:
            self._met.clear()
        self._met.update({text: met[text] for text in new})
        return [met[text] for text in texts]


def forgotten_since(store: Store, epoch: int) -> dict[int, int]:
    """Users with something forgotten after an epoch, and the epoch of the latest such removal."""
    return {change.number: change.epoch for change in store.changes(epoch) if change.kind is ChangeKind.FORGET}


def _by_shard(histories: Mapping[int, History]) -> list[list[int]]:
    users: list[list[int]] = [[] for _ in range(SHARDS)]
    for user in histories:
        users[shard_of(user)].append(user)
    return users
