"""How long a rebuild takes, stage by stage, and how long statistics and a start take, on ML-1M.

``python -m benchmarks.rebuild`` builds a copy of the prepared system afresh.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from benchmarks.home import copied_home
from benchmarks.report import Row, without_options, write_results
from indexer.build import Builder
from rag_rec.candidates.statistics import Statistics
from rag_rec.engine.engine import Engine
from rag_rec.index.generation import Generations
from rag_rec.settings import Settings
from rag_rec.store import open_store
from rag_rec.vectors.embedding import open_embedder

REPETITIONS = 3


class StageClock:
    """A build's progress that notes the seconds and the steps of each stage."""

    def __init__(self) -> None:
        self.stages: list[tuple[str, int, float]] = []

    def stage(self, name: str, total: int) -> None:
        """A stage begins."""
        self.stages.append((name, total, time.perf_counter()))

    def advance(self, steps: int) -> None:
        """Nothing to note."""

    def rows(self, ended: float) -> list[Row]:
        """A row for each stage."""
        starts = [started for _, _, started in self.stages]
        lasted = [after - before for before, after in zip(starts, [*starts[1:], ended], strict=True)]
        return [_stage_row(name, total, seconds) for (name, total, _), seconds in zip(self.stages, lasted, strict=True)]


def _stage_row(name: str, total: int, seconds: float) -> Row:
    row = {"name": f"rebuild: {name}", "seconds": round(seconds, 3)}
    return {**row, "texts": total, "texts_per_s": round(total / seconds, 1)} if name == "item vectors" else row


def rebuild(settings: Settings) -> list[Row]:
    """Build everything afresh."""
    store, clock = open_store(settings.database_url), StageClock()
    embedder = open_embedder(settings.embedding_model, settings.embedding_threads)
    embedder.embed(["load the model before the clock runs"])
    started = time.perf_counter()
    Builder(store, Generations(settings.generations), settings, embedder, clock).build(fresh=True)
    ended = time.perf_counter()
    store.close()
    return [{"name": "rebuild", "seconds": round(ended - started, 3)}, *clock.rows(ended)]


def median_seconds(action: Callable[[], object]) -> dict[str, object]:
    """Median and all durations of an action."""
    seconds = []
    for _ in range(REPETITIONS):
        started = time.perf_counter()
        action()
        seconds.append(round(time.perf_counter() - started, 3))
    return {"seconds": statistics.median(seconds), "seconds_of_each": seconds}


def loading(settings: Settings) -> list[Row]:
    """Start of an engine, and of that the statistics."""
    engine = Engine.open(settings)
    positives = [(user, engine.live.positives(history)) for user, history in engine.live.people.histories()]
    count = len(engine.live.items)
    engine.close()
    return [
        {"name": "statistics", **median_seconds(lambda: Statistics.build(positives, count, dense=True))},
        {"name": "engine start", **median_seconds(lambda: Engine.open(settings).close())},
    ]


def main() -> None:
    """Measure and write the results."""
    without_options(__doc__)
    with copied_home("ml-1m") as home:
        settings = Settings(home=home)
        rows = rebuild(settings) + loading(settings)
    print(write_results("rebuild", rows, settings.seed))  # noqa: T201 - a script


if __name__ == "__main__":
    main()
