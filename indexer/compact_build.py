"""Builds the compact generator from the store and the current index, and puts it to use.

The base is made from the catalogue, and taken over where the catalogue is as it was. The adapter is trained on what
people liked, always from the start: an adapter never descends from another, so no forgotten person lives on
in one. A build that is interrupted goes on after the last epoch that it finished, unless a person was forgotten
meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout

from indexer.trainer import Trainer
from rag_rec.adapters.folder import AdapterStore
from rag_rec.adapters.published import CompactFolder
from rag_rec.adapters.publishing import Holder, Publisher
from rag_rec.artifacts.private import FILE_MODE, make_private_folder
from rag_rec.compact.adapter import parameters
from rag_rec.compact.base import Base, BaseSettings, build_base
from rag_rec.compact.extend import extend_base
from rag_rec.compact.people import People
from rag_rec.compact.training import AdapterSettings
from rag_rec.compact.vocabulary import Vocabulary
from rag_rec.domain import Item
from rag_rec.engine.tending import occupied
from rag_rec.errors import Busy, CorruptIndex, InvalidInput, NotReady
from rag_rec.index.generation import Generations
from rag_rec.progress.protocol import Percent, Progress
from rag_rec.recommend.gate import discard_gates
from rag_rec.settings import Settings
from rag_rec.store.protocol import Store
from rag_rec.vectors.flat import FlatIndex
from rag_rec.vectors.protocol import Embedder, Vectors


@dataclass(frozen=True, slots=True)
class CompactSettings:
    """How to build a base and an adapter; ``device`` is PyTorch's name of where to train."""

    base: BaseSettings = field(default_factory=BaseSettings)
    adapter: AdapterSettings = field(default_factory=AdapterSettings)
    device: str = "cpu"


@dataclass(frozen=True, slots=True)
class Compact:
    """A base and the adapter trained on it, as published."""

    base: CompactFolder
    adapter: CompactFolder


@dataclass(frozen=True, slots=True)
class Items:
    """The catalogue of the current index: items by number, and their text vectors float32 [n, d]."""

    items: Sequence[Item]
    vectors: Vectors
    embedding: str


