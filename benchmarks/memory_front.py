"""Ways to train the compact generator's adapter so that it remembers less of people: accuracy against memory.

Half of the people are members. Every way is measured by what it reaches on members and on outsiders, and by attacks
that tell the ones from the others, with reference adapters that are trained in the same way. Accuracy is that of
validation answers; the test answers are not looked at.

Trainings are kept in the system's folder for temporary files, where ``benchmarks.unlearn`` keeps its own: an
interrupted run goes on where it was. Rows are written after each way of each draw; with ``--keep`` those that are
there are not measured again.

Usage: ``python -m benchmarks.memory_front [--dataset ml-100k] [--seeds 3] [--ways NAME ...] [--keep]``
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, Final

import numpy as np
import torch

from benchmarks.data import NAMES as DATASETS
from benchmarks.data import item_vectors, read_or_exit
from benchmarks.methods.compact_model import catalogue_base
from benchmarks.methods.distilled_case import DistilledCase, Teaching
from benchmarks.methods.memory_audit import ATTACKS, MemoryAudit, Row
from benchmarks.methods.unlearning_case import Case
from benchmarks.methods.validation import Validation
from benchmarks.report import earlier, write_results
from rag_rec.compact.base import BaseSettings
from rag_rec.compact.training import AdapterSettings
from rag_rec.evaluation.audit.attacks import LIKELIHOOD, RMIA

SPREAD: Final = ("change of ndcg@10", f"auc, {LIKELIHOOD}", f"auc, {RMIA}")
"""Of these the least and the greatest of the draws stand beside the mean."""


@dataclass(frozen=True, slots=True)
class Way:
    """A way to train.

    Attributes:
        settings: fields of :class:`AdapterSettings` that are not the default.
        rank: that the trained adapter is cut to; None leaves it whole.
        teaching: by whom the student of a distillation is taught; None for an ordinary training.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    rank: int | None = None
    teaching: Teaching | None = None

    def case(self, plain: Case) -> Case:
        """The same draw, trained in this way."""
        settings = replace(plain.settings, **self.settings)
        if self.teaching is None:
            return replace(plain, settings=settings)
        return DistilledCase.taught_by(replace(plain, settings=settings), self.teaching)


PLAIN: Final = "plain"
DISTILLED: Final = "split and distil, 2 parts"
PASSED_ON: Final = ("one part read: people read", "one part read: people of the teacher")
FORGETFUL: Final = 16
"""Rank of teachers that are to remember little: what is beyond it is more of single people than of all."""


def teaching(parts: int) -> Teaching:
    """Each teacher learns from its own part, in as many steps as a training on all, and is cut to a low rank."""
    return Teaching(parts, own=True, settings=AdapterSettings(batch=64 // parts, dropout=0.5), rank=FORGETFUL)


WAYS: Final[Mapping[str, Way]] = {
    PLAIN: Way(),
    "rank 32": Way(rank=32),
    "rank 8": Way(rank=8),
    "rank 4": Way(rank=4),
    "early stopping, 10 epochs": Way({"epochs": 10}),
    "early stopping, 5 epochs": Way({"epochs": 5}),
    "dropout .5": Way({"dropout": 0.5}),
    "dropout .5, rank 32": Way({"dropout": 0.5}, rank=32),
    "dropout .5, rank 8": Way({"dropout": 0.5}, rank=8),
    "dropout .5, rank 4": Way({"dropout": 0.5}, rank=4),
    DISTILLED: Way(teaching=Teaching(2)),
    "split and distil, 2 parts, teachers of rank 16": Way({"epochs": 10}, teaching=teaching(2)),
    "split and distil, 4 parts, teachers of rank 16": Way({"epochs": 10}, teaching=teaching(4)),
}


@dataclass(frozen=True)
class Draw:
    """One draw of people, with what all ways share."""

    plain: Case  # its members and its references are those of ``benchmarks.unlearn``
    validation: Validation | None = None
    attacks: Sequence[str] = ATTACKS

    def rows(self, ways: Mapping[str, Way]) -> Iterator[Row]:
        """A row for each way."""
        against = MemoryAudit(self.plain)
        for name, way in ways.items():
            audit = MemoryAudit(way.case(self.plain), way.rank, self.attacks)
            yield {"name": name, "seed": self.plain.seed, **audit.row(against, self.validation)}

    def passed_on(self) -> Iterator[Row]:
        """What a student remembers that read one of two parts: of these people, and of those whom its teacher saw."""
        audit = MemoryAudit(WAYS[DISTILLED].case(self.plain), attacks=self.attacks)
        for name, row in zip(PASSED_ON, audit.passed_on(), strict=True):
            yield {"name": name, "seed": self.plain.seed, **row}


def summary(rows: Sequence[Row]) -> list[Row]:
    """Of each way the mean over the draws, the spread of some figures, and the draws themselves."""
    names = sorted({row["name"] for row in rows}, key=[*WAYS, *PASSED_ON].index)
    return [_mean(name, [row for row in rows if row["name"] == name]) for name in names]


def draws_of(found: Sequence[Mapping[str, Any]]) -> list[Row]:
    """The rows that a summary was made from, those of each seed together."""
    return sorted((draw for row in found for draw in row["draws"]), key=lambda draw: int(draw["seed"]))


def _mean(name: str, draws: list[Row]) -> Row:
    figures = [key for key, value in draws[0].items() if isinstance(value, float) and all(key in row for row in draws)]
    row: Row = {"name": name, "seeds": len(draws)}
    for key in figures:
        values = [draw[key] for draw in draws]
        row[key] = round(float(np.mean(values)), 4)
        if key in SPREAD:
            row |= {f"{key}, from": round(min(values), 4), f"{key}, to": round(max(values), 4)}
    return {**row, "draws": draws}


def main() -> None:
    """Run the benchmark."""
    arguments = _arguments()
    torch.set_num_threads(1)
    benchmark = read_or_exit(arguments.dataset)
    vectors = item_vectors(benchmark.texts)
    base, validation = catalogue_base(benchmark, vectors, BaseSettings()), Validation(benchmark, vectors)
    ways = {name: WAYS[name] for name in WAYS if name in arguments.ways}
    attacks = [name for name in ATTACKS if name != RMIA or not arguments.without_references]
    rows = draws_of(earlier("memory_front", DATASETS).get(benchmark.name, [])) if arguments.keep else []
    for seed in range(arguments.seeds):
        known = {row["name"] for row in rows if row["seed"] == seed}
        left = {name: way for name, way in ways.items() if name not in known}
        draw = Draw(Case(benchmark, base, 0, 0, seed), validation, attacks)
        more = draw.passed_on() if DISTILLED in ways and PASSED_ON[0] not in known else ()
        for row in chain(draw.rows(left), more):
            sys.stderr.write(f"{row}\n")
            rows.append(row)
            _write(benchmark.name, rows)


def _write(dataset: str, rows: Sequence[Row]) -> None:
    found = summary(rows)
    write_results("memory_front", found, 0, {**earlier("memory_front", DATASETS), dataset: found})


def _arguments() -> Any:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="ml-100k", choices=DATASETS)
    parser.add_argument("--seeds", type=int, default=3, help="draws of people")
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS), metavar="NAME", help="of training")
    parser.add_argument("--keep", action="store_true", help="keep the rows that are there, and add the others")
    parser.add_argument("--without-references", action="store_true", help="leave rmia out: no reference is trained")
    return parser.parse_args()


if __name__ == "__main__":
    main()
