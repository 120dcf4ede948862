"""Members in shards with an adapter each: who leaves takes one shard along, and only that is trained again.

Exact by construction (SISA: Bourtoule et al., "Machine Unlearning", IEEE S&P 2021, arXiv 1912.03817; adapters for each
shard of a recommender's language model: APA, "Exact and Efficient Unlearning for Large Language Model-based
Recommendation", arXiv 2404.10327). Which shard a person is in depends on the person alone, each adapter begins at the
base and has a schedule of its own, so that a shard without a person is the training that never saw the person, to the
byte. One adapter is served: the differences of all shards added up, times a scale that is chosen anew after each
removal, by people who were never in. A few epochs on everybody who stays may follow; each removal does these again.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import numpy as np
import torch
from scipy.stats import hypergeom

from benchmarks.methods.compact_model import Items, Trained, train
from benchmarks.methods.unlearning_case import Case
from benchmarks.methods.unlearning_student import Student
from rag_rec.influence.vectors import add

SCALES: Final = (0.8, 1.0, 1.2, 1.4, 1.7, 2.0)
"""Multiples of the mean of the differences that are tried; their sum is far out of what the base can bear."""


@dataclass(frozen=True)
class Shards:
    """The members of a draw in so many shards, and the adapters before and after the removal.

    Attributes:
        case: the draw.
        count: of the shards.
        together: epochs on everybody, which begin at the sum of the shards.
    """

    case: Case
    count: int
    together: int = 0

    def parts(self, people: Items) -> list[Items]:
        """Those of some people who are in each shard."""
        places = np.array([self._place(self.case.ids[person]) for person in people.tolist()], dtype=np.int64)
        return [people[places == place] for place in range(self.count)]

    @cached_property
    def touched(self) -> list[int]:
        """The shards that hold a forgotten person."""
        return [place for place, gone in enumerate(self.parts(self.case.gone)) if len(gone)]

    @cached_property
    def after(self) -> list[Trained]:
        """The adapters without the forgotten: those of touched shards are trained again, the others stay."""
        retained = self.parts(self.case.retained)
        places = range(self.count)
        return [self._alone(retained[place]) if place in self.touched else self.before(place) for place in places]

    def before(self, place: int) -> Trained:
        """The adapter of all members of one shard."""
        return self._alone(self.parts(self.case.members)[place])

    @cached_property
    def served(self) -> Trained:
        """What is served after the removal, with the seconds of everything but the shards."""
        started = time.process_time()
        found = scaled_sum(self.after, best_scale(self.case, self.after))
        if self.together:
            found = together(self.case, found, self.together)
        return replace(found, seconds=time.process_time() - started)

    def removed(self) -> Trained:
        """The same, with the seconds of the shards that were trained again."""
        again = sum(self.after[place].seconds for place in self.touched)
        return replace(self.served, seconds=self.served.seconds + again)

    def seconds(self, forgotten: int) -> float:
        """How long so many people, drawn at random from the members, keep a processor, on the average."""
        sizes = [len(part) for part in self.parts(self.case.members)]
        chances = touched_chances(sizes, forgotten)
        again = sum(chance * each.seconds for chance, each in zip(chances, self.after, strict=True))
        return self.served.seconds + again

    def _alone(self, people: Items) -> Trained:
        return self.case.trained(people, self.case.seed)

    def _place(self, user: int) -> int:
        digest = hashlib.blake2b(f"{self.case.seed}:{user}".encode(), digest_size=8).digest()
        return int.from_bytes(digest) % self.count


def together(case: Case, start: Trained, epochs: int) -> Trained:
    """A training on everybody who stays, of so many epochs, that begins at an adapter."""
    base, settings = replace(case.base, model=start.model()), replace(case.settings, seed=case.seed, epochs=epochs)
    made = train(base, case.of(case.retained), settings)
    return Trained(case.base, add(start.deltas, made.deltas), made.seconds)


def scaled_sum(shards: Sequence[Trained], scale: float) -> Trained:
    """One adapter of the differences of several, added up and scaled."""
    deltas = {name: scale * torch.stack([each.deltas[name] for each in shards]).sum(dim=0) for name in shards[0].deltas}
    return Trained(shards[0].base, deltas, sum(each.seconds for each in shards))


def best_scale(case: Case, shards: Sequence[Trained]) -> float:
    """The scale of the sum under which the choices of the reserve are likeliest."""
    return max(
        (multiple / len(shards) for multiple in SCALES), key=lambda scale: _likelihood(case, scaled_sum(shards, scale))
    )


def touched_chances(sizes: Sequence[int], forgotten: int) -> list[float]:
    """How likely each shard of these sizes holds one of so many people drawn without replacement."""
    return [1.0 - float(hypergeom.pmf(0, sum(sizes), size, forgotten)) for size in sizes]


def _likelihood(case: Case, trained: Trained) -> float:
    return float(Student(case, start=trained).likelihoods(case.reserve).mean())
