"""Removals by influence beyond a group at once: one person, requests in a row, one category, and the others' lists.

*Requests in a row*: a person leaves with each request, by a step of the product from the adapter in use. Once nothing
else happens, and once the product's meter has the adapter trained again whenever the budget is spent. Between its
trainings the meter's adapter does not depend on what was before: only what leads to a checkpoint is made, and the
seconds of the rest are those of the mean. The trial that the product makes before each step, and at which it may
refuse, is not made.

*Alone*: people are removed one at a time, each from the adapter that everybody is in. *One category*: people stay and
lose what they chose of one genre. *Collateral*: the lists of people who stay, by how alike they are to those who go.
All three are held against retrainings, of which one is kept out.

Accuracy is that of validation answers; the test answers are not looked at. Trainings and steps are kept in the system's
folder for temporary files: an interrupted run goes on where it was.

Usage: ``python -m benchmarks.unlearn_series [--parts series alone category collateral] [--requests 200] [--seeds 3]``
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

import numpy as np
import torch

from benchmarks.data import item_vectors, read_or_exit
from benchmarks.methods.compact_model import Items, Trained, catalogue_base
from benchmarks.methods.unlearning_alone import Alone
from benchmarks.methods.unlearning_case import Case
from benchmarks.methods.unlearning_category import Category, Examination, genres_of
from benchmarks.methods.unlearning_collateral import Collateral
from benchmarks.methods.unlearning_newton import WEIGHED, Start, newton, preconditioned, stop_of
from benchmarks.methods.unlearning_series import Series, Watched, Way, timed, trained_last, trainings
from benchmarks.report import earlier, write_results
from rag_rec.compact.base import BaseSettings
from rag_rec.errors import InvalidInput
from rag_rec.evaluation.bootstrap import interval
from rag_rec.influence.removal import Effort

NOTHING: Final = "nothing"
RETRAIN: Final = "retrain, kept out"
CHECKPOINTS: Final = (1, 4, 5, 10, 25, 50, 100, 150, 200)
"""At 4 the first budget of 469 people is spent, and at 5 the meter has the adapter trained for the first time."""
REFERENCES: Final = 2
"""Trainings without all who go, for RMIA."""
RETRAININGS: Final = 4
"""Of which one is kept out."""
DATASETS: Final = ("ml-100k", "ml-1m")
"""Those whose texts name genres."""
WAYS: Final[Mapping[str, Way]] = {
    "influence, damping 1e-2": partial(newton, effort=Effort(1e-2, 20)),
    "influence, damping 1e-3": partial(newton, effort=Effort(1e-3, 15)),
    "influence, damping 1e-4": partial(newton, effort=Effort(1e-4, 15)),
    "influence, shorter, damping 4/3 / steps": preconditioned,
}
PRODUCT: Final = "influence, shorter, damping 4/3 / steps"
PARTS: Final = ("series", "alone", "category", "collateral")
ALONE: Final = 20
"""People who are removed one at a time."""
Row = dict[str, Any]


def series_rows(case: Case, ways: Mapping[str, Way], checkpoints: Sequence[int] = CHECKPOINTS) -> Iterator[Row]:
    """What each way leaves after so many requests, without the meter and with it.

    The forgotten of the draw may be more than leave: the references of RMIA did not see them either.
    """
    watched, reached = Watched(case), [count for count in checkpoints if count <= case.forgotten]
    yield {"name": NOTHING, "seed": case.seed, **_watched(watched, case.original, case.forgotten)}
    for name, way in ways.items():
        series = Series(case, way, name)
        yield from _unmetered(series, watched, reached)
        yield from _metered(series, watched, reached)


def alone_rows(case: Case, ways: Mapping[str, Way], people: int = ALONE) -> Iterator[Row]:
    """What is left of people who are removed one at a time, and what their removals cost on the mean."""
    alone = Alone(case, people, stop_of(case, case.members, case.original.deltas))
    about = {"seed": case.seed, "people": len(alone.requests), "members": len(case.members)}
    same = {NOTHING: replace(case.original, seconds=0.0), RETRAIN: case.without[-1]}
    for name in (*same, *ways):
        try:
            made = [same[name]] * len(alone.requests) if name in same else alone.removed(ways[name], name)
        except InvalidInput as refused:
            yield {"name": name, **about, "refused": str(refused)}
            continue
        seconds = float(np.mean([each.seconds for each in made]))
        yield {"name": name, **about, **alone.row(alone.told(made)), "cpu s": seconds}


def category_rows(case: Case, ways: Mapping[str, Way]) -> Iterator[Row]:
    """What is left of a genre after nothing, a retraining, and each way."""
    category = Category(case, genres_of(case.benchmark.texts))
    examination = Examination(category)
    share = float(np.mean([category.of_genre(person, genre).mean() for person, genre in category.lost.items()]))
    about = {"seed": case.seed, "people": len(category.people), "share of their choices": share}
    start = _start(case, category.trimmed, case.members)
    for name, made in _made(start, category.without[-1], ways, "category"):
        yield {"name": name, **about, **examination.row(examination.view(made)), "cpu s": made.seconds}


def collateral_rows(case: Case, ways: Mapping[str, Way]) -> Iterator[Row]:
    """What each way does to the lists of those who stay."""
    collateral, about = Collateral(case), {"seed": case.seed, "retained": len(case.retained)}
    for name, made in _made(_start(case, case, case.retained), case.without[-1], ways, "people"):
        yield {"name": name, **about, **collateral.row(collateral.alike(made)), "cpu s": made.seconds}


def summary(rows: Sequence[Row]) -> list[Row]:
    """A row for each name: of several draws the means, and the draws themselves; of one draw the draw itself."""
    found = []
    for name in dict.fromkeys(row["name"] for row in rows):
        draws = [row for row in rows if row["name"] == name]
        done = [row for row in draws if "refused" not in row]
        if len(draws) == 1 or not done:
            found.append({"name": name, "seeds": len(draws), **{k: v for k, v in draws[0].items() if k != "seed"}})
            continue
        means = {
            key: round(float(np.mean([row[key] for row in done])), 4)
            for key, value in done[0].items()
            if isinstance(value, int | float) and key != "seed"
        }
        found.append({"name": name, "seeds": len(draws), "refused": len(draws) - len(done), **means, "draws": draws})
    return found


def _unmetered(series: Series, watched: Watched, reached: Sequence[int]) -> Iterator[Row]:
    spent, made = 0.0, 0
    for count in reached:
        name = f"{series.name}, {count} requests"
        try:
            spent += sum(series.after(request).seconds for request in range(made + 1, count + 1))
        except InvalidInput as refused:
            yield {"name": name, "seed": series.case.seed, "refused": str(refused)}
            return
        made = count
        yield {"name": name, "seed": series.case.seed, **_watched(watched, series.after(count), count), "cpu s": spent}


def _metered(series: Series, watched: Watched, reached: Sequence[int]) -> Iterator[Row]:
    """The seconds are the mean of a training for each training, and the mean of a step for each other request."""
    people, steps, trained = len(series.case.members), list[float](), list[float]()
    for count in reached:
        name, since = f"{series.name}, metered, {count} requests", trained_last(people, count)
        trained += [series.after(since, since).seconds] * (since > 0)
        try:
            steps += [series.after(request, since).seconds for request in range(since + 1, count + 1)]
        except InvalidInput as refused:
            yield {"name": name, "seed": series.case.seed, "refused": str(refused)}
            continue
        again = trainings(people, count)
        spent = again * float(np.mean(trained or [0.0])) + (count - again) * float(np.mean(steps or [0.0]))
        row = _watched(watched, series.after(count, since), count)
        about = {"trainings": again, "steps since": count - since, "cpu s": spent}
        yield {"name": name, "seed": series.case.seed, **row, **about}


def _watched(watched: Watched, made: Trained, requests: int) -> Row:
    likelihood, case = watched.likelihood(made), watched.case
    lost = (watched.original - likelihood)[len(case.requests) :]
    row: Row = {"requests": requests, "stay": len(case.retained), "outsiders": len(case.outsiders)}
    for group, people in (("stay", case.retained), ("outsiders", case.outsiders)):
        gains = watched.gains(made, people)
        row |= {f"ndcg@10 {group}": float(gains.mean())}
        row |= {f"ndcg@10 {group}, interval": list(interval(gains, case.seed))}
    before = watched.attacks(watched.original, requests)
    for name, found in watched.attacks(likelihood, requests).items():
        row |= {f"auc, {name}, before": before[name].auc, f"auc, {name}": found.auc}
        row |= {f"auc, {name}, interval": list(found.interval)} if requests > 1 else {}
    return row | {"outsiders' choices, nats lost": float(lost.mean())}


def _start(case: Case, left: Case, people: Items) -> Start:
    """Where a removal from the original starts, with what is left of some people."""
    deltas = case.original.deltas
    return Start(left, people, deltas, stop_of(case, case.members, deltas))


def _made(start: Start, kept_out: Trained, ways: Mapping[str, Way], what: str) -> Iterator[tuple[str, Trained]]:
    case = start.case
    settings = replace(case.settings, seed=case.seed)
    yield NOTHING, Trained(case.base, start.deltas, 0.0)
    yield RETRAIN, kept_out
    for name, way in ways.items():
        fresh = Start(start.case, start.people, start.deltas, start.stop)  # nothing that another way read is held
        make = partial(timed, way, fresh)
        yield name, case.kept_or_made(start.people, settings, make, "step", WEIGHED, what, name)


def main() -> None:
    """Run the parts; what there is is written after each row."""
    arguments = _arguments()
    torch.set_num_threads(1)
    benchmark = read_or_exit(arguments.dataset)
    base = catalogue_base(benchmark, item_vectors(benchmark.texts), BaseSettings())
    people = len(Case(benchmark, base, 0, RETRAININGS, 0).histories)
    forgotten = max(1, int(arguments.forgotten * people))
    checkpoints = [count for count in CHECKPOINTS if count <= arguments.requests]
    going, ways = max(arguments.requests, forgotten), {name: WAYS[name] for name in arguments.ways or WAYS}
    asked_again = {name: WAYS[name] for name in arguments.ways or [PRODUCT]}
    asked: dict[str, tuple[int, int, Callable[[Case], Iterator[Row]]]] = {
        "collateral": (forgotten, RETRAININGS, lambda case: collateral_rows(case, ways)),
        "alone": (forgotten, RETRAININGS, lambda case: alone_rows(case, asked_again, arguments.alone)),
        "category": (forgotten, RETRAININGS, lambda case: category_rows(case, ways)),
        "series": (going, REFERENCES, lambda case: series_rows(case, asked_again, checkpoints)),
    }
    for part in arguments.parts:
        gone, retrainings, rows_of = asked[part]
        rows = list[Row]()
        for seed in range(arguments.seeds):
            for row in rows_of(Case(benchmark, base, gone, retrainings, seed)):
                sys.stderr.write(f"{row}\n")
                rows.append(row)
                _write(f"{arguments.dataset}, {part}", summary(rows))


def _write(part: str, rows: list[Row]) -> None:
    parts = [f"{dataset}, {name}" for dataset in DATASETS for name in PARTS]
    write_results("unlearn_series", rows, 0, {**earlier("unlearn_series", parts), part: rows})


def _arguments() -> Any:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="ml-100k", choices=DATASETS)
    parser.add_argument("--parts", nargs="+", default=PARTS, choices=PARTS)
    parser.add_argument(
        "--ways", nargs="+", choices=WAYS, help="all; of requests in a row and people alone, that of the product"
    )
    parser.add_argument("--requests", type=int, default=CHECKPOINTS[-1], help="in a row")
    parser.add_argument("--alone", type=int, default=ALONE, help="people who are removed one at a time")
    parser.add_argument("--forgotten", type=float, default=0.05, help="share of everybody, in the other parts")
    parser.add_argument("--seeds", type=int, default=3, help="draws of people")
    return parser.parse_args()


if __name__ == "__main__":
    main()
