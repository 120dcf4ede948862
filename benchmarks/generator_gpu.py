"""Users per second on a GPU, for architectures of Qwen3 with random weights: ``python -m benchmarks.generator_gpu``.

Speed does not depend on the values of weights, so none are downloaded. The engine is vLLM where it is installed, and
this project's local backend otherwise. Every row stands beside its arithmetic ceiling: the multiplications of one
forward pass at the peak of the GPU.

``--dry-run`` needs no GPU: it runs the same code on a shrunken model and writes the arithmetic of the real ones. A row
that was not measured says so.
"""

from __future__ import annotations

import argparse
import importlib.util
import multiprocessing
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, Qwen3Config

from benchmarks.methods import json_scores
from benchmarks.random_models import Size, instruction_model
from benchmarks.report import Row, write_results
from benchmarks.rounds import Contender, take_rounds
from benchmarks.simulated_prompts import catalogue, prompts
from rag_rec.generators.causal_model import CausalModel
from rag_rec.generators.letters import LetterEncoder
from rag_rec.generators.local import LocalBackend
from rag_rec.generators.prompts import SYSTEM
from rag_rec.generators.protocol import Encoded

SEED = 0
VOCABULARY = 151_936
HEAD = 128
EVIDENCE = 20
SIZES = (20, 50)  # candidates
PEAK = 989.0  # TFLOP/s of an H100 or H200 in bfloat16 without sparsity, by the data sheet


@dataclass(frozen=True, slots=True)
class Architecture:
    """The dimensions of a Qwen3, by its public configuration."""

    name: str
    width: int
    inner: int
    layers: int
    heads: int
    key_value_heads: int = 8
    tied: bool = True

    def config(self) -> Qwen3Config:
        """As transformers has it."""
        return Qwen3Config(
            vocab_size=VOCABULARY,
            hidden_size=self.width,
            intermediate_size=self.inner,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            num_key_value_heads=self.key_value_heads,
            head_dim=HEAD,
            max_position_embeddings=40_960,
            tie_word_embeddings=self.tied,
            architectures=["Qwen3ForCausalLM"],
            dtype="bfloat16",
        )

    @property
    def weights_of_layers(self) -> int:
        """Weights that every token is multiplied with."""
        attention = 2 * self.width * HEAD * (self.heads + self.key_value_heads)
        return self.layers * (attention + 3 * self.width * self.inner)

    @property
    def weights(self) -> int:
        """All weights but the norms'."""
        return self.weights_of_layers + (1 if self.tied else 2) * VOCABULARY * self.width

    def operations(self, tokens: int) -> float:
        """Floating point operations of one prompt: the layers, causal attention, and the head at the last position."""
        attention = 2 * self.layers * tokens**2 * self.heads * HEAD  # scores and values, half of the square each
        return 2.0 * self.weights_of_layers * tokens + attention + 2.0 * VOCABULARY * self.width


MODELS = (
    Architecture("Qwen3-0.6B", 1024, 3072, 28, 16),
    Architecture("Qwen3-1.7B", 2048, 6144, 28, 16),
    Architecture("Qwen3-4B", 2560, 9728, 36, 32),
    Architecture("Qwen3-8B", 4096, 12_288, 36, 32, tied=False),
)
SHRUNKEN = Architecture("shrunken", 64, 128, 2, 2, 1)


