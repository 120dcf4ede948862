"""Speed of ranking in one forward pass and of asking for JSON: ``python -m benchmarks.generation_speed``.

Both rank 50 candidates with the same model on the same machine in the same run, in alternating rounds; a row gives the
median of its rounds. The model is an instruction-tuned architecture with random weights, so nothing is downloaded. Such
a model never writes valid JSON, which is the worst case for asking for it; the row ``json-scores, valid at once`` is
its best case: exactly the tokens of a valid answer, at the first attempt.

The rows ``batches`` compare the throughput of the local backend with bare forward passes of transformers on the same
batches, padded beforehand, that compute the logits of the last position only; ``one request`` is the same for single
prompts.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoTokenizer

from benchmarks.methods import json_scores
from benchmarks.methods.bare_forward import forward, padded_batches
from benchmarks.random_models import Size, instruction_model, item_model
from benchmarks.report import Row, write_results
from benchmarks.rounds import Contender, take_rounds
from benchmarks.simulated_prompts import catalogue, prompts
from rag_rec.generators.language_model import LanguageModel, RankingOptions
from rag_rec.generators.letters import LetterEncoder
from rag_rec.generators.local import LocalBackend
from rag_rec.generators.prompts import SYSTEM
from rag_rec.generators.protocol import Encoded, Prompt
from rag_rec.progress.quiet import quiet_loading

SEED = 0
CANDIDATES = 50
EVIDENCE = 20
BATCH = 32
ITEM_MODEL = Size(layers=2, width=128, vocabulary=4096)
ITEM_PROMPTS = 8 * BATCH
LONGEST_ITEM_PROMPT = 50
ANY_MASS = 1e-300
"""A random model gives the labels no more than their share of the vocabulary."""
BARE = ", bare transformers"


class OnePass:
    """Ranks prompts with letters, and counts rankings that are not one number for every candidate."""

    def __init__(self, generator: LanguageModel, asked: Sequence[Prompt]) -> None:
        self._generator = generator
        self._asked = asked
        self._invalid = 0

    def one_by_one(self) -> None:
        """Every user alone, as requests come."""
        for prompt in self._asked:
            self._check([self._generator.rank(prompt)], [prompt])

    def together(self) -> None:
        """All users at once."""
        self._check(self._generator.rank_many(self._asked), self._asked)

    def notes(self) -> dict[str, Any]:
        """The count."""
        return {"invalid": self._invalid}

    def _check(self, rankings: Sequence[Any], asked: Sequence[Prompt]) -> None:
        for ranking, prompt in zip(rankings, asked, strict=True):
            found = ranking.log_probabilities
            self._invalid += len(found) != len(prompt.candidates) or not np.isfinite(found).all()


class JsonScores:
    """Ranks prompts by asking for JSON."""

    def __init__(self, writer: json_scores.Writer, asked: Sequence[Prompt]) -> None:
        self._writer = writer
        self._asked = asked
        self._outcome = json_scores.Outcome()

    def with_retries(self) -> None:
        """As the published code does."""
        for prompt in self._asked:
            json_scores.rank(prompt, self._writer, self._outcome)

    def valid_at_once(self) -> None:
        """As if every first attempt were a valid answer."""
        for prompt in self._asked:
            length = len(self._writer.tokenizer(json_scores.valid_answer(prompt)).input_ids)
            json_scores.Writer(self._writer.model, self._writer.tokenizer, length)(json_scores.prompt_text(prompt))

    def notes(self) -> dict[str, Any]:
        """What became of the answers, over all rounds."""
        outcome = self._outcome
        return {
            "invalid": outcome.invalid,
            "asked": outcome.users,
            "fallbacks": outcome.fallbacks,
            "unreadable_attempts": outcome.failures["unreadable"],
            "missing_items": outcome.failures["missing"],
            "invented_items": outcome.failures["invented"],
        }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write ``benchmarks/results/generation_speed.json``."""
    options = _options(arguments)
    with tempfile.TemporaryDirectory(prefix="rag-rec-") as folder, ExitStack() as stack:
        stack.enter_context(quiet_loading())
        contenders = [*_asking(Path(folder), options, stack), *_items(Path(folder), stack)]
        take_rounds(contenders, options.rounds)
    print(write_results("generation_speed", rows(contenders), SEED))  # noqa: T201 - the command's result


