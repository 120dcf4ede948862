"""The commands ``rag-rec generator ...``."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import Any

import typer

from indexer.gate import GateMeasurement, Sample
from rag_rec.adapters.folder import AdapterStore
from rag_rec.commands.app import command
from rag_rec.errors import InvalidInput
from rag_rec.generators.spec import GeneratorSpec, wanted
from rag_rec.home.opening import existing_store_of
from rag_rec.index.generation import Generations
from rag_rec.index.serving_state import ServingState
from rag_rec.progress.protocol import Progress
from rag_rec.progress.shown import Shown
from rag_rec.recommend.gate import Gate, gate_path
from rag_rec.recommend.opening import open_generator
from rag_rec.settings import Settings
from rag_rec.store.protocol import Store
from rag_rec.store.records import ChangeKind
from rag_rec.vectors.embedding import open_embedder
from rag_rec.vectors.protocol import Embedder

app = typer.Typer(help="Measure the LLM that ranks.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """Measure the LLM that ranks."""


@app.command("gate")
@command
def gate() -> Mapping[str, Any]:
    """Measure on held-out choices whether the LLM improves on the candidates' order, and with which weight.

    It takes part only if the whole 95 % interval of its gain lies above zero. A running service takes the result up by
    itself.
    """
    settings = Settings()
    with closing(existing_store_of(settings)) as store, Shown("generator gate") as shown:
        measured = measure(settings, store, shown)
    return measured.document()


def measure(settings: Settings, store: Store, progress: Progress, embedder: Embedder | None = None) -> Gate:
    """Measure the generator of the settings and keep the result.

    Raises:
        InvalidInput: the settings name no LLM, and no compact generator has been built.
    """
    target = wanted(settings)
    if target is None:
        raise InvalidInput("There is no LLM to measure: run `rag-rec compact build`, or set RAGREC_GENERATOR.")
    embedder = embedder or open_embedder(settings.embedding_model, settings.embedding_threads)
    progress.stage("load the index", 0)
    live = ServingState.load(Generations(settings.generations).current(), store, settings, embedder)
    with closing(open_generator(settings, target)) as model:
        model.backend.use_adapter(target.adapter)
        measurement = GateMeasurement(live, store, settings, model, progress)
        measured = measurement.run(sample_of(settings, target, store), target.digest, target.adapter_digest)
    measured.save(gate_path(settings.gates, target.digest, target.adapter_digest))
    return measured


def sample_of(settings: Settings, target: GeneratorSpec, store: Store) -> Sample:
    """The people whose newest item the adapter was not trained on; everybody where there is no adapter."""
    if target.adapter is None:
        return Sample()
    manifest = AdapterStore(settings.compact).open_adapter(target.adapter.name).manifest
    share = float(manifest.settings.get("held_out", 0.0))
    if not share:
        raise InvalidInput("The adapter was trained on everybody's newest item: build it with a held-out share.")
    changes = [change for change in store.changes(manifest.epoch) if change.kind is not ChangeKind.ITEM]
    changed = frozenset(change.number for change in changes)
    shortened = frozenset(change.number for change in changes if change.kind is ChangeKind.FORGET)
    return Sample(share, int(manifest.settings.get("seed", 0)), changed, shortened)
