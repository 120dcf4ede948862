"""The command ``rag-rec debias``."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rag_rec.adapters.folder import AdapterStore
from rag_rec.artifacts.private import write_durably
from rag_rec.commands.app import command
from rag_rec.commands.printing import Answer
from rag_rec.errors import InvalidInput, needs
from rag_rec.home.opening import check_system, existing_store_of
from rag_rec.index.generation import Generations
from rag_rec.progress.shown import Shown
from rag_rec.settings import Settings
from rag_rec.vectors.embedding import open_embedder

if TYPE_CHECKING:
    from indexer.debiasing import Request
    from rag_rec.debias.search import Limits

app = typer.Typer()

Figures = Annotated[
    list[str],
    typer.Option(
        "--metric",
        help="A figure of `rag-rec audit fairness` that is to come nearer to fair, may be given several times; "
        "popularity@2 counts twice.",
    ),
]
Budget = Annotated[
    str, typer.Option("--budget-ndcg", help="The largest loss of NDCG@10 of the served lists, such as 1%.")
]
Most = Annotated[str, typer.Option("--most", help="The largest share of the learned choices that may go, such as 10%.")]
Rounds = Annotated[int, typer.Option(min=1, max=10, help="Rounds of mask, removal and line search.")]
Sparsity = Annotated[
    float,
    typer.Option(help="What share of the gap every hundredth of the choices has to take at least: fewer go for more."),
]
Protect = Annotated[
    list[str],
    typer.Option(help="People whose choices may not go, such as gender=F; may be given several times."),
]
Tied = Annotated[bool, typer.Option("--whole-people", help="A person's choices go all together or not at all.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Measure and report, but publish nothing.")]
Report = Annotated[
    Path | None, typer.Option(help="Write the report to FILE.html, with plots, and to FILE.json.", metavar="FILE")
]
USUAL = ["popularity"]
NOBODY: list[str] = []


@app.command("debias")
@command
def debias(  # noqa: PLR0913 - one parameter for each option
    metric: Figures = USUAL,
    budget_ndcg: Budget = "1%",
    most: Most = "10%",
    rounds: Rounds = 3,
    sparsity: Sparsity = 0.0,
    protect: Protect = NOBODY,
    tied: Tied = False,
    dry_run: DryRun = False,
    report: Report = None,
) -> Mapping[str, Any]:
    """Debias the adapter in use without a training, and put the new one to use if the served lists are fairer.

    What makes them unfair is found among the choices that the adapter learned, and removed. On people on whom nothing
    was chosen, a figure has to come nearer to fair with its whole 95 % interval, none may be farther from it, and the
    loss of NDCG has to stay within the budget with its whole interval; otherwise nothing changes, and this is an error.
    `rag-rec compact activate` with the digest `adapter_before` takes it back.
    """
    with needs("llm"):
        from indexer.compact_build import CompactBuilder  # noqa: PLC0415 - imports torch
        from indexer.debiasing import Debiasing  # noqa: PLC0415 - imports torch
        from indexer.retraining import settings_in_use  # noqa: PLC0415 - imports torch
        from rag_rec.debias.search import Limits  # noqa: PLC0415 - imports torch

    settings = Settings()
    check_system(settings)
    limits = Limits(_share(most, "--most"), _share(budget_ndcg, "--budget-ndcg"), rounds, tied, sparsity)
    request = _request(metric, limits, protect)
    if report is not None:
        _require_folder(report)
    with closing(existing_store_of(settings)) as store, Shown("debias") as shown:
        how = settings_in_use(AdapterStore(settings.compact), "cpu", settings.seed)
        embedder = open_embedder(settings.embedding_model, settings.embedding_threads)
        builder = CompactBuilder(store, Generations(settings.generations), settings, embedder, shown, how)
        document = Debiasing(builder, request).run(publish=not dry_run)
    if report is not None:
        _write(report, document)
    if document["against"] and not dry_run:
        raise InvalidInput(f"Nothing is published, and nothing has changed: {'; '.join(document['against'])}.")
    return Answer(document, _words(document))


def _request(metric: Sequence[str], limits: Limits, protect: Sequence[str]) -> Request:
    """What is asked for, refused before anything that takes long."""
    from indexer.debiasing import Request  # noqa: PLC0415 - imports torch
    from rag_rec.fairness.named import require_name  # noqa: PLC0415 - imports torch

    weighed = [each.partition("@") for each in dict.fromkeys(metric)]
    if not weighed:
        raise InvalidInput("No figure of fairness was named: give `--metric popularity`, or another one.")
    names = [name for name, _, _ in weighed]
    if len(set(names)) < len(names):
        raise InvalidInput("A figure was named twice with different weights: name it once.")
    for name in names:
        require_name(name)
    rules = [each.partition("=") for each in protect]
    if any(not name or not value for name, _, value in rules):
        raise InvalidInput("People are protected by an attribute and a value, such as `--protect gender=F`.")
    weights = [_weight(weight) if marked else 1.0 for _, marked, weight in weighed]
    return Request(names, weights, limits, [(name, value) for name, _, value in rules])


def _share(text: str, option: str) -> float:
    """A share as a number, or as a percentage."""
    try:
        found = float(text.removesuffix("%")) / (100.0 if text.endswith("%") else 1.0)
    except ValueError:
        raise InvalidInput(f"{option} is {text!r}: give a share such as 1% or 0.01.") from None
    if not 0.0 <= found < 1.0:
        raise InvalidInput(f"{option} is {text!r}: it must be at least 0 and below 100%.")
    return found


def _weight(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 0.0 < found < float("inf"):
        raise InvalidInput(f"A figure has the weight {text!r}: give a number above 0, such as popularity@2.")
    return found


def _require_folder(report: Path) -> None:
    """Refuse a place where the report cannot be written, before anything that takes long."""
    folder = report.absolute().parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise InvalidInput("The folder of --report does not exist, or cannot be written to: make it first.")


def _write(report: Path, document: Mapping[str, Any]) -> None:
    import orjson  # noqa: PLC0415 - only where it is used

    from indexer.debias_page import page  # noqa: PLC0415 - only where it is used

    write_durably(report.with_suffix(".json"), orjson.dumps(document, option=orjson.OPT_INDENT_2))
    write_durably(report.with_suffix(".html"), page(document).encode())


def _words(document: Mapping[str, Any]) -> dict[str, Any]:
    """What is read on a terminal."""
    rows = [
        {
            "order": order,
            "figure": name,
            "from fair before": gaps[0],
            "after": gaps[1],
            "change": f"{change[0]:+.4f} ({change[1]:+.4f} to {change[2]:+.4f})",
            "predicted": document["predicted"][name] if order == "llm" else "",
        }
        for order in ("served", "llm")
        for (name, gaps), change in zip(
            document[order]["gaps"].items(), document[order]["figures"].values(), strict=True
        )
    ]
    served, masked = document["served"], document["masked"]
    low, high = served["loss_interval"]
    return {
        "published": document["adapter"] or "nothing",
        "against": document["against"] or "nothing",
        "adapter_before": document["adapter_before"],
        "people": ", ".join(f"{count} {what}" for what, count in document["people"].items()),
        "removed": f"{masked['choices']} of {masked['of']} choices",
        "of": f"{masked['people']} of {masked['of_people']} people",
        "ndcg@10": f"{served['ndcg'][0]:.4f} before, {served['ndcg'][1]:.4f} after",
        "loss": f"{served['loss']:.2%} ({low:.2%} to {high:.2%}), budget {document['budget']:.2%}",
        "figures": rows,
        "gate": document["gate"]["decision"],
        "seconds": document["seconds"],
    }
