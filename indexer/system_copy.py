"""A copy of a system in a folder of its own: the same data, keys and vectors, and nothing shared with it."""

from __future__ import annotations

import shutil
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from indexer.build import Builder
from rag_rec.candidates.reranker import Reranker
from rag_rec.copies.backup import write_backup
from rag_rec.engine.engine import Engine
from rag_rec.home.keys import open_pseudonyms, open_signer
from rag_rec.home.opening import store_of
from rag_rec.index.generation import Generation, Generations
from rag_rec.index.signed import generations_of
from rag_rec.progress.protocol import Progress
from rag_rec.settings import Settings
from rag_rec.store import SqlStore
from rag_rec.store.archive import opened
from rag_rec.vectors.protocol import Embedder


@dataclass(frozen=True, slots=True)
class SystemCopy:
    """A system that may be broken.

    Attributes:
        settings: of the copy: everything lies under its home, and no LLM is asked.
        embedder: the system's.
        progress: told of its builds.
        source: the system's index generation, whose vectors and reranker are taken over instead of being made anew.
    """

    settings: Settings
    embedder: Embedder
    progress: Progress
    source: Generation | None

    @classmethod
    def under(cls, folder: Path, settings: Settings, embedder: Embedder, progress: Progress) -> Self:
        """A copy without any data yet. The keys are the system's: it has to recognise the same people."""
        open_pseudonyms(settings), open_signer(settings)  # makes them, where the system has not needed them yet
        own = {"home": folder / "home", "store_url": None, "ledger_copy": None, "generator": "passthrough"}
        copied = settings.model_copy(update=own)
        if settings.keys.is_dir():
            shutil.copytree(settings.keys, copied.keys)
        generations = Generations(settings.generations)
        source = generations.current() if generations.current_id() else None
        return cls(copied, embedder, progress, source)

    def build(self) -> None:
        """Build an index of the copy's store."""
        reranker = Reranker.load(self.source.folder / "reader", self.source.fitted_in) if self.source else None
        generations = generations_of(self.settings)
        with self.store() as store:
            Builder(store, generations, self.settings, self.embedder, self.progress, reranker, self.source).build(
                fresh=False
            )

    def store(self) -> closing[SqlStore]:
        """The copy's store, for a ``with`` block."""
        return closing(store_of(self.settings))

    def engine(self) -> closing[Engine]:
        """The copy, running, for a ``with`` block."""
        return closing(Engine.open(self.settings, embedder=self.embedder))


def back_up(settings: Settings, target: Path) -> None:
    """Back up a system's store."""
    with opened(settings.database_url) as database:
        write_backup(target, database, open_pseudonyms(settings).key_id, open_signer(settings))