@dataclass(frozen=True, slots=True)
class Task:
    """What one process measures: prompts of each number of candidates, ``rounds`` times."""

    architecture: Architecture
    questions: dict[int, list[Encoded]]
    rounds: int
    most_batch: int


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write ``benchmarks/results/generator_gpu.json``."""
    options = _options(arguments)
    if not options.dry_run and not torch.cuda.is_available():
        sys.exit("There is no GPU here; --dry-run checks the code and writes the arithmetic.")
    questions = {count: _questions(count, options.users) for count in SIZES}
    measure = partial(_measured, questions=questions, options=options)
    rows = measure(SHRUNKEN) if options.dry_run else [row for model in MODELS for row in measure(model)]
    if options.dry_run:
        rows += [_row(model, questions[count], options) for model in MODELS for count in SIZES]
    print(write_results("generator_gpu", rows, SEED))  # noqa: T201 - the command's result


def _measured(
    architecture: Architecture, questions: dict[int, list[Encoded]], options: argparse.Namespace
) -> list[Row]:
    """A row for each number of candidates, from a process of its own: engines do not give all memory back."""
    task = Task(architecture, questions, options.rounds, options.most_batch)
    run = run_vllm if options.engine == "vllm" else run_local
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        speeds = process.submit(run, task).result()
    return [_row(architecture, questions[count], options, speed) for count, speed in speeds.items()]


def _row(
    architecture: Architecture, questions: Sequence[Encoded], options: argparse.Namespace, speed: float | None = None
) -> Row:
    """``users_per_s`` is None where nothing was measured."""
    operations = sum(architecture.operations(len(each.tokens)) for each in questions) / len(questions)
    ceiling = options.peak * 1e12 / operations
    on_gpu = speed is not None and torch.cuda.is_available()
    return {
        "name": f"{architecture.name}, {len(questions[0].labels)} candidates",
        "measured": speed is not None,
        "users_per_s": speed and round(speed, 2),
        "ceiling_users_per_s": round(ceiling, 1),
        "share_of_ceiling": round(speed / ceiling, 3) if speed is not None and on_gpu else None,
        "peak_tflops": options.peak,
        "gflop_per_user": round(operations / 1e9, 1),
        "prompt_tokens": round(sum(len(each.tokens) for each in questions) / len(questions)),
        "weights_billion": round(architecture.weights / 1e9, 3),
        "engine": options.engine if speed is not None else None,
        "device": _device() if speed is not None else None,
    }


def run_local(task: Task) -> dict[int, float]:
    """Users per second by number of candidates, with this project's local backend."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    made: Any = AutoModelForCausalLM
    with device:
        model = made.from_config(task.architecture.config(), dtype=torch.bfloat16)
    backend = LocalBackend(CausalModel(model, model), task.architecture.name, task.most_batch)
    speeds = _speeds(task, lambda questions: backend.label_log_probabilities(questions, None))
    backend.close()
    return speeds


def run_vllm(task: Task) -> dict[int, float]:
    """The same with vLLM in process; the weights are made up by vLLM itself."""
    vllm = importlib.import_module("vllm")  # installed on some machines only
    with tempfile.TemporaryDirectory(prefix="rag-rec-") as folder:
        task.architecture.config().save_pretrained(folder)
        engine = vllm.LLM(
            model=folder,
            load_format="dummy",
            skip_tokenizer_init=True,
            dtype="bfloat16",
            max_model_len=2048,
            max_logprobs=max(SIZES),
            enable_prefix_caching=True,
        )

        def ask(questions: Sequence[Encoded]) -> None:
            parameters = [_sampling(vllm.SamplingParams, question) for question in questions]
            engine.reset_prefix_cache()
            engine.generate(
                [{"prompt_token_ids": list(question.tokens)} for question in questions], parameters, use_tqdm=False
            )

        return _speeds(task, ask)


def _sampling(parameters: Any, question: Encoded) -> Any:
    labels = [label for label in question.labels if label is not None]
    return parameters(max_tokens=1, logprobs=len(labels), logprob_token_ids=labels, detokenize=False)


def _speeds(task: Task, ask: Any) -> dict[int, float]:
    contenders = {
        count: Contender(str(count), len(questions), partial(ask, questions))
        for count, questions in task.questions.items()
    }
    for questions in task.questions.values():
        ask(questions[: task.most_batch])  # warm up
    take_rounds(list(contenders.values()), task.rounds)
    return {count: contender.users_per_s for count, contender in contenders.items()}


def _questions(candidates: int, users: int) -> list[Encoded]:
    """Prompts with letters, by a tokenizer of the project's own: that of Qwen3 would have to be downloaded."""
    items = catalogue(SEED)
    asked = prompts(items, users, EVIDENCE, candidates, SEED)
    texts = [*(item.text for item in items.values()), *map(json_scores.prompt_text, asked[:50]), *50 * [SYSTEM]]
    with tempfile.TemporaryDirectory(prefix="rag-rec-") as folder:
        model = instruction_model(Path(folder), texts, Size(1, 64, 8192), SEED)
        encoder = LetterEncoder.open(str(model))
    return [encoder.encode(prompt, range(candidates)) for prompt in asked]


def _device() -> dict[str, Any] | str:
    if not torch.cuda.is_available():
        return "cpu"
    properties = torch.cuda.get_device_properties(0)
    return {"name": properties.name, "memory_gib": round(properties.total_memory / 2**30)}


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dry-run", action="store_true", help="a shrunken model, and the arithmetic of the others")
    parser.add_argument("--engine", choices=("vllm", "local"), default=_best_engine())
    parser.add_argument("--users", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--most-batch", type=int, default=32, help="prompts in a batch of the local backend")
    parser.add_argument("--peak", type=float, default=PEAK, help="TFLOP/s of the GPU in bfloat16")
    options = parser.parse_args(arguments)
    if options.dry_run:
        options.users, options.rounds = min(options.users, 8), 1
    return options


def _best_engine() -> str:
    return "vllm" if importlib.util.find_spec("vllm") else "local"


if __name__ == "__main__":
    main()
