"""The same prompts through ``local.py`` and through a real vLLM server on a CPU, in float32: how far answers differ.

The model has the shape of the compact generator for MovieLens 1M and random weights; so have its two adapters, which
change every linear layer, the embeddings and the head. They are swapped while both run. The speed is information only:
it is that of a model of a million parameters, on whatever else the machine does. Needs ``make vllm``.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np

from benchmarks.report import Row, write_results
from rag_rec.generators.local import LocalBackend
from rag_rec.generators.protocol import Backend, Encoded, Floats
from rag_rec.generators.vllm import VllmBackend
from tests.rag_rec.generators.models import SPECIALS, tiny_adapter, tiny_item_model
from tests.rag_rec.generators.real_vllm import running_vllm, vllm_python

SEED = 0
ITEMS = 3_706  # of MovieLens 1M
WIDTH = 128
CONTEXT = 256  # tokens
LABELS = 50
STATES = ("base", "adapter a", "adapter b", "adapter a again", "base again")


@dataclass(frozen=True)
class Models:
    """Folders of a model and of the adapter that answers in each of :data:`STATES`."""

    base: Path
    adapters: tuple[Path | None, ...]


def main() -> None:
    """Measure and write ``benchmarks/results/generator_parity.json``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--prompts", type=int, default=200)
    prompts = parser.parse_args().prompts
    python = vllm_python()
    if python is None:
        raise SystemExit("vLLM is not installed: run `make vllm`, or name an interpreter in RAGREC_VLLM_PYTHON.")
    with tempfile.TemporaryDirectory() as folder:
        models, log = _models(Path(folder)), Path(folder) / "engine.log"
        with running_vllm(python, models.base, "compact", log) as url:
            rows = _compare(models, url, _questions(prompts))
    print(write_results("generator_parity", rows, SEED))  # noqa: T201 - the command's result


def _models(folder: Path) -> Models:
    items = [f"<item_{number}>" for number in range(ITEMS)]
    base = tiny_item_model(folder / "base", items, SEED, WIDTH, CONTEXT)
    first, second = (
        tiny_adapter(base, folder / name, seed) for seed, name in enumerate(("a" * 32, "b" * 32), SEED + 1)
    )
    return Models(base, (None, first, second, first, None))


def _questions(count: int) -> list[Encoded]:
    """Prompts of 1 to 200 items, each with labels of its own."""
    draws = np.random.default_rng(SEED)
    items = np.arange(len(SPECIALS), len(SPECIALS) + ITEMS)
    return [
        Encoded(
            (0, *draws.choice(items, draws.integers(1, 201)).tolist()),
            tuple(draws.choice(items, LABELS, replace=False).tolist()),
        )
        for _ in range(count)
    ]


def _compare(models: Models, url: str, questions: Sequence[Encoded]) -> list[Row]:
    local, server = LocalBackend.open(models.base, device="cpu"), VllmBackend([url])
    try:
        return [_row(*state, local, server, questions) for state in zip(STATES, models.adapters, strict=True)]
    finally:
        local.close()
        server.close()


def _row(state: str, adapter: Path | None, local: Backend, server: Backend, questions: Sequence[Encoded]) -> Row:
    expected, local_seconds = _timed(local, adapter, questions)
    found, server_seconds = _timed(server, adapter, questions)
    difference = abs(np.concatenate(found) - np.concatenate(expected))
    return {
        "name": state,
        "prompts": len(questions),
        "labels": LABELS,
        "max_difference": float(difference.max()),
        "mean_difference": float(difference.mean()),
        "local_users_per_s": round(len(questions) / local_seconds, 1),
        "vllm_users_per_s": round(len(questions) / server_seconds, 1),
    }


def _timed(backend: Backend, adapter: Path | None, questions: Sequence[Encoded]) -> tuple[list[Floats], float]:
    """Answers and seconds, after a warm-up with the adapter."""
    backend.use_adapter(adapter)
    backend.label_log_probabilities(questions[:8], None)
    began = perf_counter()
    return backend.label_log_probabilities(questions, None), perf_counter() - began


if __name__ == "__main__":
    main()
