"""Builds an index generation from the store, verifies it, and publishes it.

A build reads the store at one epoch and writes a folder that is not in use yet. Interrupted, the same build finds what
it has already written and goes on. Users who change meanwhile are replayed when the generation is loaded; users who
are forgotten meanwhile are taken out of the folder before it is published.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from indexer.item_vectors import build_items
from indexer.people_shards import PeopleWriter, forgotten_since
from indexer.reuse import NOTHING, Reuse
from indexer.verify import verify_content
from rag_rec.artifacts.destruction import destroy
from rag_rec.artifacts.digests import digest_files
from rag_rec.artifacts.immutable import BUILDING
from rag_rec.artifacts.private import make_private_folder
from rag_rec.candidates.reranker import Reranker
from rag_rec.engine.tending import occupied
from rag_rec.errors import InvalidInput, needs
from rag_rec.events.history import History
from rag_rec.events.rule import rules_document
from rag_rec.evidence.clusters import InterestClusters
from rag_rec.index.erasing import erase_from_files
from rag_rec.index.generation import Generation, Generations, Manifest, new_id, utc_now
from rag_rec.index.item_space import CLUSTERS
from rag_rec.index.signed import generations_of
from rag_rec.index.tally import Tally
from rag_rec.progress.protocol import SILENT, Percent, Progress
from rag_rec.settings import Settings
from rag_rec.store.protocol import Store
from rag_rec.vectors.embedding import open_embedder
from rag_rec.vectors.flat import FlatIndex
from rag_rec.vectors.protocol import Embedder

KEPT_GENERATIONS = 2
"""The current generation and the one before it, to go back to."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A build of the store at one epoch with given settings. ``fresh`` forbids taking over earlier vectors."""

    epoch: int
    embedding: str
    settings: Mapping[str, Any]
    fresh: bool

    @property
    def key(self) -> str:
        """Identifies the build: the same plan resumes the same folder."""
        content = orjson.dumps(
            [self.epoch, self.embedding, dict(self.settings), self.fresh], option=orjson.OPT_SORT_KEYS
        )
        return hashlib.sha256(content).hexdigest()[:16]


def make_plan(epoch: int, embedding: str, settings: Settings, *, fresh: bool) -> Plan:
    """The plan for building the store at this epoch."""
    relevant = {
        "events": rules_document(settings.event_rules),
        "interest_clusters": settings.interest_clusters,
        "dense_items_limit": settings.dense_items_limit,
        "seed": settings.seed,
    }
    return Plan(epoch, embedding, relevant, fresh)


def building_folder(generations: Generations, plan: Plan) -> Path:
    """The folder of this plan's build. Folders of other, abandoned builds are destroyed."""
    folder = generations.root / f"{BUILDING}{plan.epoch}-{plan.key}"
    with generations.writing():
        for other in generations.building():
            if other != folder:
                destroy(other)
        make_private_folder(folder)
    return folder


