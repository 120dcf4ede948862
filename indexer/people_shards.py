"""Writes the personal part of a build, shard by shard; a shard that is there already is not written again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rag_rec.generation import Generation
from rag_rec.history import History, PositiveRule
from rag_rec.people import People
from rag_rec.store.protocol import Store
from rag_rec.vectors.flat import FlatIndex
from rag_rec.vectors.interactions import InteractionIndex
from rag_rec.vectors.protocol import Embedder
from rag_rec.vectors.shards import SHARDS, read_shard, shard_of, shard_paths, write_shard

OwnVectors = dict[int, npt.NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class PeopleWriter:
    """Makes profiles and interaction vectors from histories.

    Attributes:
        store: where the texts of interactions are read.
        items: vectors of the items.
        embedder: embeds the interactions that have a text of their own.
        rule: which interactions make up a profile.
        earlier: a generation whose vectors are taken over, if any. An interaction's text never changes.
    """

    store: Store
    items: FlatIndex
    embedder: Embedder
    rule: PositiveRule
    earlier: Generation | None

    def write(self, folder: Path, histories: Mapping[int, History], advance: Callable[[int], None]) -> None:
        """Write all shards into a building folder. ``advance`` is called with the number of users done."""
        events = self.store.events()
        for shard, users in enumerate(_by_shard(histories)):
            if not all(path.is_file() for path in shard_paths(folder, shard)):
                write_shard(folder, shard, self._people(shard, users, histories, events))
            advance(len(users))

    def _people(
        self, shard: int, users: Iterable[int], histories: Mapping[int, History], events: Sequence[str]
    ) -> People:
        known = self._known(shard)
        people = People(InteractionIndex(self.items), FlatIndex(self.items.dimension))
        for user in users:
            history = histories[user]
            people.put(user, history, self.rule.mask(history, events), self._own(user, history, known))
        return people

    def _known(self, shard: int) -> OwnVectors:
        if self.earlier is None:
            return {}
        people = read_shard(self.earlier.folder, shard, self.items)
        return {number: vector for user, _ in people.histories() for number, vector in people.own_vectors(user).items()}

    def _own(self, user: int, history: History, known: OwnVectors) -> OwnVectors:
        wanted = [int(number) for number in history["interaction"][history["own_text"]]]
        missing = [number for number in wanted if number not in known]
        vectors = {number: known[number] for number in wanted if number in known}
        if missing:
            stored = self.store.interactions(user, missing)
            embedded = self.embedder.embed([row.interaction.text or "" for row in stored])
            vectors |= {row.number: vector for row, vector in zip(stored, embedded, strict=True)}
        return vectors


def _by_shard(histories: Mapping[int, History]) -> list[list[int]]:
    users: list[list[int]] = [[] for _ in range(SHARDS)]
    for user in histories:
        users[shard_of(user)].append(user)
    return users
