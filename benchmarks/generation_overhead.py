"""What the LLM costs a request beside its forward pass.

On MovieLens 100K with a compact generator: the same people are answered without the LLM, with it, and the model alone
is asked the very questions that the pipeline asks. The overhead of a request is what it took with the LLM, less what
it took without, less the forward pass alone: evidence lines, the prompt, the wait for the model's thread, health checks
and fusion. Rounds are interleaved; the figures are medians over people and rounds.

Usage: ``python -m benchmarks.generation_overhead [--users 200] [--rounds 5] [--epochs 3]``
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from benchmarks.home import copied_home
from benchmarks.report import write_results
from demo.service import Commands
from rag_rec.domain import RecommendationRequest, Source
from rag_rec.engine.engine import Engine
from rag_rec.generators.causal_model import CausalModel
from rag_rec.generators.item_tokens import ItemTokenEncoder
from rag_rec.generators.language_model import LanguageModel, RankingOptions
from rag_rec.generators.passthrough import Passthrough
from rag_rec.generators.protocol import Encoded, Encoder, Prompt
from rag_rec.generators.spec import wanted
from rag_rec.recommend.gate import Gate
from rag_rec.recommend.opening import open_generator
from rag_rec.recommend.source import FixedRanking
from rag_rec.settings import Settings


def measured(settings: Settings, users: int, rounds: int) -> list[dict[str, object]]:
    """One row for the pipeline without the LLM, the forward pass alone, the pipeline with it, and the differences."""
    target = wanted(settings)
    assert target is not None  # noqa: S101 - a compact generator has just been built
    assert target.adapter is not None  # noqa: S101 - with an adapter
    opened = open_generator(settings, target)
    opened.backend.use_adapter(target.adapter)
    encoder = _Recorder(opened.encoder)
    asked = LanguageModel(encoder, opened.backend, RankingOptions(encoder.least_mass))
    without = Engine.open(settings, ranking=FixedRanking(Passthrough(), None))
    with_llm = Engine.open(settings, ranking=FixedRanking(asked, Gate(use=True, weight=1.0)))
    requests = [RecommendationRequest(f"{user}", k=10) for user in range(1, users + 1)]
    requests = [each for each in requests if with_llm.recommend(each).provenance.source is Source.FUSED]
    questions = list(encoder.questions)
    bare = CausalModel.open(target.model, torch.device("cpu"), torch.float32).with_adapter(target.adapter)
    times = np.array([_round(without, with_llm, bare, requests, questions) for _ in range(rounds)])
    without.close()
    with_llm.close()
    plain, forward, whole = np.moveaxis(times, 2, 0)
    named = {
        "without the LLM": plain,
        "forward pass alone": forward,
        "with the LLM": whole,
        "around the forward pass": whole - forward,
        "added by the LLM": whole - plain - forward,
    }
    return [_row(name, values) for name, values in named.items()]


class _Recorder(ItemTokenEncoder):
    """The same encoder; it keeps the questions that it wrote."""

    def __init__(self, encoder: Encoder) -> None:
        assert isinstance(encoder, ItemTokenEncoder)  # noqa: S101 - that of a compact generator
        super().__init__(encoder.vocabulary)
        self.questions: list[Encoded] = []

    def encode(self, prompt: Prompt, order: Sequence[int]) -> Encoded:
        written = super().encode(prompt, order)
        self.questions.append(written)
        return written


def _round(
    without: Engine,
    with_llm: Engine,
    bare: CausalModel,
    requests: Sequence[RecommendationRequest],
    questions: Sequence[Encoded],
) -> list[tuple[float, float, float]]:
    """Milliseconds of the three for each person, one after the other."""
    return [
        (_ms(without.recommend, request), _ms(bare.score, [question]), _ms(with_llm.recommend, request))
        for request, question in zip(requests, questions, strict=True)
    ]


def _ms(function: Callable[[Any], object], argument: object) -> float:
    started = time.perf_counter()
    function(argument)
    return (time.perf_counter() - started) * 1000


def _row(name: str, values: np.ndarray[Any, np.dtype[np.float64]]) -> dict[str, object]:
    by_person = np.median(values, axis=0)
    low, high = np.percentile(by_person, [5, 95])
    return {
        "name": name,
        "median ms": round(float(np.median(by_person)), 3),
        "5 to 95 % of people ms": [round(float(low), 3), round(float(high), 3)],
        "by round ms": [round(float(np.median(each)), 3) for each in values],
    }


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=200, help="people asked")
    parser.add_argument("--rounds", type=int, default=5, help="rounds")
    parser.add_argument("--epochs", type=int, default=3, help="epochs of training; accuracy is not measured here")
    arguments = parser.parse_args()
    with copied_home("ml-100k") as home:
        Commands(home, {}).run("compact", "build", "--epochs", str(arguments.epochs), "--device", "cpu")
        rows = measured(Settings(home=home, generator="local"), arguments.users, arguments.rounds)
    write_results("generation_overhead", rows, seed=0)


if __name__ == "__main__":
    main()
