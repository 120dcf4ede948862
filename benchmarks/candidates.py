"""Accuracy of the candidate model and of the methods it is compared with.

Protocol: histories of positives in order of time. The last positive of each user is the test answer, the second to
last the validation answer; the rank of an answer is over the full catalogue without the items already known. Every
setting, and every number of the reranker, is fitted on validation answers and earlier ones with statistics that lack
them; then each method is asked once for the test answers, with statistics of everything but these.

Usage: ``python -m benchmarks.candidates [--datasets ml-1m,ml-100k] [--keep] [--users 6100] [--threads 1]``
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.data import NAMES, Benchmark, DataMissing, item_vectors, read
from benchmarks.methods.baselines import DENSE, METHODS, Known, Method
from benchmarks.methods.ranking import Questions, figures, questions
from benchmarks.report import earlier, write_results
from rag_rec.candidates.features import FINE
from rag_rec.candidates.fitting import Choices
from rag_rec.candidates.model import CandidateModel, Comparison
from rag_rec.candidates.query import Query
from rag_rec.candidates.reranker import Reranker
from rag_rec.candidates.statistics import REGULARISATION
from rag_rec.candidates.training import KnownProfiles, RerankerSettings, fit_fine, gather
from rag_rec.evaluation.ranking import MISSED, Ranks, ndcg
from rag_rec.settings import Settings

SEEDS = (0, 1, 2)
REGULARISATIONS = (50.0, 200.0, REGULARISATION)
NEIGHBOURS = FINE.index("neighbours")
Row = dict[str, object]


@dataclass(frozen=True, slots=True)
class Run:
    """One benchmark set with everything that all methods share."""

    benchmark: Benchmark
    vectors: npt.NDArray[np.float32]
    users: int
    threads: int

    @property
    def dense(self) -> bool:
        """Whether P is kept for a catalogue of this size."""
        return self.benchmark.n_items <= Settings().dense_items_limit

    def questions(self, hidden: int) -> Questions:
        """1 asks for the test answers, 2 for the validation answers."""
        return questions(self.benchmark, hidden, self.users)


def baseline_rows(run: Run) -> list[Row]:
    """Each method tuned on validation and asked once for the test answers."""
    validation, test = (Known.of(run.questions(hidden), run.threads, seed=0) for hidden in (2, 1))
    methods = [method for method in METHODS if run.dense or method.name not in DENSE]
    return [_baseline(method, validation, test) for method in methods]


def _baseline(method: Method, validation: Known, test: Known) -> Row:
    started = time.perf_counter()
    settings = method.tune(validation)
    row = figures(method.ranks(test, settings), test.seed)
    return _told({"name": method.name, **row, "settings": settings}, started)


def our_rows(run: Run) -> list[Row]:
    """Our model: linear, with a network, and with neighbours by profile as well."""
    started = time.perf_counter()
    settings = reranker_settings(run)
    reranker, choices = _choices(run, settings)
    test = run.questions(1)
    compared = _comparisons(candidate_model(run, test, reranker, settings), test)
    rows = []
    for name, hidden, neighbours, seeds in (
        ("rag-rec", settings.hidden, False, SEEDS),
        ("rag-rec, linear reader", 0, False, SEEDS[:1]),
        ("rag-rec with profile neighbours", settings.hidden, True, SEEDS[:1]),
    ):
        chosen = choices if neighbours else _without_neighbours(choices)
        by_seed = []
        for seed in seeds:
            fitted = fit_fine(reranker, chosen, replace(settings, hidden=hidden, neighbours=neighbours, seed=seed))
            by_seed.append(_ranks(fitted, compared, test, neighbours=neighbours))
        rows.append(_told(_our_row(name, by_seed, compared, test, settings), started))
    return rows


def reranker_settings(run: Run) -> RerankerSettings:
    """Lambda of EASE is chosen on validation by what EASE alone reaches with it."""
    settings = RerankerSettings(dense=run.dense, least_positives=run.benchmark.least - 1, neighbours=True)
    if not run.dense:
        return settings
    validation = Known.of(run.questions(2), run.threads, seed=0)
    recency = next(method for method in METHODS if method.name == "recency EASE")
    reached = {
        value: ndcg(recency.ranks(validation, {"regularisation": value, "life": 5.0})) for value in REGULARISATIONS
    }
    return replace(settings, regularisation=max(reached, key=lambda value: reached[value]))


def _choices(run: Run, settings: RerankerSettings) -> tuple[Reranker, Choices]:
    """Examples of everything but the test answers, as :func:`rag_rec.candidates.training.fit_reranker` makes them."""
    least = run.benchmark.least
    before = [(user, rows[:-1] if len(rows) >= least else rows) for user, rows in run.benchmark.histories]
    return gather(before, run.vectors, run.benchmark.n_items, settings)


def candidate_model(run: Run, test: Questions, reranker: Reranker, settings: RerankerSettings) -> CandidateModel:
    """Our model over the statistics of what is known."""
    statistics = test.statistics(dense=run.dense, regularisation=settings.regularisation)
    profiles = KnownProfiles(test.known, run.vectors)
    return CandidateModel(
        statistics, lambda: run.vectors, profiles, profiles.history, replace(reranker, neighbours=True)
    )


def _comparisons(model: CandidateModel, test: Questions) -> list[Comparison]:
    """What the fine step compares for each question; the coarse features of whole catalogues would fill the memory."""
    compared = (model.compare(query) for query in queries(model, test))
    return [replace(each, coarse=each.coarse[:0].copy()) for each in compared]


def queries(model: CandidateModel, test: Questions) -> list[Query]:
    """What the questions ask of our model."""
    profiles = KnownProfiles(test.known, model.item_vectors)
    known = ((user, test.known[user]) for user in test.asked.tolist())
    return [
        Query(rows, rows["item"], None, profiles.vectors[user], user, int(rows["time"][-1])) for user, rows in known
    ]


def _ranks(reranker: Reranker, compared: list[Comparison], test: Questions, *, neighbours: bool) -> Ranks:
    """Ranks of the answers in the order that the candidate model gives."""
    found = np.full(len(compared), MISSED)
    for place, (comparison, answer) in enumerate(zip(compared, test.answers.tolist(), strict=True)):
        fine = comparison.fine if neighbours else _silenced(comparison.fine)
        order = comparison.items[np.lexsort((comparison.items, -np.round(reranker.fine_scores(fine), 9)))]
        at = np.flatnonzero(order == answer)
        found[place] = at[0] if len(at) else MISSED
    return found


def _our_row(
    name: str, by_seed: list[Ranks], compared: list[Comparison], test: Questions, settings: RerankerSettings
) -> Row:
    proposed = zip(compared, test.answers.tolist(), strict=True)
    reach = float(np.mean([answer in comparison.items for comparison, answer in proposed]))
    reached = [round(ndcg(each), 4) for each in by_seed]
    row: Row = {"name": name, **figures(by_seed[0], seed=0), "recall of the coarse step": round(reach, 4)}
    if len(by_seed) > 1:
        row |= {"ndcg@10 by seed": reached, "hr@50 by seed": [round(float((each < 50).mean()), 4) for each in by_seed]}
    return {**row, "settings": {"regularisation": settings.regularisation if settings.dense else None}}


def _silenced(fine: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    silenced = fine.copy()
    silenced[:, NEIGHBOURS] = 0.0
    return silenced


def _without_neighbours(choices: Choices) -> Choices:
    features = choices.features.copy()
    features[:, :, NEIGHBOURS] = 0.0
    return replace(choices, features=features)


def _told(row: Row, started: float) -> Row:
    sys.stderr.write(f"  {row} {time.perf_counter() - started:.0f} s\n")
    return row


def main() -> None:
    """Run the benchmark on the data sets that are there."""
    arguments = _arguments()
    per_dataset: dict[str, list[Row]] = {}
    for run in runs(arguments.datasets, arguments.users, arguments.threads):
        per_dataset[run.benchmark.name] = [*our_rows(run), *baseline_rows(run)]
        every = {**(earlier("candidates", NAMES) if arguments.keep else {}), **per_dataset}
        write_results("candidates", every.get("ml-1m", []), seed=0, per_dataset=every)


def runs(names: str, users: int, threads: int = 1) -> Iterator[Run]:
    """The sets of a comma-separated list that are there; the others are named on stderr."""
    for name in names.split(","):
        try:
            benchmark = read(name)
        except DataMissing as missing:
            sys.stderr.write(f"skipped: {missing}\n")
            continue
        sys.stderr.write(f"{name}\n")
        yield Run(benchmark, item_vectors(benchmark.texts, threads), users, threads)


def dataset_parser(description: str | None) -> argparse.ArgumentParser:
    """Parses which sets to run, and on how many users."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--datasets", default=",".join(NAMES), help="comma-separated names")
    parser.add_argument(
        "--users", type=int, default=6100, help="most users asked on a set; a sample where there are more"
    )
    parser.add_argument("--keep", action="store_true", help="keep the earlier figures of sets that are not run now")
    return parser


def _arguments() -> Any:
    parser = dataset_parser(__doc__)
    parser.add_argument("--threads", type=int, default=1, help="threads for embedding and matrix factorisation")
    return parser.parse_args()


if __name__ == "__main__":
    main()