@dataclass(frozen=True, slots=True)
class Builder:
    """Builds generations of one store.

    ``reranker`` is taken over instead of being fitted, where one is given; so are vectors, from ``source`` instead of
    the current generation.
    """

    store: Store
    generations: Generations
    settings: Settings
    embedder: Embedder
    progress: Progress
    reranker: Reranker | None = None
    source: Generation | None = None

    def build(self, *, fresh: bool) -> Generation:
        """Build, verify and publish the store's present state.

        Args:
            fresh: embed every text again instead of taking over the vectors of texts that are known.

        Raises:
            InvalidInput: the catalogue is empty.
            ForeignFolder, CopiedFolder: see :class:`rag_rec.places.occupation.Occupation`.
        """
        with occupied(self.settings, self.store):
            return self._build(fresh=fresh)

    def _build(self, *, fresh: bool) -> Generation:
        self.progress.stage("read the store", 0)
        plan = make_plan(self.store.epoch(), self.embedder.digest, self.settings, fresh=fresh)
        texts = [item.text for item in self.store.items()]
        if not texts:
            raise InvalidInput("There are no items yet: ingest a catalogue first (`rag-rec ingest`).")
        reuse = NOTHING if fresh else self._reuse(plan.epoch)
        folder = building_folder(self.generations, plan)
        self.progress.stage("item vectors", len(texts))
        items = build_items(folder, texts, self.embedder, reuse.items(), self.progress.advance)
        self.progress.stage("clusters and histories", 0)
        self._clusters(folder, items)
        histories = dict(self.store.histories())
        self.progress.stage("people", len(histories))
        writer = PeopleWriter(
            self.store, self.generations, plan.epoch, items, self.embedder, self.settings.positive_rule, reuse
        )
        writer.write(folder, histories, self.progress.advance)
        self._reader(folder, histories, items)
        return self._publish(folder, plan, items, histories)

    def _reuse(self, epoch: int) -> Reuse:
        """The generations whose vectors can be taken over."""
        return Reuse.of(self.generations, self.embedder.digest, epoch, self.source)

    def _clusters(self, folder: Path, items: FlatIndex) -> None:
        vectors = items.vectors(items.numbers())
        InterestClusters.fit(vectors, self.settings.interest_clusters, self.settings.seed).save(
            folder / "items" / CLUSTERS
        )

    def _reader(self, folder: Path, histories: Mapping[int, History], items: FlatIndex) -> None:
        target = folder / "reader"
        if target.is_dir():
            return
        reranker = self._fit(histories, items) if self.reranker is None else self.reranker.taken_over()
        unfinished = folder / "reader-unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        make_private_folder(unfinished)
        reranker.save(unfinished)
        unfinished.rename(target)

    def _fit(self, histories: Mapping[int, History], items: FlatIndex) -> Reranker:
        with needs("llm"):
            from rag_rec.candidates.training import RerankerSettings, fit_reranker  # noqa: PLC0415 - imports torch

        rule, events = self.settings.positive_rule, self.store.events()
        positives = [(user, rule.positives(history, events)) for user, history in histories.items()]
        vectors = items.vectors(items.numbers())
        how = RerankerSettings(dense=len(vectors) <= self.settings.dense_items_limit, seed=self.settings.seed)
        self.progress.stage("reader", 100)
        told = Percent(self.progress)
        return fit_reranker(positives, vectors, len(vectors), how, told.share, self._user_id)

    def _user_id(self, number: int) -> str:
        """The caller's id of a user; of one who has just been removed, none that anybody has."""
        user = self.store.user_by_number(number)
        return "" if user is None else user.id

    def _publish(self, folder: Path, plan: Plan, items: FlatIndex, histories: Mapping[int, History]) -> Generation:
        self.progress.stage("verify and publish", 0)
        verify_content(folder, self.store, plan.epoch)
        with self.generations.writing():
            self._take_out_forgotten(plan.epoch)
            manifest = _manifest(folder, plan, items, histories)
            generation = self.generations.publish(folder, replace(manifest, reader_fitted=self.reranker is None))
            self.generations.prune(KEPT_GENERATIONS)
        return generation

    def _take_out_forgotten(self, since: int) -> None:
        """Remove users with something forgotten while the build was running, in case that removal was killed."""
        erase_from_files(self.generations, forgotten_since(self.store, since))


def build_index(store: Store, settings: Settings, progress: Progress = SILENT, *, fresh: bool = False) -> Generation:
    """Build an index generation of what is stored, with the embedding model of the settings, and publish it.

    Args:
        store: the system of record, open.
        settings: of the system.
        progress: told how far the build has come.
        fresh: embed every text again instead of taking over the vectors of texts that are known.

    Raises:
        InvalidInput: the catalogue is empty.
        NothingPositive: there are interactions, and none of them speaks for an item.
        ForeignFolder, CopiedFolder: see :class:`rag_rec.places.occupation.Occupation`.
    """
    Tally.of(store, settings.event_rules).check()
    embedder = open_embedder(settings.embedding_model, settings.embedding_threads)
    return Builder(store, generations_of(settings), settings, embedder, progress).build(fresh=fresh)


def _manifest(folder: Path, plan: Plan, items: FlatIndex, histories: Mapping[int, History]) -> Manifest:
    name = new_id(plan.epoch)
    return Manifest(
        id=name,
        lineage=name,
        created=utc_now(),
        epoch=plan.epoch,
        embedding=plan.embedding,
        settings=plan.settings,
        counts={
            "items": len(items),
            "users": len(histories),
            "interactions": sum(map(len, histories.values())),
        },
        files=digest_files(folder),
    )
