"""The command ``rag-rec audit fairness``."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import Annotated, Any

import typer

from indexer.gate import GateMeasurement, Sample
from indexer.generator_commands import sample_of
from rag_rec.commands.app import command
from rag_rec.commands.audit import audit
from rag_rec.commands.printing import Answer
from rag_rec.generators.spec import wanted
from rag_rec.home.opening import check_system, existing_store_of
from rag_rec.index.generation import Generations
from rag_rec.index.serving_state import ServingState
from rag_rec.progress.protocol import Progress
from rag_rec.progress.shown import Shown
from rag_rec.recommend.gate import load_control, load_gate
from rag_rec.recommend.opening import open_generator
from rag_rec.settings import Settings
from rag_rec.store.protocol import Store
from rag_rec.vectors.embedding import open_embedder

Metrics = Annotated[
    list[str],
    typer.Option(
        "--metric",
        help="A figure, may be given several times: popularity, aplt, arp, gini, coverage, mgu, dgu, "
        "exposure:ATTRIBUTE of items, and by an attribute of people, or by their activity, ATTRIBUTE:ndcg, "
        "ATTRIBUTE:hr, ATTRIBUTE:dp or ATTRIBUTE:calibration.",
    ),
]
Length = Annotated[int, typer.Option("--k", min=1, max=100, help="Items in a list.")]
USUAL = ["popularity", "gini", "activity:ndcg"]


@audit.command("fairness")
@command
def audit_fairness(metric: Metrics = USUAL, k: Length = 10) -> Mapping[str, Any]:
    """Measure how evenly the served lists treat items and people, on the choices that the gate asks for.

    The candidates' order and, where an LLM was measured, its own order and the fused one. Nothing is changed.
    """
    settings = Settings()
    check_system(settings)
    with closing(existing_store_of(settings)) as store, Shown("audit fairness") as shown:
        document = report(settings, store, shown, metric, k)
    return Answer(document, _words(document))


def report(settings: Settings, store: Store, progress: Progress, names: list[str], length: int) -> dict[str, Any]:
    """Ask the people whom the gate asks, and measure; arguments as of the command.

    Raises:
        InvalidInput: see :meth:`indexer.fairness.FairnessReport.of`.
        NotReady: there is no index, or too few people can be asked.
        GeneratorFailure: the LLM cannot be asked.
    """
    from indexer.fairness import FairnessReport  # noqa: PLC0415 - imports torch
    from rag_rec.fairness.named import require_name  # noqa: PLC0415 - imports torch

    for name in names:
        require_name(name)  # before anything that takes long
    embedder = open_embedder(settings.embedding_model, settings.embedding_threads)
    progress.stage("load the index", 0)
    live = ServingState.load(Generations(settings.generations).current(), store, settings, embedder)
    target = wanted(settings)
    gate = None if target is None else load_gate(settings, target)
    control = load_control(settings, gate)
    if target is None or gate is None:
        asked = GateMeasurement(live, store, settings, None, progress).ask(Sample())
        return FairnessReport(live, asked, None, length, settings.seed, control).of(names)
    with closing(open_generator(settings, target)) as model:
        model.backend.use_adapter(target.adapter)
        measurement = GateMeasurement(live, store, settings, model, progress)
        asked = measurement.ask(sample_of(settings, target, store))
    return FairnessReport(live, asked, gate, length, settings.seed, control).of(names)


def _words(document: Mapping[str, Any]) -> dict[str, Any]:
    """One line for each figure and order."""
    rows = [
        {
            "figure": name,
            "order": order,
            "value": each["value"],
            "interval": f"{each['interval'][0]} to {each['interval'][1]}",
            "fair": each["fair"],
            "random": each["random"],
            "popular": each["popular"],
            "possible": f"{each['least']} to {each['greatest']}",
        }
        for name, orders in document["figures"].items()
        for order, each in orders.items()
    ]
    about = {key: document[key] for key in ("people", "served", "length")}
    return (
        about
        | {f"ndcg@{document['length']} {name}": value for name, value in document["accuracy"].items()}
        | {"figures": rows}
    )
