"""How often the gate opens, by what the LLM is worth and by how many people are asked, in simulation.

An LLM that adds nothing must be kept out; one that helps should be let in. The rule in use opens where the whole 95 %
interval of the gain lies above zero; the rule beside it, for comparison, is that of earlier versions: where the mean
gain does.

Usage: ``python -m benchmarks.gate_power [--runs 400]``
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from typing import Final

import numpy as np

from benchmarks.methods.simulated_opinions import Opinion, simulated
from benchmarks.report import write_results
from rag_rec.recommend.fusion import Trials, cautious_weight, fit_gate, gain_of

OPINIONS: Final = {
    "pure noise": Opinion(0.0, 0.0),
    "the candidates' opinion, less well": Opinion(0.96, 0.6),
    "helps a little": Opinion(1.25, 0.6),
    "helps": Opinion(1.37, 0.6),
    "helps much": Opinion(1.5, 0.6),
}
PEOPLE: Final = (100, 400, 1000, 2500)
POPULATION: Final = 40_000
"""People on whom the true gain is taken."""
Row = dict[str, object]


def rows_of(name: str, opinion: Opinion, runs: int) -> Iterator[Row]:
    """One row for each number of people."""
    everybody = simulated(opinion, POPULATION, seed=10**6)
    base = gain_of(everybody.candidates, everybody.answers).mean()
    fused = gain_of(everybody.fused(cautious_weight(everybody)), everybody.answers).mean()
    for people in PEOPLE:
        samples = [simulated(opinion, people, run) for run in range(runs)]
        gates = [fit_gate(trials, run) for run, trials in enumerate(samples)]
        by_mean = [opened_by_the_mean(trials, run) for run, trials in enumerate(samples)]
        yield {
            "name": name,
            "true gain": round(float(fused / base - 1), 4),
            "people": people,
            "open": round(float(np.mean([gate.use for gate in gates])), 4),
            "open, by the mean alone": round(float(np.mean(by_mean)), 4),
            "median weight": float(np.median([gate.weight for gate in gates])),
            "runs": runs,
        }


def opened_by_the_mean(trials: Trials, seed: int) -> bool:
    """The rule of earlier versions: each half is judged by the likeliest weight of the other, and the mean decides."""
    people = np.random.default_rng(seed).permutation(len(trials.answers))
    gains = np.zeros(len(people))
    for judged, chosen in ((people[::2], people[1::2]), (people[1::2], people[::2])):
        part = trials.part(judged)
        fused = part.fused(cautious_weight(trials.part(chosen), caution=0.0))
        gains[judged] = gain_of(fused, part.answers) - gain_of(part.candidates, part.answers)
    return bool(gains.mean() > 0)


def main() -> None:
    """Run the simulation and write its rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=400, help="simulated gates in each cell")
    arguments = parser.parse_args()
    rows: list[Row] = []
    for name, opinion in OPINIONS.items():
        for row in rows_of(name, opinion, arguments.runs):
            sys.stderr.write(f"{row}\n")
            rows.append(row)
    write_results("gate_power", rows, seed=0)


if __name__ == "__main__":
    main()
