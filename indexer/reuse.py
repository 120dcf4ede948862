"""What a build takes over from earlier generations instead of embedding it again.

An item's vector is known by the digest of its text and the digest of the embedding model. The vector of an
interaction's own text is personal: it is taken only from the shard of the generation in use that holds the same person,
and only where that person has the very same interaction. A file is read after its SHA-256 has been found to be the one
in the manifest; a generation that is damaged, newer than the store, or of another embedding model is not trusted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import structlog

from rag_rec.artifacts.digests import digest_if_there
from rag_rec.errors import CorruptIndex, InvalidInput
from rag_rec.events.history import History
from rag_rec.index.generation import Generation, Generations
from rag_rec.index.item_space import ItemTexts
from rag_rec.index.people import People
from rag_rec.index.shards import read_shard, shard_paths
from rag_rec.vectors.flat import FlatIndex

Known = dict[bytes, tuple[npt.NDArray[np.float32], int]]
"""Vector and token count by the digest of the text."""

OwnVectors = dict[int, npt.NDArray[np.float32]]
"""Vectors of interactions' own texts by the number of the interaction."""

ITEMS = "items/"

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Reuse:
    """Earlier generations that are trusted.

    Attributes:
        catalogue: whose item vectors are taken, the first that has one wins.
        people: whose own vectors are taken, if any: the generation in use.
    """

    catalogue: tuple[Generation, ...] = ()
    people: Generation | None = None

    @classmethod
    def of(cls, generations: Generations, embedding: str, epoch: int, source: Generation | None = None) -> Reuse:
        """What there is to take over for a build.

        Args:
            generations: of the system.
            embedding: digest of the embedding model.
            epoch: of the store; a generation from a later one is another store's.
            source: a generation to take from instead of the one in use.
        """
        current = source or _opened(generations, generations.current_id())
        others = [name for name in reversed(generations.names()) if current is None or name != current.id]
        opened = [current, *(_opened(generations, name) for name in others)]
        fitting = [each for each in opened if each is not None and _fits(each, embedding, epoch)]
        trusted = tuple(each for each in fitting if _is_whole(each))
        return cls(trusted, current if current is not None and current in fitting else None)

    def items(self) -> Known:
        """Item vectors by the digest of their text."""
        known: Known = {}
        for generation in reversed(self.catalogue):
            known |= _items_of(generation)
        return known

    def own_vectors(self, shard: int, items: FlatIndex, histories: Mapping[int, History]) -> OwnVectors:
        """Vectors of own texts by interaction number, of interactions that these people have still."""
        people = self._shard(shard, items)
        if people is None:
            return {}
        same = [_same(people, user, history) for user, history in histories.items()]
        return {number: vector for each in same for number, vector in each.items()}

    def _shard(self, shard: int, items: FlatIndex) -> People | None:
        if self.people is None:
            return None
        paths = shard_paths(self.people.folder, shard)
        if not all(_is_as_written(self.people, path) for path in paths):
            log.warning("reuse_refused", generation=self.people.id, reason="damaged", shard=shard)
            return None
        try:
            return read_shard(self.people.folder, shard, items)
        except CorruptIndex:  # refers to items that the store does not have
            log.warning("reuse_refused", generation=self.people.id, reason="foreign", shard=shard)
            return None


NOTHING = Reuse()


def _opened(generations: Generations, name: str | None) -> Generation | None:
    """A generation, its manifest read and the sizes of its files checked; None if it is damaged or gone."""
    try:
        return None if name is None else generations.open(name)
    except (CorruptIndex, InvalidInput):
        log.warning("reuse_refused", generation=name, reason="damaged")
        return None


def _fits(generation: Generation, embedding: str, epoch: int) -> bool:
    return generation.manifest.embedding == embedding and generation.manifest.epoch <= epoch


def _is_whole(generation: Generation) -> bool:
    """Whether the files of the items are those of the manifest."""
    names = [name for name in generation.manifest.files if name.startswith(ITEMS)]
    whole = all(_is_as_written(generation, generation.folder / name) for name in names)
    if not whole:
        log.warning("reuse_refused", generation=generation.id, reason="damaged")
    return whole


def _is_as_written(generation: Generation, path: Path) -> bool:
    expected = generation.manifest.files.get(path.relative_to(generation.folder).as_posix())
    return expected is not None and digest_if_there(path) == expected


def _items_of(generation: Generation) -> Known:
    folder = generation.folder / "items"
    try:
        index, texts = FlatIndex.load(folder / "index"), ItemTexts.load(folder)
        vectors = index.vectors(index.numbers())
        rows = zip(texts.digests, vectors, texts.tokens.tolist(), strict=True)
        return {digest.tobytes(): (vector, tokens) for digest, vector, tokens in rows}
    except (CorruptIndex, ValueError):  # as written, and written by something else
        log.warning("reuse_refused", generation=generation.id, reason="foreign")
        return {}


def _same(people: People, user: int, history: History) -> OwnVectors:
    """The person's vectors, of the rows that are the same in the file and in the store."""
    vectors = people.own_vectors(user)
    if not vectors:
        return {}
    written = {row["interaction"].item(): row.tobytes() for row in people.history(user)}
    present = {row["interaction"].item(): row.tobytes() for row in history}
    return {number: vectors[number] for number in vectors.keys() & present.keys() if present[number] == written[number]}
