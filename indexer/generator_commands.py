"""The commands ``rag-rec generator ...``."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import Any

import typer

from indexer.gate import Asked, GateMeasurement, Sample
from rag_rec.adapters.folder import AdapterStore
from rag_rec.commands.app import command
from rag_rec.errors import InvalidInput
from rag_rec.generators.spec import GeneratorSpec, wanted
from rag_rec.home.opening import existing_store_of
from rag_rec.index.generation import Generations
from rag_rec.index.serving_state import ServingState
from rag_rec.progress.protocol import Progress
from rag_rec.progress.shown import Shown
from rag_rec.recommend.fusion import fit_gate
from rag_rec.recommend.gate import MOST_WEIGHT, NOTHING, Gate, gate_path
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

    It takes part only if the whole 95 % interval of its gain lies above zero, and by none of RAGREC_FAIRNESS_FIGURES
    it makes the order less fair. For RAGREC_EXPOSURE_FIGURES it is also learned how far groups of items are held back,
    with or without an LLM. A running service takes the result up by itself.
    """
    settings = Settings()
    with closing(existing_store_of(settings)) as store, Shown("generator gate") as shown:
        measured = measure(settings, store, shown)
    return measured.document()


def measure(settings: Settings, store: Store, progress: Progress, embedder: Embedder | None = None) -> Gate:
    """Measure the generator of the settings and keep the result.

    Raises:
        InvalidInput: the settings name no LLM, no compact generator has been built, and nothing is to be held back; or
            as :meth:`indexer.fair_gate.FairGate.of`.
    """
    from indexer.fair_gate import FairGate  # noqa: PLC0415 - imports torch
    from rag_rec.fairness.named import require_name  # noqa: PLC0415 - imports torch

    target = wanted(settings)
    if target is None and not settings.exposure_figures:
        raise InvalidInput("There is no LLM to measure: run `rag-rec compact build`, or set RAGREC_GENERATOR.")
    for name in (*settings.fairness_figures, *settings.exposure_figures):
        require_name(name)  # before anything that takes long
    embedder = embedder or open_embedder(settings.embedding_model, settings.embedding_threads)
    progress.stage("load the index", 0)
    live = ServingState.load(Generations(settings.generations).current(), store, settings, embedder)
    asked, measured = _asked(settings, store, live, target, progress)
    measured = FairGate(live, asked, settings, progress).of(measured)
    if measured.control is not None:
        alone = Gate(use=False, weight=MOST_WEIGHT, model=NOTHING, users=measured.users, control=measured.control)
        alone.save(gate_path(settings.gates, NOTHING, None))  # of the candidates' order, whatever becomes of the LLM
    if target is not None:
        measured.save(gate_path(settings.gates, target.digest, target.adapter_digest))
    return measured


def _asked(
    settings: Settings, store: Store, live: ServingState, target: GeneratorSpec | None, progress: Progress
) -> tuple[Asked, Gate]:
    """What was said to the people asked, and what follows for the LLM; without one nothing does."""
    if target is None:
        asked = GateMeasurement(live, store, settings, None, progress).ask(Sample())
        return asked, Gate(use=False, weight=MOST_WEIGHT, model=NOTHING, users=len(asked.questions))
    with closing(open_generator(settings, target)) as model:
        model.backend.use_adapter(target.adapter)
        asked = GateMeasurement(live, store, settings, model, progress).ask(sample_of(settings, target, store))
    return asked, fit_gate(asked.trials, settings.seed, target.digest, target.adapter_digest)


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
