"""Accuracy and fairness of the candidates' order, of the LLM's, and of their fusion, over N = 50 candidates.

Protocol: that of ``benchmarks.candidates``. The reranker, the adapter and the weight of the fusion are learned without
the test answers: an adapter trained without the last two positives of each user gives, on the second to last ones, the
weight and the decision of the gate; then a reranker and an adapter learned without the last one are asked once.
Adapters are trained by the product's own code and kept under ``.bench``.

Usage: ``python -m benchmarks.generator [--datasets ml-1m,ml-100k,amazon-books,amazon-games] [--keep] [--prepare]``
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from benchmarks.candidates import Run, candidate_model, dataset_parser, queries, reranker_settings, runs
from benchmarks.data import NAMES, user_groups
from benchmarks.methods.compact_generator import Recipe, Trained, generator, prompt_of, trained
from benchmarks.methods.ranking import Questions, interval
from benchmarks.report import earlier, write_results
from rag_rec.candidates.training import RerankerSettings, fit_fine, gather
from rag_rec.compact.base import BaseSettings
from rag_rec.compact.training import AdapterSettings
from rag_rec.evaluation import bootstrap
from rag_rec.events.history import History
from rag_rec.fairness.exposure import Gini, GroupUnfairness, Share
from rag_rec.fairness.groups import Groups, activity, bands, head
from rag_rec.fairness.metric import Metric
from rag_rec.fairness.parity import AccuracyGap
from rag_rec.fairness.served import Served, shares
from rag_rec.recommend.fusion import Trials, fit_gate, gain_of
from rag_rec.recommend.gate import Gate

N: Final = 50
CONTEXT: Final = 128
CHUNK: Final = 128
SMALL: Final = AdapterSettings(epochs=30, rate=2e-3, dropout=0.4, context=CONTEXT)
LARGE: Final = AdapterSettings(epochs=24, rate=2e-3, dropout=0.3, context=CONTEXT)
SPARSE: Final = AdapterSettings(epochs=14, rate=2e-3, dropout=0.4, context=50)
BASE: Final = BaseSettings(width=128, layers=2, heads=4)
RECIPES: Final = {
    "ml-1m": Recipe(BASE, LARGE),
    "ml-100k": Recipe(BASE, SMALL),
    "amazon-books": Recipe(BASE, SPARSE),
    "amazon-games": Recipe(BASE, SPARSE),
}
Row = dict[str, object]
Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Asked:
    """What candidate model and LLM say to a set of questions; ``items`` int64 [users, N], -1 where there is none."""

    questions: Questions
    items: Numbers
    trials: Trials


def rows_of(run: Run, recipe: Recipe) -> list[Row]:
    """The rows of one set: candidates, llm, fused."""
    started = time.perf_counter()
    settings = reranker_settings(run)
    made = {hidden: trained(run.benchmark, run.vectors, run.questions(hidden), recipe) for hidden in (2, 1)}
    gate = fit_gate(_asked(run, 2, settings, made[2]).trials, seed=0)
    test = _asked(run, 1, settings, made[1])
    rows = _judged(run, test, gate)
    rows[-1] |= {
        "weight": gate.weight,
        "gate": "open" if gate.use else "closed",
        "settings": _how(gate, made[1], recipe, time.perf_counter() - started),
    }
    for row in rows:
        sys.stderr.write(f"  {row}\n")
    return rows


def prepare(run: Run, recipe: Recipe) -> None:
    """Train both adapters and keep them."""
    for hidden in (2, 1):
        trained(run.benchmark, run.vectors, run.questions(hidden), recipe)


def _asked(run: Run, hidden: int, settings: RerankerSettings, made: Trained) -> Asked:
    """Candidates and opinions; the reranker is fitted on what comes before the answers."""
    questions = run.questions(hidden)
    least = run.benchmark.least
    before = [(user, rows[:-hidden] if len(rows) >= least else rows) for user, rows in run.benchmark.histories]
    settings = replace(settings, neighbours=False, least_positives=max(2, least - hidden))
    reranker, choices = gather(before, run.vectors, run.benchmark.n_items, settings)
    model = candidate_model(run, questions, fit_fine(reranker, choices, settings), settings)
    items = np.full((len(questions.asked), N), -1, dtype=np.int64)
    scores = np.full(items.shape, -np.inf)
    for place, query in enumerate(queries(model, questions)):
        found = model.candidates(replace(query, profile=None), N)
        items[place, : len(found)], scores[place, : len(found)] = found.items, found.scores
    hits = items == questions.answers[:, None]
    answers = np.where(hits.any(axis=1), hits.argmax(axis=1), -1)
    return Asked(questions, items, Trials(scores, _opinions(questions, items, scores, made), answers))


def _opinions(
    questions: Questions, items: Numbers, scores: npt.NDArray[np.float64], made: Trained
) -> npt.NDArray[np.float64]:
    """The LLM's log-probabilities over each user's candidates."""
    model = generator(made, CONTEXT)
    opinions = np.full(scores.shape, -np.inf)
    users = questions.asked.tolist()
    try:
        for start in range(0, len(users), CHUNK):
            places = range(start, min(start + CHUNK, len(users)))
            prompts = [prompt_of(questions.known[users[p]], items[p][items[p] >= 0], scores[p]) for p in places]
            for place, ranking in zip(places, model.rank_many(prompts), strict=True):
                opinions[place, : len(ranking.log_probabilities)] = ranking.log_probabilities
    finally:
        model.close()
    return opinions


def _judged(run: Run, test: Asked, gate: Gate) -> list[Row]:
    trials = test.trials
    base = gain_of(trials.candidates, trials.answers)
    rows = []
    for name, scores in (("candidates", trials.candidates), ("llm", trials.llm), ("fused", trials.fused(gate.weight))):
        gains = gain_of(scores, trials.answers)
        order = np.argsort(-scores, axis=1, kind="stable")
        row: Row = {"name": name, **_accuracy(order, trials.answers, gains)}
        if name != "candidates":
            row |= _gain(gains, base)
        rows.append(row | _fairness(run, test, order))
    return rows


def _accuracy(order: Numbers, answers: Numbers, gains: npt.NDArray[np.float64]) -> Row:
    found = (order[:, :10] == answers[:, None]) & (answers >= 0)[:, None]
    return {
        "ndcg@10": round(float(gains.mean()), 4),
        "ndcg@10 interval": interval(gains, seed=0),
        "hr@10": round(float(found.any(axis=1).mean()), 4),
        f"recall@{N}": round(float((answers >= 0).mean()), 4),
        "users": len(answers),
    }


def _gain(gains: npt.NDArray[np.float64], base: npt.NDArray[np.float64]) -> Row:
    """Relative gain over the candidates, with a paired bootstrap interval over users."""
    low, high = bootstrap.interval_of(_relative, [gains, base], seed=0, paired=True)
    return {"gain": round(float(_relative(gains, base)), 4), "gain interval": [round(low, 4), round(high, 4)]}


def _relative(gains: npt.NDArray[np.float64], base: npt.NDArray[np.float64], axis: int = -1) -> npt.NDArray[np.float64]:
    return np.asarray(gains.mean(axis=axis) / base.mean(axis=axis) - 1)


def _fairness(run: Run, test: Asked, order: Numbers) -> Row:
    """How evenly the first ten places treat items and people (:mod:`rag_rec.fairness`)."""
    known, users, items = test.questions.known, test.questions.asked, run.benchmark.n_items
    popularity = np.bincount(np.concatenate([history["item"] for history in known]), minlength=items)
    served = Served.of(np.take_along_axis(test.items, order, axis=1)[:, :10], test.questions.answers, items)
    histories = np.concatenate([known[user]["item"] for user in users.tolist()])
    metrics: list[Metric] = [
        Gini(),
        *_unfairness(bands(popularity), {"choices": served.chosen, "histories": histories}),
    ]
    metrics += [AccuracyGap(f"ndcg gap by {name}", each) for name, each in _people(run, known, users).items()]
    share = Share("head share", head(popularity), float(shares(served.chosen, head(popularity))[0]))
    row: Row = {"head share of choices": round(share.fair, 4)}
    return row | {each.name: round(each.of(served), 4) for each in (share, *metrics)}


def _unfairness(parts: Groups, references: dict[str, Numbers]) -> Iterator[Metric]:
    """MGU and DGU against the shares of each reference, whose item numbers stand once for each choice."""
    for name, chosen in references.items():
        reference = shares(chosen, parts)
        yield GroupUnfairness(f"mgu {name}", parts, reference)
        yield GroupUnfairness(f"dgu {name}", parts, reference, spread=True)


def _people(run: Run, known: list[History], users: Numbers) -> dict[str, Groups]:
    """Groups of the users who are asked, by the name of what tells them apart."""
    told = {name: Groups.by([str(group) for group in of]) for name, of in user_groups(run.benchmark, users).items()}
    return {"activity": activity(np.array([len(known[user]) for user in users.tolist()])), **told}


def _how(gate: Gate, made: Trained, recipe: Recipe, seconds: float) -> Row:
    return {
        "validation": {"candidates": gate.candidates, "llm": gate.llm, "fused": gate.fused, "gain": gate.gain},
        "training seconds": made.seconds,
        "parameters": made.base.manifest.counts["parameters"],
        "width": recipe.base.width,
        "layers": recipe.base.layers,
        "epochs": recipe.adapter.epochs,
        "dropout": recipe.adapter.dropout,
        "context": recipe.adapter.context,
        "seconds": round(seconds),
    }


def main() -> None:
    """Run the benchmark on the data sets that are there."""
    arguments = _arguments()
    per_dataset: dict[str, list[Row]] = {}
    for run in runs(arguments.datasets, arguments.users):
        name = run.benchmark.name
        if arguments.prepare:
            prepare(run, RECIPES[name])
            continue
        per_dataset[name] = rows_of(run, RECIPES[name])
        every = {**(earlier("generator", NAMES) if arguments.keep else {}), **per_dataset}
        write_results("generator", every.get("ml-1m", []), seed=0, per_dataset=every)


def _arguments() -> Any:
    parser = dataset_parser(__doc__)
    parser.add_argument("--prepare", action="store_true", help="only train and keep the adapters")
    return parser.parse_args()


if __name__ == "__main__":
    main()
