"""The command ``rag-rec audit adapter``."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import Annotated, Any

import typer

from indexer.compact_training import Device, DeviceOption
from rag_rec.adapters.folder import AdapterStore
from rag_rec.candidates.reranker import Reranker
from rag_rec.commands.app import command
from rag_rec.commands.audit import audit
from rag_rec.commands.printing import Answer
from rag_rec.errors import NotReady, needs
from rag_rec.home.opening import check_system, existing_store_of
from rag_rec.index.generation import Generations
from rag_rec.progress.shown import Shown
from rag_rec.settings import Settings
from rag_rec.vectors.embedding import open_embedder

Trainings = Annotated[
    int, typer.Option(min=4, help="Trainings without the people who are taken out; one of them is kept out as a test.")
]
People = Annotated[int, typer.Option(min=0, help="How many people are taken out on trial. Default: as a removal does.")]
Damping = Annotated[float | None, typer.Option(min=1e-9, help="As of `rag-rec adapter unlearn`.")]


@audit.command("adapter")
@command
def audit_adapter(
    trainings: Trainings = 6, people: People = 0, damping: Damping = None, device: DeviceOption = Device.AUTO
) -> Mapping[str, Any]:
    """Measure what this system's adapter and reranker remember of people, and what a removal would leave of them.

    People who stay are taken out on trial, and compared with people of the reserve, from whom nothing was learned. It
    takes as long as so many trainings. Nothing is published; interrupted, it goes on after the last epoch that it
    finished, unless a person was forgotten meanwhile.
    """
    with needs("llm"):
        from indexer.auditing import AdapterAudit  # noqa: PLC0415 - imports torch
        from indexer.compact_build import CompactBuilder, choose_device  # noqa: PLC0415 - imports torch
        from indexer.retraining import settings_in_use  # noqa: PLC0415 - imports torch

    settings = Settings()
    check_system(settings)
    how = settings_in_use(AdapterStore(settings.compact), choose_device(device.value), settings.seed)
    generations = Generations(settings.generations)
    with closing(existing_store_of(settings)) as store, Shown("audit adapter") as shown:
        embedder = open_embedder(settings.embedding_model, settings.embedding_threads)
        builder = CompactBuilder(store, generations, settings, embedder, shown, how)
        found = AdapterAudit(builder, trainings, people, damping).report()
    document = {**found, "reranker": _reranker(generations)}
    return Answer(document, _words(document))


def _reranker(generations: Generations) -> Mapping[str, Any] | None:
    """What the build measured of the reranker in use; None where nothing was."""
    try:
        generation = generations.current()
    except NotReady:
        return None
    measured = Reranker.load(generation.folder / "reader", generation.fitted_in).membership
    return None if measured is None else measured.fields()


def _words(document: Mapping[str, Any]) -> dict[str, Any]:
    """One line for each attack and each figure."""
    counts = {name: document[name] for name in ("adapter", "stand_ins", "retained", "reserve", "trainings", "sound")}
    results = document["results"]
    verdicts = [
        {"result": name, "passed": each["passed"], "outside": ", ".join(each["outside"]) or "nothing"}
        for name, each in results.items()
    ]
    attacks = [
        {"result": name, "attack": attack, **{key: str(value) for key, value in figures.items()}}
        for name, each in results.items()
        for attack, figures in each["attacks"].items()
    ]
    figures = [
        {"result": name, "figure": figure, "is": values["figure"], "band": f"{values['low']} to {values['high']}"}
        for name, each in results.items()
        for figure, values in each["figures"].items()
    ]
    return {**counts, "verdicts": verdicts, "attacks": attacks, "figures": figures, "reranker": document["reranker"]}
