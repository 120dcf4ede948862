"""Ways of debiasing an adapter, side by side on one system: by removal, by a control of exposure, by training again.

On one half of the people whom the gate asks every way is learned, on the other half it is judged, whatever the gate
says of the LLM. ``gap`` is how far a figure of fairness is from fair in the served lists, those with ``llm`` are of the
LLM alone, and losses are shares of NDCG@10, all with 95 % intervals over people.

- ``control``: groups of items are held back in the fused order; nothing is removed.
- ``fudlr``: mask, removal and line search, the search of ``rag-rec debias``; ``fudlr+control``: both.
- ``greedy-influence``: the same number of choices, those that help most to first order, whatever they cost.
- ``random-mask``: as many choices drawn at random. Both take one step of the theory.
- ``retrain-without``, ``retrain-random``: trainings without the choices that were masked, or as many at random, each
  held against a training of everything with the same seed. ``reweight-retrain``: half of the choices of the head, drawn
  at random, are not learned, so that the head counts half.

The system is made once, by the real commands, and kept in ``.bench/``.

Usage: ``python -m benchmarks.debias [--dataset ml-100k] [--metrics popularity gender:ndcg] [--retrainings 5]``
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from benchmarks.home import BENCH, ENVIRONMENT, copied_home
from benchmarks.methods.debias_field import SEED, Field, Row, timed
from benchmarks.methods.debias_retraining import retrained
from benchmarks.report import earlier, write_results
from demo.service import Commands
from indexer.compact_build import CompactBuilder
from indexer.fair_gate import grouping_of
from indexer.fairness import world_of
from indexer.learned import Learned
from indexer.retraining import settings_in_use
from rag_rec.adapters.folder import AdapterStore
from rag_rec.compact.adapter import Deltas
from rag_rec.debias.mask import Flags
from rag_rec.evaluation.bootstrap import interval
from rag_rec.fairness.groups import head
from rag_rec.fairness.metric import Metric
from rag_rec.fairness.served import NO_ITEM
from rag_rec.home.opening import existing_store_of
from rag_rec.index.generation import Generations
from rag_rec.progress.shown import Shown
from rag_rec.settings import Settings
from rag_rec.vectors.embedding import open_embedder

DATASETS: Final = ("ml-100k", "ml-1m")
BUDGET, MOST = 0.01, 0.03
HALF: Final = 0.5
"""Of the choices of the head, the share that a re-weighted training leaves out."""
EVERYTHING: Final = "everything"
RETRAININGS: Final = ("retrain-without", "retrain-random", "reweight-retrain")


def prepared(dataset: str) -> Path:
    """A home with a compact generator, made when it is first asked for."""
    home = BENCH / dataset / "debias"
    if not home.is_dir():
        with copied_home(dataset) as copy:
            Commands(copy, ENVIRONMENT).run("compact", "build", "--device", "cpu")
            shutil.copytree(copy, home)
    return home


@contextmanager
def opened(home: Path) -> Iterator[CompactBuilder]:
    """The builder of a home."""
    settings = Settings(home=home)
    store = existing_store_of(settings)
    with closing(store), Shown("debias") as shown:
        embedder = open_embedder(settings.embedding_model, settings.embedding_threads)
        how = settings_in_use(AdapterStore(settings.compact), "cpu", SEED)
        yield CompactBuilder(store, Generations(settings.generations), settings, embedder, shown, how)


@dataclass(frozen=True, slots=True)
class Trainings:
    """How the trainings that are compared are made: of which home, with which seeds, so many at a time."""

    home: Path
    seeds: Sequence[int]
    workers: int


def rows_of(field: Field, name: str, trainings: Trainings) -> Iterator[Row]:
    """The rows of a figure."""
    figure = field.figure(name)
    yield field.row("nothing", figure, field.before)
    asked = field.ground.asked.items
    by = grouping_of(name, world_of(field.ground.live, field.ground.asked), asked[asked != NO_ITEM])
    yield field.row("control", figure, field.before, [by])
    found, seconds = timed(lambda: field.debiased(figure))
    about: Row = {"choices": int(found.rows.sum()), "of": len(found.rows), "seconds": round(seconds, 1)}
    opinions = field.whole.opinions(found.deltas)
    yield field.row("fudlr", figure, opinions) | about
    yield field.row("fudlr+control", figure, opinions, [by]) | about
    drawn = np.random.default_rng(SEED).permutation(found.rows)
    for other, rows in (("greedy-influence", field.fairest(figure, about["choices"])), ("random-mask", drawn)):
        yield field.row(other, figure, field.whole.opinions(field.without(rows))) | {"choices": about["choices"]}
    if trainings.seeds and found.rows.any():
        yield from _retrainings(field, figure, found.rows, trainings)


def _retrainings(field: Field, figure: Metric, masked: Flags, how: Trainings) -> Iterator[Row]:
    """Trainings without what was masked, each beside one of everything; means over seeds, and their intervals."""
    home, seeds, workers = how.home, how.seeds, how.workers
    jobs = [(name, seed, _gone(field, masked, name, seed)) for seed in seeds for name in (EVERYTHING, *RETRAININGS)]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        done = list(pool.map(_trained, [home] * len(jobs), [gone for *_, gone in jobs], [seed for _, seed, _ in jobs]))
    gaps: dict[tuple[str, int], tuple[float, float]] = {}
    for (name, seed, _), (deltas, _) in zip(jobs, done, strict=True):
        lists = field.ground.alone(field.whole.opinions(deltas), field.halves[1])
        gaps[name, seed] = abs(figure.of(lists) - figure.fair), float(lists.gains.mean())
    for name in RETRAININGS:
        lower = np.array([1.0 - gaps[name, seed][0] / gaps[EVERYTHING, seed][0] for seed in seeds])
        lost = np.array([1.0 - gaps[name, seed][1] / gaps[EVERYTHING, seed][1] for seed in seeds])
        seconds = [spent for (other, _, _), (_, spent) in zip(jobs, done, strict=True) if other == name]
        yield {
            "name": name,
            "metric": figure.name,
            "llm gap_before": round(float(np.mean([gaps[EVERYTHING, seed][0] for seed in seeds])), 6),
            "llm gap_after": round(float(np.mean([gaps[name, seed][0] for seed in seeds])), 6),
            **_spread("llm gap_reduction", "llm reduction", lower),
            **_spread("llm ndcg_loss", "llm loss", lost),
            "trainings": len(seeds),
            "seconds": round(float(np.mean(seconds)), 1),
        }


def _spread(name: str, short: str, values: Any) -> Row:
    """A mean and its interval over seeds."""
    low, high = interval(values, SEED)
    return {name: round(float(values.mean()), 4), f"{short} low": round(low, 4), f"{short} high": round(high, 4)}


def _gone(field: Field, masked: Flags, name: str, seed: int) -> Flags:
    """The choices that a training leaves out."""
    draws = np.random.default_rng(seed)
    if name == EVERYTHING:
        return np.zeros_like(masked)
    if name == "retrain-without":
        return masked
    if name == "retrain-random":
        return draws.permutation(masked)
    items = np.concatenate([batch.targets.numpy() for batch in field.learned.samples(field.people)])
    groups = head(field.ground.live.statistics.popularity.total)
    of_head = groups.of[items - field.learned.base.vocabulary.first_item] == 0
    return np.asarray(of_head & (draws.random(len(of_head)) < HALF))


def _trained(home: Path, gone: Flags, seed: int) -> tuple[Deltas, float]:
    """A training in a process of its own, and its processor time."""
    torch.set_num_threads(1)
    with opened(home) as builder:
        learned = Learned.in_use(builder)
        return timed(lambda: retrained(learned, learned.learned(), gone, seed))


def main() -> None:
    """Measure and write ``benchmarks/results/debias.json``; the rows are written as they come."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default=DATASETS[0], choices=DATASETS)
    parser.add_argument("--metrics", nargs="+", default=["popularity"])
    parser.add_argument("--retrainings", type=int, default=0, help="seeds of each training that is compared")
    parser.add_argument("--budget", type=float, default=BUDGET)
    parser.add_argument("--most", type=float, default=MOST)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    home, rows = prepared(arguments.dataset), list[Row]()
    tables = earlier("debias")
    usual = arguments.budget == BUDGET
    table = arguments.dataset if usual else f"{arguments.dataset}, budget {arguments.budget:.0%}"
    trainings = Trainings(home, range(1, arguments.retrainings + 1), arguments.workers)
    with opened(home) as builder:
        field = Field(builder, arguments.budget, arguments.most, arguments.rounds)
        for name in arguments.metrics:
            for row in rows_of(field, name, trainings):
                rows.append(row)
                write_results("debias", rows, SEED, {**tables, table: rows})


if __name__ == "__main__":
    main()