@dataclass(frozen=True, slots=True)
class CompactBuilder:
    """Builds the compact generator of one store."""

    store: Store
    generations: Generations
    settings: Settings
    embedder: Embedder
    progress: Progress
    how: CompactSettings = field(default_factory=CompactSettings)

    @property
    def compact(self) -> AdapterStore:
        """Where it is published."""
        return AdapterStore(self.settings.compact)

    def build(self, *, fresh: bool = False) -> Compact:
        """Build a base if need be, train an adapter, publish both and put them to use.

        Args:
            fresh: build a new base even if the catalogue is as it was.

        Raises:
            NotReady: there is no index yet, or it was built with another embedding model.
            InvalidInput: nobody has liked anything yet, or the settings do not fit.
            Busy: another build is running, or a person was forgotten during this one; run it again.
        """
        with alone(self.compact), occupied(self.settings, self.store) as place:
            self.progress.stage("read items and people", 0)
            items = self._items()
            people = People.read(self.store, self.settings.positive_rule, len(items.items))
            people = people.apart(self.how.adapter.reserve, self.how.adapter.seed)
            if not people.positives:
                raise InvalidInput("Nobody has liked anything yet: ingest interactions first (`rag-rec ingest`).")
            base = self._base(items, people, fresh=fresh)
            publisher = self.publisher(place)
            adapter = self.adapter(base, people, publisher)
            publisher.put_to_use(base.digest, adapter, self.seen(people))
        return Compact(base, adapter)

    def publisher(self, place: Holder) -> Publisher:
        """Publishes into the folder, which is a place of the store."""
        return Publisher(self.compact, self.store, place, partial(discard_gates, self.settings.gates))

    def _items(self) -> Items:
        generation = self.generations.current()
        if generation.manifest.embedding != self.embedder.digest:
            raise NotReady("The index was built with another embedding model: run `rag-rec index build` first.")
        index = FlatIndex.load(generation.folder / "items" / "index")
        numbers = index.numbers()
        items = list(islice(self.store.items(), len(numbers)))
        return Items(items, index.vectors(numbers), generation.manifest.embedding)

    def _base(self, items: Items, people: People, *, fresh: bool) -> CompactFolder:
        wanted = Vocabulary.of(items.items, people.users.values())
        settings = {**asdict(self.how.base), "embedding": items.embedding}
        earlier = None if fresh else self._fitting(wanted, items.vectors, settings)
        if earlier is None:
            return self._new_base(items, wanted, people.epoch, settings)
        known = len(Vocabulary.load(earlier.folder).items)
        if known == len(wanted.items):
            return earlier
        return extend_base(
            self.compact, earlier.digest, wanted.items[known:], items.vectors[known:], epoch=people.epoch
        )

    def _fitting(self, wanted: Vocabulary, vectors: Vectors, settings: Mapping[str, Any]) -> CompactFolder | None:
        """The newest base that was made with these settings from these items, or from the first of them."""
        for digest in reversed(self.compact.base_digests()):
            try:
                base = self.compact.open_base(digest)
            except CorruptIndex:
                continue
            if base.manifest.settings == settings and _fits(Base.load(base.folder), wanted, vectors):
                return base
        return None

    def _new_base(self, items: Items, wanted: Vocabulary, epoch: int, settings: Mapping[str, Any]) -> CompactFolder:
        self.progress.stage("base", 100)
        told = Percent(self.progress)
        base = build_base(
            items.items,
            items.vectors,
            wanted,
            self.embedder,
            self.how.base,
            lambda done, steps, _: told.share(done / steps),
            self.how.device,
        )
        return self.compact.publish_base(base.write, epoch=epoch, settings=settings, counts=base.counts())

    def adapter(
        self, base: CompactFolder, people: People, publisher: Publisher, items: int | None = None
    ) -> CompactFolder:
        """Train an adapter and publish it; it is not put to use by that.

        Args:
            base: what it is trained on.
            people: who is learned from, at least one, and the reserve.
            publisher: of the folder.
            items: how many items the training knows; None for all of the base.

        Raises:
            InvalidInput: the settings do not fit, or make the training diverge.
            Busy: a person was forgotten meanwhile; run it again.
        """
        settings, held_out = self.how.adapter, self.held_out(people)
        items = int(base.manifest.counts["items"]) if items is None else items
        earlier = self._in_use() if settings.shards > 1 else None
        trainer = Trainer(base, items, people, held_out, settings, self.how.device, publisher, self.progress, earlier)
        trained = trainer.train()
        counts = {"users": len(people.positives), "interactions": people.interactions}
        counts |= {"held_out": people.held_out(held_out, settings.seed)}
        chosen = {"held_out": held_out, "held_out_given": settings.held_out is not None}
        chosen |= {"newest": people.newest, "items": items}
        with publisher.writing(people.epoch):
            adapter = publisher.adapters.publish_adapter(
                lambda folder: trained.write(folder, base.digest),
                base=base.digest,
                epoch=people.epoch,
                settings={**settings.content(), **chosen, "rank": trained.rank, "loss": trained.loss},
                counts={**counts, "parameters": parameters(trained.deltas, trained.rank)},
            )
        trainer.clear()
        return adapter

    def seen(self, people: People) -> dict[int, int]:
        """Of how many interactions of each user the adapter of some people is made."""
        settings = self.how.adapter
        return people.lineage(self.held_out(people), settings.seed, reserve=settings.shards > 1)

    def held_out(self, people: People) -> float:
        """The share of the people whose newest item is left out."""
        given = self.how.adapter.held_out
        return people.share_to_ask if given is None else given

    def _in_use(self) -> CompactFolder | None:
        """The adapter in use, if it can be read: a build does not need it."""
        try:
            return self.compact.open_current()[1]
        except (NotReady, CorruptIndex):
            return None


@contextmanager
def alone(compact: AdapterStore, what: str = "build") -> Iterator[None]:
    """Make, mend or audit the compact generator of a folder. Raises ``Busy`` while another process does the same."""
    make_private_folder(compact.root)
    try:
        with FileLock(compact.root / f".{what}.lock", timeout=0, mode=FILE_MODE):
            yield
    except Timeout:
        raise Busy(f"Another {what} of the compact generator is running: wait until it has finished.") from None


def _fits(base: Base, wanted: Vocabulary, vectors: Vectors) -> bool:
    """Whether a base has the same attribute tokens, and knows the first of the wanted items by the same texts."""
    held = base.vocabulary
    known = len(held.items)
    attributes = (held.item_attributes, held.user_attributes)
    if attributes != (wanted.item_attributes, wanted.user_attributes) or held.items != wanted.items[:known]:
        return False
    if len(wanted.items) - known > held.spare:
        return False
    expected = base.projection.rows(vectors[:known])
    found = base.model.model.embed_tokens.weight[held.first_item : held.first_spare].detach().numpy()
    return bool(np.allclose(found, expected, atol=1e-5))


def choose_device(name: str) -> str:
    """PyTorch's name of the device: ``auto`` is a GPU where there is one.

    Raises:
        InvalidInput: there is no such device here.
    """
    present = torch.cuda.is_available()
    if name == "auto":
        return "cuda" if present else "cpu"
    if name == "cuda" and not present:
        raise InvalidInput("There is no GPU that PyTorch can use: leave out --device or give --device cpu.")
    return name