def rows(contenders: Sequence[Contender]) -> list[Row]:
    """A row each; beside them, what the backend reaches of bare transformers, and one pass over asking for JSON."""
    speeds = {contender.name: contender.users_per_s for contender in contenders}
    found: list[Row] = []
    for contender in contenders:
        row = contender.row() | {"threads": torch.get_num_threads()}
        if bare := speeds.get(contender.name + BARE):
            row["share_of_bare"] = round(speeds[contender.name] / bare, 3)
        if contender.name.startswith("json-scores"):
            row["one_pass_is_faster_by"] = round(speeds["one-pass"] / speeds[contender.name], 1)
        found.append(row)
    return found


def _asking(folder: Path, options: argparse.Namespace, stack: ExitStack) -> list[Contender]:
    """One pass and JSON, and the letters' batches."""
    items = catalogue(SEED)
    asked = prompts(items, options.users, EVIDENCE, CANDIDATES, SEED)
    texts = [*(item.text for item in items.values()), *map(json_scores.prompt_text, asked[:50])]
    texts += [_example(list(items)), *50 * [SYSTEM]]
    size = Size(options.layers, options.width, options.vocabulary)
    model = instruction_model(folder / "instruction", texts, size, SEED)
    backend = stack.enter_context(closing(LocalBackend.open(model, most_batch=BATCH)))
    encoder = LetterEncoder.open(str(model))
    one_pass = OnePass(LanguageModel(encoder, backend, RankingOptions(least_mass=ANY_MASS)), asked)
    tokenizer = AutoTokenizer.from_pretrained(model)
    json_users = asked[: options.json_users]
    scores = JsonScores(json_scores.Writer(bare_model(backend), tokenizer), json_users)
    at_once = partial(_length_notes, tokenizer, json_users)
    return [
        Contender("one-pass", len(asked), one_pass.one_by_one, one_pass.notes),
        Contender("one-pass, together", len(asked), one_pass.together, one_pass.notes),
        Contender("json-scores", len(json_users), scores.with_retries, scores.notes),
        Contender("json-scores, valid at once", len(json_users), scores.valid_at_once, at_once),
        *_against_bare("batches, letters", backend, [encoder.encode(each, range(CANDIDATES)) for each in asked]),
    ]


def _items(folder: Path, stack: ExitStack) -> list[Contender]:
    """The compact generator's architecture, in batches and one request at a time."""
    model = item_model(folder / "items", ITEM_MODEL, SEED)
    backend = stack.enter_context(closing(LocalBackend.open(model, most_batch=BATCH)))
    draws = np.random.default_rng(SEED)
    questions = [_item_question(draws) for _ in range(ITEM_PROMPTS)]
    alone = _against_bare("one request, item tokens", backend, questions, batch=1)
    return [*_against_bare("batches, item tokens", backend, questions), *alone]


def _against_bare(
    name: str, backend: LocalBackend, questions: Sequence[Encoded], batch: int = BATCH
) -> list[Contender]:
    model = bare_model(backend)
    batches = padded_batches(questions, batch, model.device)
    calls = [questions] if batch == BATCH else [[question] for question in questions]
    return [
        Contender(name, len(questions), partial(_ask_all, backend, calls)),
        Contender(name + BARE, len(questions), partial(forward, model, batches)),
    ]


def _ask_all(backend: LocalBackend, calls: Sequence[Sequence[Encoded]]) -> None:
    for questions in calls:
        backend.label_log_probabilities(questions, None)


def bare_model(backend: LocalBackend) -> Any:
    """The transformers model behind a backend that has no adapter."""
    return backend.base.model


def _item_question(draws: np.random.Generator) -> Encoded:
    chosen = draws.permutation(ITEM_MODEL.vocabulary)
    length = int(draws.integers(5, LONGEST_ITEM_PROMPT + 1))
    return Encoded(tuple(chosen[:length].tolist()), tuple(chosen[-CANDIDATES:].tolist()))


def _length_notes(tokenizer: Any, asked: Sequence[Prompt]) -> dict[str, Any]:
    lengths = [len(tokenizer(json_scores.valid_answer(prompt)).input_ids) for prompt in asked]
    return {"invalid": 0, "assumed": True, "answer_tokens": round(float(np.mean(lengths)))}


def _example(ids: Sequence[str]) -> str:
    """JSON for the tokenizer to learn from."""
    return json.dumps({item: place % 100 for place, item in enumerate(ids)})


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=32, help="users of the one-pass rows")
    parser.add_argument("--json-users", type=int, default=2, help="users of the json-scores rows")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--vocabulary", type=int, default=8192)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
