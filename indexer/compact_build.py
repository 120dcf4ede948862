"""Builds the compact generator from the store and the current index, and puts it to use.

The base is made from the catalogue, and taken over where the catalogue is as it was. The adapter is trained on what
people liked, always from the start: an adapter never descends from another, so no forgotten person lives on
in one. A build that is interrupted goes on after the last epoch that it finished, unless a person was forgotten
meanwhile.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import torch
from filelock import FileLock, Timeout
from torch import Tensor

from rag_rec.adapters.checkpoint import Checkpoint, Checkpoints
from rag_rec.adapters.folder import AdapterStore
from rag_rec.adapters.published import CompactFolder
from rag_rec.adapters.publishing import Holder, Publisher, forgotten_since
from rag_rec.artifacts.private import FILE_MODE, make_private_folder
from rag_rec.compact.adapter import Deltas, parameters, served, write_adapter
from rag_rec.compact.base import Base, BaseSettings, build_base
from rag_rec.compact.extend import extend_base
from rag_rec.compact.people import People
from rag_rec.compact.sequences import Windows
from rag_rec.compact.stop import require_whole_softmax, stop_of, write_stop
from rag_rec.compact.training import AdapterSettings, AdapterTraining
from rag_rec.compact.vocabulary import PAD, Vocabulary
from rag_rec.domain import Item
from rag_rec.engine.tending import occupied
from rag_rec.errors import Busy, CorruptIndex, InvalidInput, NotReady
from rag_rec.index.generation import Generations
from rag_rec.progress.protocol import Percent, Progress
from rag_rec.recommend.fusion import discard_gates
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
            adapter = self._adapter(base, people, publisher)
            seen = people.lineage(self._held_out(people), self.how.adapter.seed)
            publisher.put_to_use(base.digest, adapter, seen)
        return Compact(base, adapter)

    def publisher(self, place: Holder) -> Publisher:
        """Publishes into the folder, which is a place of the store."""
        return Publisher(self.compact, self.store, place, partial(discard_gates, self.settings.gates))

    def _held_out(self, people: People) -> float:
        """The share of the people whose newest item is left out."""
        given = self.how.adapter.held_out
        return people.share_to_ask if given is None else given

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

    def _adapter(self, base: CompactFolder, people: People, publisher: Publisher) -> CompactFolder:
        settings, held_out = self.how.adapter, self._held_out(people)
        checkpoints = Checkpoints(publisher.adapters.training, self._key(base, held_out))
        training, width = self._training(Base.load(base.folder), people)
        loss = self._train(training, people, checkpoints, publisher)
        rank = width if settings.rank is None else settings.rank
        deltas = training.deltas()
        stop = self._stop(base, served(deltas, rank), people) if settings.reserve else None
        asked = people.held_out(held_out, settings.seed)
        counts = {"users": len(people.positives), "interactions": people.interactions, "held_out": asked}
        chosen = {"held_out": held_out, "held_out_given": settings.held_out is not None}
        chosen |= {"newest": people.newest, "items": base.manifest.counts["items"]}
        with publisher.writing(people.epoch):
            adapter = publisher.adapters.publish_adapter(
                lambda folder: _write(folder, deltas, rank, base.digest, stop),
                base=base.digest,
                epoch=people.epoch,
                settings={**asdict(settings), **chosen, "rank": rank, "loss": loss},
                counts={**counts, "parameters": parameters(deltas, rank)},
            )
        checkpoints.clear()
        return adapter

    def _stop(self, base: CompactFolder, deltas: Deltas, people: People) -> dict[str, Tensor]:
        """What a removal by influence needs of this training."""
        self.progress.stage("what a removal needs", 0)
        model = Base.load(base.folder)
        sequences = people.sequences(model.vocabulary, self._held_out(people), self.how.adapter.seed)
        return stop_of(model, deltas, sequences, model.vocabulary.first_spare, self.how.adapter)

    def _training(self, base: Base, people: People) -> tuple[AdapterTraining, int]:
        settings, vocabulary = self.how.adapter, base.vocabulary
        if settings.reserve:
            require_whole_softmax(vocabulary.first_spare, settings)
        sequences = people.sequences(vocabulary, self._held_out(people), settings.seed)
        room = int(base.model.config.max_position_embeddings)
        longest = max(len(sequence.prefix) for sequence in sequences) + 1
        if settings.context + longest > room:
            raise InvalidInput(
                f"A context of {settings.context} items does not fit into {room} tokens: at most {room - longest} do."
            )
        windows = Windows(sequences, settings.context, settings.batch, PAD, settings.seed)
        device = torch.device(self.how.device)
        training = AdapterTraining(base.model, windows, vocabulary.first_spare, settings, device)
        return training, int(base.model.config.hidden_size)

    def _train(
        self, training: AdapterTraining, people: People, checkpoints: Checkpoints, publisher: Publisher
    ) -> float:
        epochs = self.how.adapter.epochs
        self._resume(training, checkpoints)
        self.progress.stage("adapter", 100)
        told = Percent(self.progress)
        while training.finished < epochs:
            training.epoch(partial(tell_epoch, told, training.finished, epochs))
            with publisher.writing(people.epoch):
                checkpoints.save(Checkpoint(training.state(), people.epoch))
        return training.loss

    def _resume(self, training: AdapterTraining, checkpoints: Checkpoints) -> None:
        """Go on from the last checkpoint; one of another training, or from before a removal, is destroyed."""
        found = checkpoints.load()
        if found is None or forgotten_since(self.store, found.epoch):
            checkpoints.clear()
        else:
            training.resume(found.state)

    def _key(self, base: CompactFolder, held_out: float) -> str:
        fields = [base.digest, asdict(self.how.adapter), held_out, self.how.device]
        return hashlib.sha256(orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)).hexdigest()


@contextmanager
def alone(compact: AdapterStore) -> Iterator[None]:
    """Make or mend the compact generator of a folder. Raises ``Busy`` while another process does."""
    make_private_folder(compact.root)
    try:
        with FileLock(compact.root / ".build.lock", timeout=0, mode=FILE_MODE):
            yield
    except Timeout:
        raise Busy("Another build of the compact generator is running: wait until it has finished.") from None


def _write(folder: Path, deltas: Deltas, rank: int, base: str, stop: Mapping[str, Tensor] | None) -> None:
    write_adapter(folder, deltas, rank, base)
    if stop is not None:
        write_stop(folder, stop)


def tell_epoch(told: Percent, finished: int, epochs: int, share: float) -> None:
    """Say how far a training has come, within the epoch that follows the finished ones."""
    told.share((finished + share) / epochs)


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
