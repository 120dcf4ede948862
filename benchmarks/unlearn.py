"""People leave an adapter of the compact generator without a training: what is left of them, and what it costs.

Half of the people are members, of whom some are forgotten. Everything is held against retrainings without them
(:mod:`rag_rec.evaluation.audit`): the figures of a further retraining lie in a band, and each way is told how many of
its figures lie outside. The battery is tested in every run: one retraining is kept out of the bands and has to pass,
and the adapter from before the removal has to fail. Accuracy is that of validation answers; the test answers are not
looked at.

Two figures tell forgetting from suppression: the attack on those of the forgotten whom the original remembers most, and
the steps of descent after which the forgotten are known again, which are few where they were only covered. Shards are
exact by construction and have no verdict: their rows tell what they cost in accuracy, and what one person costs.

Trainings are kept in the system's folder for temporary files: an interrupted run goes on where it was.

Usage: ``python -m benchmarks.unlearn [--dataset ml-100k] [--seeds 3] [--forgotten 0.05] [--retrainings 6]``

A number of ``--people``, and a set of ``--cure4rec``, have a table of their own.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from typing import Any, Final

import numpy as np
import torch

from benchmarks.data import FORGET_SETS, Benchmark, forget_set, item_vectors, read_or_exit
from benchmarks.data import NAMES as DATASETS
from benchmarks.methods.compact_model import Trained, catalogue_base, untrained
from benchmarks.methods.unlearning_battery import Battery
from benchmarks.methods.unlearning_case import Case
from benchmarks.methods.unlearning_descents import ascent, further, label_flip, negative_preference
from benchmarks.methods.unlearning_influence import diagonal, influence, product, repaired, trusted
from benchmarks.methods.unlearning_relearning import steps_to_relearn
from benchmarks.methods.unlearning_shards import Shards, together
from benchmarks.methods.unlearning_teachers import bad_teacher, e2urec
from benchmarks.methods.validation import Validation
from benchmarks.report import earlier, write_results
from rag_rec.compact.base import Base, BaseSettings
from rag_rec.compact.stop import DRAWN, LENGTH
from rag_rec.errors import InvalidInput
from rag_rec.evaluation.audit.attacks import CALIBRATED, LIKELIHOOD, LISTS, MIN_K, RMIA
from rag_rec.evaluation.audit.battery import FORGOTTEN, OUTSIDERS, RETAINED, STRATA, View
from rag_rec.evaluation.bootstrap import interval
from rag_rec.influence.removal import Effort
from rag_rec.influence.vectors import norm

NOTHING: Final = "nothing"
RETRAIN: Final = "retrain, kept out"
NO_ADAPTER: Final = "no adapter"
EXACT: Final = "exact"
"""In the place of a verdict: the result is a training that never saw the people."""
ATTACKS: Final = (LIKELIHOOD, CALIBRATED, MIN_K, LISTS, RMIA)
LEFT_TO_DRAWS: Final = {"p", f"auc, {RMIA}, {STRATA[1]}"}
"""Figures of a draw whose mean is not in the summary."""
SURE: Final = 0.05
"""Below it a draw counts as nearer to the retrainings than the original."""
Row = dict[str, Any]
Way = Callable[[Case], Trained]

WAYS: Final[Mapping[str, Way]] = {
    "influence, damping 1e-2": partial(influence, effort=Effort(1e-2, 20, careful=False), drawn=DRAWN),
    "influence, damping 1e-3": partial(influence, effort=Effort(1e-3, 15, careful=False), drawn=DRAWN),
    "influence, damping 1e-4": partial(influence, effort=Effort(1e-4, 15, careful=False), drawn=DRAWN),
    **{
        f"influence, EK-FAC, damping {damping}": partial(diagonal, damping=float(damping))
        for damping in ("3e-2", "1e-2", "3e-3", "2e-3", "1e-3")
    },
    "influence, EK-FAC, 8 products, damping 1e-3": partial(product, damping=1e-3),
    "influence, preconditioned, damping 2 / steps": partial(product, share=LENGTH * 2.0, as_long=True),
    "influence, preconditioned, damping 3/2 / steps": partial(product, share=LENGTH * 1.5, as_long=True),
    "influence, preconditioned, damping 1 / steps": partial(product, share=LENGTH, as_long=True),
    "influence, shorter, damping 3/2 / steps": partial(product, share=LENGTH * 1.5),
    "influence, shorter, damping 4/3 / steps": product,
    "influence, shorter, damping 1 / steps": partial(product, share=LENGTH),
    "influence, careful": partial(influence, effort=Effort(1e-2, 10, rounds=4), drawn=DRAWN),
    "influence, repaired": partial(repaired, effort=Effort(1e-3, 15, careful=False), drawn=DRAWN),
    "influence, shortened": partial(trusted, effort=Effort(1e-3, 15, careful=False), drawn=DRAWN),
    "e2urec": e2urec,
    "one more epoch": partial(further, epochs=1),
    "gradient ascent": ascent,
    "NPO": negative_preference,
    "label flip": label_flip,
    "bad teacher": bad_teacher,
}
SHARDS: Final = ((2, 0), (4, 0), (8, 0), (4, 6), (8, 6))
"""How many shards there are, and how many epochs follow on everybody who stays."""
EPOCHS: Final = 10
SHORT: Final = f"retrain, {EPOCHS} epochs"
"""What shards have to be better than: they cost about as much when one person leaves."""
MOST_ASKED_APART: Final = 4
"""Shards whose adapters are also asked one by one: an answer takes as many passes."""
REQUESTS: Final = (1, 10)
"""How many people leave at once, besides all the forgotten."""


def rows_of(battery: Battery, ways: Mapping[str, Way], shards: Sequence[tuple[int, int]] = ()) -> Iterator[Row]:
    """What each way reaches on the draw of a battery, and so many shards with so many epochs together."""
    case = battery.case
    seconds = float(np.mean([each.seconds for each in case.without]))
    yield _row(NOTHING, battery, replace(case.original, seconds=0.0), battery.original)
    yield _row(NO_ADAPTER, battery, untrained(case.base))
    retrained = _row(RETRAIN, battery, replace(case.without[-1], seconds=seconds), battery.kept_out)
    yield retrained | {_requests(people): seconds for people in REQUESTS}
    for name, way in ways.items():
        try:
            yield _row(name, battery, way(case))
        except InvalidInput as refused:
            yield {"name": name, "seed": case.seed, "refused": str(refused)}
    if shards:
        yield _row(SHORT, battery, together(case, untrained(case.base), EPOCHS)) | {"passed": EXACT}
    for count, epochs in shards:
        yield from _shards_rows(battery, Shards(case, count, epochs))


def summary(name: str, rows: list[Row]) -> Row:
    """The mean over the draws; of the strongest attack also the least and the greatest; and the draws themselves."""
    done = [row for row in rows if "refused" not in row]
    if not done:
        return {"name": name, "seeds": len(rows), "refused": len(rows), "draws": rows}
    means = {
        key: round(float(np.mean([row[key] for row in done])), 4)
        for key, value in done[0].items()
        if isinstance(value, float) and key not in LEFT_TO_DRAWS
    }
    reached = [row[f"auc, {RMIA}"] for row in done]
    return {
        "name": name,
        "seeds": len(rows),
        "refused": len(rows) - len(done),
        "passed": EXACT if done[0]["passed"] == EXACT else sum(row["passed"] for row in done),
        "nearer": sum(row["p"] < SURE for row in done),
        **means,
        f"auc, {RMIA}, from": min(reached),
        f"auc, {RMIA}, to": max(reached),
        "draws": rows,
    }


def _shards_rows(battery: Battery, shards: Shards) -> Iterator[Row]:
    """The bands are those of plain retrainings and say nothing of shards, which are exact by construction."""
    name, made = f"shards, {shards.count} parts", shards.removed()
    if shards.together:
        name += f", {shards.together} epochs together"
    exact = {"passed": EXACT, **{_requests(people): shards.seconds(people) for people in REQUESTS}}
    yield _row(name, battery, made) | exact
    if shards.count <= MOST_ASKED_APART and not shards.together:
        again = sum(shards.after[place].seconds for place in shards.touched)
        yield _heard(f"{name}, each asked", battery, battery.view(*shards.after)) | {"cpu s": again, "passed": EXACT}


def _requests(people: int) -> str:
    return f"cpu s, {people} at once"


def _row(name: str, battery: Battery, made: Trained, view: View | None = None) -> Row:
    row = _heard(name, battery, battery.view(made) if view is None else view)
    steps = float(steps_to_relearn(battery.case, made))
    return row | {"steps to relearn": steps, "length": norm(made.deltas), "cpu s": made.seconds}


def _heard(name: str, battery: Battery, view: View) -> Row:
    """What there is to say of a view."""
    verdict, attacks, nearer = battery.verdict(view), battery.attacks(view), battery.nearer(view)
    away = {check.name: check.band.away(check.figure) for check in verdict.checks}
    figure = {check.name: check.figure for check in verdict.checks}
    return {
        "name": name,
        "seed": battery.case.seed,
        "passed": verdict.passed,
        "outside": verdict.failed,
        **_accuracy(battery, view),
        **{f"auc, {each}": attacks[each].auc for each in ATTACKS},
        **{f"auc, {each}, interval": list(attacks[each].interval) for each in ATTACKS},
        **{f"auc, {RMIA}, {stratum}": found for stratum, found in battery.strata(view).items()},
        "found at 1 % false alarms": attacks[RMIA].found,
        "found at 1 % false alarms, interval": list(attacks[RMIA].found_interval),
        "jsd, forgotten": figure[f"divergence, {FORGOTTEN}"],
        "jsd, deviations away": away[f"divergence, {FORGOTTEN}"],
        "jsd, retained": figure[f"divergence, {RETAINED}"],
        "overlap of lists, retained": figure["overlap of lists, retained"],
        "change towards retrainings": nearer.change,
        "p": nearer.p,
    }


def _accuracy(battery: Battery, view: View) -> Row:
    row: Row = {}
    for group in (RETAINED, OUTSIDERS):
        gains = battery.gains(view, group)
        row[f"ndcg@10 {group}"] = float(gains.mean())
        row[f"ndcg@10 {group}, interval"] = list(interval(gains, battery.case.seed))
        if gate := battery.fused(view, group):
            row |= {f"ndcg@10 fused, {group}": gate.fused, f"fused gain, {group}, interval": list(gate.gain or ())}
    return row


def case_of(arguments: Any, benchmark: Benchmark, base: Base, seed: int) -> Case:
    """A draw in which a share of everybody is forgotten, or so many people, or those of a set of CURE4Rec.

    Of the people of a set those are forgotten who can be asked; the others have too few choices.
    """
    none = Case(benchmark, base, 0, arguments.retrainings, seed)
    if arguments.cure4rec:
        first = forget_set(arguments.cure4rec)
        return replace(none, first=first, forgotten=len(set(first) & set(none.ids)))
    return replace(none, forgotten=arguments.people or max(1, int(arguments.forgotten * len(none.histories))))


def table_of(arguments: Any) -> str:
    """The name of the table that the rows belong to: that of the data set, unless other people are forgotten."""
    if arguments.cure4rec:
        return f"{arguments.dataset}, {arguments.cure4rec} of CURE4Rec"
    return f"{arguments.dataset}, {arguments.people} people" if arguments.people else str(arguments.dataset)


def main() -> None:
    """Run the benchmark; the rows are written after each draw."""
    arguments = _arguments()
    rows, draw = _kept(arguments) if arguments.keep else [], partial(_draw, arguments)
    with ProcessPoolExecutor(arguments.workers, get_context("spawn")) as workers:
        for found in workers.map(draw, range(arguments.seeds)):
            rows += found
            _write(table_of(arguments), rows)


def _kept(arguments: Any) -> list[Row]:
    """The draws of an earlier run by the ways that are not asked for now."""
    again = {NOTHING, NO_ADAPTER, RETRAIN, *arguments.ways}
    before = earlier("unlearn").get(table_of(arguments), [])
    return [draw for row in before if row["name"] not in again for draw in row["draws"]]


def _draw(arguments: Any, seed: int) -> list[Row]:
    """All rows of one draw."""
    torch.set_num_threads(1)
    benchmark = read_or_exit(arguments.dataset)
    vectors = item_vectors(benchmark.texts)
    base = catalogue_base(benchmark, vectors, BaseSettings())
    case, rows = case_of(arguments, benchmark, base, seed), list[Row]()
    people = {"forgotten": len(case.gone), "retained": len(case.retained), "outsiders": len(case.outsiders)}
    ways = {name: WAYS[name] for name in arguments.ways}
    drawn, validation = not arguments.retrainings_as_references, Validation(benchmark, vectors)
    for row in rows_of(Battery(case, drawn=drawn, validation=validation), ways, SHARDS[: arguments.shards]):
        sys.stderr.write(f"{row}\n")
        rows.append(row | people)
    return rows


def _write(table: str, rows: list[Row]) -> None:
    known = [NOTHING, NO_ADAPTER, RETRAIN, *WAYS]
    names = sorted(dict.fromkeys(row["name"] for row in rows), key=lambda name: (*known, name).index(name))
    found = [summary(name, [row for row in rows if row["name"] == name]) for name in names]
    people = {name: rows[0][name] for name in ("forgotten", "retained", "outsiders")}
    found = [{**row, **people} for row in found]
    write_results("unlearn", found, 0, {**earlier("unlearn"), table: found})


def _arguments() -> Any:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="ml-100k", choices=DATASETS)
    parser.add_argument("--seeds", type=int, default=3, help="draws of people")
    gone = parser.add_mutually_exclusive_group()
    gone.add_argument("--forgotten", type=float, default=0.05, help="share of everybody that is forgotten")
    gone.add_argument("--people", type=int, help="who are forgotten, by their number in place of their share")
    gone.add_argument("--cure4rec", choices=FORGET_SETS, help="forget those of this set, of ml-100k")
    parser.add_argument("--workers", type=int, default=1, help="draws that are made at the same time")
    parser.add_argument("--retrainings", type=int, default=6, help="of which one is kept out of the bands")
    parser.add_argument("--ways", nargs="*", default=list(WAYS), choices=list(WAYS), metavar="NAME", help="of removal")
    parser.add_argument("--keep", action="store_true", help="keep the rows of other ways that are there")
    parser.add_argument("--shards", type=int, default=len(SHARDS), help="the first so many settings of shards")
    parser.add_argument(
        "--retrainings-as-references",
        action="store_true",
        help="let rmia compare with the retrainings: no adapter of another draw is trained",
    )
    arguments = parser.parse_args()
    if arguments.cure4rec and arguments.dataset != "ml-100k":
        parser.error("the sets of CURE4Rec are of ml-100k")
    return arguments


if __name__ == "__main__":
    main()
