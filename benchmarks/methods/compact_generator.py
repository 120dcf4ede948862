"""The compact generator of a benchmark set: trained once with the product's own code, and kept under ``.bench``.

What is kept is found by the recipe and the histories. It is made again where the texts' vectors or the training code
are others now; a note of an earlier version does not tell, and is taken with a warning.
"""

from __future__ import annotations

import hashlib
import sys
import time
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import orjson

import rag_rec.compact
from benchmarks.data import Benchmark
from benchmarks.home import BENCH
from benchmarks.methods.compact_model import catalogue_base, train
from benchmarks.methods.ranking import Questions
from rag_rec.adapters.folder import AdapterStore
from rag_rec.adapters.published import CompactFolder
from rag_rec.compact.adapter import write_adapter
from rag_rec.compact.base import Base, BaseSettings
from rag_rec.compact.training import AdapterSettings
from rag_rec.compact.vocabulary import Vocabulary
from rag_rec.domain import Candidate, Item, User
from rag_rec.events.history import History
from rag_rec.generators.item_tokens import ItemTokenEncoder
from rag_rec.generators.language_model import LanguageModel, RankingOptions
from rag_rec.generators.local import LocalBackend
from rag_rec.generators.protocol import EvidenceLine, Prompt
from rag_rec.vectors.protocol import Vectors

COMPACT: Final = Path(rag_rec.compact.__file__).parent
TRAINERS: Final = ("adapter", "attributes", "base", "projection", "sequences", "training", "vocabulary", "walks")
"""The modules that decide what comes out of a training."""
ANY_MASS: Final = 1e-12
"""Every answer counts in a measurement of accuracy, whatever its label mass."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a set's generator is made. The test answers had no say in it."""

    base: BaseSettings = field(default_factory=BaseSettings)
    adapter: AdapterSettings = field(default_factory=AdapterSettings)


@dataclass(frozen=True, slots=True)
class Trained:
    """A base and its adapter on disk, and the seconds that each took."""

    base: CompactFolder
    adapter: CompactFolder
    seconds: dict[str, float]


def trained(benchmark: Benchmark, vectors: Vectors, questions: Questions, recipe: Recipe) -> Trained:
    """Train a base on the catalogue and an adapter on what is known, or take what the same arguments gave before."""
    store = AdapterStore(BENCH / "compact" / benchmark.name)
    note = store.root / f"{_key(questions, recipe)}.json"
    source = _source(vectors)
    kept = _kept(note, source)
    if kept is not None:
        return Trained(store.open_base(kept["base"]), store.open_adapter(kept["adapter"]), kept["seconds"])
    started = time.perf_counter()
    base = _base(store, benchmark, vectors, recipe)
    built = time.perf_counter()
    adapter = _adapter(store, base, questions, recipe)
    seconds = {"base": round(built - started, 1), "adapter": round(time.perf_counter() - built, 1)}
    note.write_bytes(
        orjson.dumps({"base": base.digest, "adapter": adapter.digest, "seconds": seconds, "source": source})
    )
    return Trained(base, adapter, seconds)


def generator(made: Trained, evidence: int) -> LanguageModel:
    """The generator with its adapter, in this process."""
    backend = LocalBackend.open(made.base.folder, adapter=made.adapter.folder, device="cpu")
    return LanguageModel(
        ItemTokenEncoder(Vocabulary.load(made.base.folder), evidence), backend, RankingOptions(ANY_MASS)
    )


def prompt_of(history: History, items: npt.NDArray[np.int64], scores: npt.NDArray[np.float64]) -> Prompt:
    """A prompt with the whole positive history as evidence."""
    evidence = [EvidenceLine(str(row["item"]), "choice", int(row["time"])) for row in history]
    candidates = [Candidate(str(item), float(score)) for item, score in zip(items, scores, strict=True)]
    return Prompt(User("user"), evidence, candidates, lambda item_id: Item(item_id, ""))


def _base(store: AdapterStore, benchmark: Benchmark, vectors: Vectors, recipe: Recipe) -> CompactFolder:
    base = catalogue_base(benchmark, vectors, recipe.base)
    return store.publish_base(base.write, epoch=0, settings=asdict(recipe.base), counts=base.counts())


def _adapter(store: AdapterStore, base: CompactFolder, questions: Questions, recipe: Recipe) -> CompactFolder:
    loaded, how = Base.load(base.folder), recipe.adapter
    histories = [history["item"].astype(np.int64) for history in questions.known]
    deltas = train(loaded, histories, how, told=partial(_tell, how.epochs)).deltas
    rank = how.rank or int(loaded.model.config.hidden_size)
    return store.publish_adapter(
        lambda folder: write_adapter(folder, deltas, rank, base.digest),
        base=base.digest,
        epoch=0,
        settings=asdict(how),
        counts={"users": len(questions.known)},
    )


def _tell(epochs: int, finished: int, loss: float) -> None:
    sys.stderr.write(f"  epoch {finished} of {epochs}, loss {loss:.4f}\n")


def _kept(note: Path, source: str) -> dict[str, Any] | None:
    """What was trained before from the same source, if anything."""
    if not note.exists():
        return None
    kept: dict[str, Any] = orjson.loads(note.read_bytes())
    if "source" not in kept:
        sys.stderr.write(f"  {note} does not say from which code it was made; remove it to train again.\n")
    return kept if kept.get("source", source) == source else None


def _source(vectors: Vectors) -> str:
    """Digest of the training code and of the items' vectors."""
    digest = hashlib.sha256(np.ascontiguousarray(vectors).tobytes())
    for name in TRAINERS:
        digest.update((COMPACT / f"{name}.py").read_bytes())
    return digest.hexdigest()[:24]


def _key(questions: Questions, recipe: Recipe) -> str:
    digest = hashlib.sha256(orjson.dumps(asdict(recipe)))
    for history in questions.known:
        digest.update(history["item"].tobytes() + b"|")
    return digest.hexdigest()[:24]
