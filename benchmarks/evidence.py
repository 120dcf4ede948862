"""Time to choose evidence, which is spent on every request: ``python -m benchmarks.evidence``.

Simulated histories: unit vectors around 24 interests (cosines like those of item texts), ratings, and rows of 8 to 24
tokens under the default budget. One thread. The approximation row compares what diversity covers with its upper bound.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped, unused-ignore]

from benchmarks.report import without_options, write_results
from rag_rec.domain import Strategy
from rag_rec.evidence import EvidenceStrategy, Memory, strategy
from rag_rec.evidence.diversity import coverage, upper_bound
from rag_rec.settings import Settings

SEED = 0
DIMENSION = 384
INTERESTS = 24
CANDIDATES = 50
SIZES = (20, 100, 500, 2000)
REPEATS = 200


def memory(rows: int, rng: np.random.Generator) -> Memory:
    """A simulated history with ``rows`` rows."""
    centers = _unit(rng.standard_normal((INTERESTS, DIMENSION)) + 0.7)
    clusters = rng.integers(0, INTERESTS, rows, dtype=np.int32)
    vectors = _unit(centers[clusters] + 0.06 * rng.standard_normal((rows, DIMENSION)))
    return Memory(
        vectors=vectors.astype(np.float32),
        weights=rng.integers(1, 6, rows) / 5.0,
        times=np.sort(rng.integers(0, 10**12, rows)),
        tokens=rng.integers(8, 25, rows, dtype=np.int32),
        clusters=clusters,
    )


def measure(name: Strategy, rows: int, budget: int) -> dict[str, object]:
    """Median and 99th percentile of one strategy on histories of one size."""
    rng = np.random.default_rng(SEED)
    memories = [memory(rows, rng) for _ in range(10)]
    candidates = memory(CANDIDATES, rng).vectors
    chosen = strategy(name)
    times = [_milliseconds(partial(chosen.select, memories[i % 10], candidates, budget)) for i in range(REPEATS)]
    row: dict[str, object] = {
        "name": f"{name}-{rows}",
        "rows": rows,
        "budget_tokens": budget,
        "p50_ms": round(float(np.percentile(times, 50)), 3),
        "p99_ms": round(float(np.percentile(times, 99)), 3),
    }
    if name is Strategy.DIVERSITY:
        row["coverage_of_upper_bound"] = round(_guarantee(memories[0], chosen, budget), 4)
    return row


def _guarantee(history: Memory, chosen: EvidenceStrategy, budget: int) -> float:
    rows = chosen.select(history, history.vectors[:0], budget)
    return coverage(history, rows) / upper_bound(history, rows, budget)


def _milliseconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1e3


def _unit(vectors: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def main() -> None:
    """Measure every strategy at every size and write the results."""
    without_options(__doc__)
    budget = Settings().evidence_tokens
    with threadpool_limits(limits=1):
        rows = [measure(name, size, budget) for name in Strategy for size in SIZES]
    write_results("evidence", rows, SEED)


if __name__ == "__main__":
    main()
