"""One draw of people for removals from an adapter: who is forgotten, who stays, who was never in; and its trainings.

Half of the people are members, of whom some are forgotten; the others are outsiders. A third of the outsiders is a
*reserve*: a removal may look at the reserve to tell when to stop, and is attacked with the rest. Accuracy is that of
the validation answers, the second to last positive of each person; the test answers are never looked at.

Trainings are kept in the system's folder for temporary files, so that an interrupted run goes on where it was.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
import orjson
import torch
from safetensors.torch import load_file, save_file

from benchmarks.data import Benchmark
from benchmarks.methods.compact_model import Items, Trained, train
from benchmarks.methods.ranking import Questions, questions
from rag_rec.compact.base import Base
from rag_rec.compact.training import AdapterSettings

VALIDATION: Final = 2
EVERYBODY: Final = 10**6
REFERENCES: Final = 4
"""Adapters of other draws, as complementary halves: each person was left out of one in two."""
KEPT: Final = Path(tempfile.gettempdir()) / "rag-rec-unlearn"
SECONDS: Final = "seconds"


@dataclass(frozen=True)
class Case:
    """A draw.

    Attributes:
        benchmark: the data.
        base: of its catalogue.
        forgotten: how many members are to go.
        retrainings: how many trainings without them there are.
        seed: of the draw and of the trainings.
        settings: of every training, but for its seed.
        kept: folder of the trainings.
        first: numbers in the data of people who are drawn before all others, so that they are who is forgotten.
    """

    benchmark: Benchmark
    base: Base
    forgotten: int
    retrainings: int
    seed: int
    settings: AdapterSettings = field(default_factory=AdapterSettings)
    kept: Path = KEPT
    first: Sequence[int] = ()

    @cached_property
    def _questions(self) -> Questions:
        return questions(self.benchmark, VALIDATION, EVERYBODY)

    @cached_property
    def histories(self) -> list[Items]:
        """What is known of each person who can be asked, oldest first."""
        known = self._questions.known
        return [known[person]["item"].astype(np.int64) for person in self._questions.asked]

    @cached_property
    def ids(self) -> list[int]:
        """The number that each of these people has in the data."""
        return [self.benchmark.histories[person][0] for person in self._questions.asked.tolist()]

    @property
    def answers(self) -> Items:
        """The item that comes next for each of these."""
        return self._questions.answers

    @cached_property
    def _order(self) -> Items:
        order = np.random.default_rng(self.seed).permutation(len(self.histories))
        first = np.isin(np.array(self.ids)[order], np.array(self.first, dtype=np.int64))
        return np.concatenate([order[first], order[~first]])

    @cached_property
    def gone(self) -> Items:
        """Who is forgotten, sorted."""
        return np.sort(self._order[: self.forgotten])

    @property
    def requests(self) -> Items:
        """Who is forgotten, in the order of their requests; a draw that forgets more begins with the same people."""
        return self._order[: self.forgotten]

    @cached_property
    def members(self) -> Items:
        """Whom the original learned from: half of the people, sorted."""
        return np.sort(self._order[: len(self._order) // 2])

    @cached_property
    def retained(self) -> Items:
        """Members who stay, sorted."""
        return np.setdiff1d(self.members, self.gone)

    @cached_property
    def reserve(self) -> Items:
        """Outsiders whom a removal may look at, sorted."""
        outside = self._order[len(self._order) // 2 :]
        return np.sort(outside[: len(outside) // 3])

    @cached_property
    def outsiders(self) -> Items:
        """Outsiders whom only the audit looks at, sorted."""
        outside = self._order[len(self._order) // 2 :]
        return np.sort(outside[len(outside) // 3 :])

    @cached_property
    def drawn(self) -> list[Items]:
        """Whom each reference saw: halves of everybody, two and two complementary."""
        draws, halves = np.random.default_rng([self.seed, 1]), []
        for _ in range(REFERENCES // 2):
            order = draws.permutation(len(self.histories))
            halves += [np.sort(half) for half in np.array_split(order, 2)]
        return halves

    @cached_property
    def original(self) -> Trained:
        """The adapter that saw the forgotten."""
        return self.trained(self.members, self.seed)

    @cached_property
    def without(self) -> list[Trained]:
        """Trainings that did not, each with a seed of its own."""
        return [self.trained(self.retained, 1000 * (self.seed + 1) + number) for number in range(self.retrainings)]

    @cached_property
    def references(self) -> list[Trained]:
        """Adapters of the other draws."""
        first = 1000 * (self.seed + 1) + 500
        return [self.trained(people, first + number) for number, people in enumerate(self.drawn)]

    def of(self, people: Items) -> list[Items]:
        """Histories of some people."""
        return [self.histories[person] for person in people.tolist()]

    def trained(self, people: Items, seed: int) -> Trained:
        """A training on some people, or the same one from an earlier run."""
        settings = replace(self.settings, seed=seed)
        return self.kept_or_made(people, settings, lambda: train(self.base, self.of(people), settings))

    def kept_or_made(
        self, people: Items, settings: AdapterSettings, make: Callable[[], Trained], *how: object
    ) -> Trained:
        """What an earlier run made of some people in this way, or what is made now; ``how`` tells ways apart."""
        path = self.kept / f"{self._key(people, settings, *how)}.safetensors"
        if path.exists():
            found = load_file(path)
            return Trained(self.base, found, float(found.pop(SECONDS)))
        made = make()
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".tmp")
        save_file({**made.deltas, SECONDS: torch.tensor(made.seconds, dtype=torch.float64)}, unfinished)
        unfinished.replace(path)
        return made

    def _key(self, people: Items, settings: AdapterSettings, *how: object) -> str:
        """Of all that a training depends on."""
        used = {name: value for name, value in settings.content().items() if name != "reserve"}  # the people are chosen
        digest = hashlib.sha256(orjson.dumps([used, people.tolist(), *how]))
        for items in self.of(people):
            digest.update(items.tobytes())
        for _, weight in sorted(self.base.model.state_dict().items()):
            digest.update(weight.numpy().tobytes())
        return digest.hexdigest()[:32]
