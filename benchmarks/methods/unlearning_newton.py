"""One step of the product's removal by influence, from any adapter: several removals follow one another.

The product takes every step from the adapter in use, with the gradient of those who were in it at its weights
(:mod:`indexer.influencing`).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import numpy as np
from torch import Tensor

from benchmarks.methods.compact_model import Items
from benchmarks.methods.unlearning_case import Case
from rag_rec.compact.adapter import Deltas
from rag_rec.compact.sequences import TokenSequence
from rag_rec.compact.stop import DRAWN, FEW, WINDOWS, Stop, drawn_of, samples_of, shorter, usual_damping, windows_of
from rag_rec.compact.vocabulary import BOS
from rag_rec.influence.curvature import GaussNewton, Samples, count_of, total_gradient
from rag_rec.influence.newton import Drawn, Newton
from rag_rec.influence.removal import Effort
from rag_rec.influence.solver import solve
from rag_rec.influence.vectors import add, scaled

WEIGHED: Final = "each window once"
"""How a removal weighs people: a part of the key of what is kept, so that nothing older is taken for it."""


@dataclass(frozen=True)
class Start:
    """Where a step starts.

    Attributes:
        case: whose histories are those that are to remain.
        people: who is to remain.
        deltas: of the adapter in use.
        stop: of everybody who was in that adapter, at its weights.
    """

    case: Case
    people: Items
    deltas: Deltas
    stop: Stop

    @cached_property
    def samples(self) -> list[Samples]:
        """Every choice that is to remain."""
        return choices_of(self.case, self.people)

    @cached_property
    def drawn(self) -> Drawn:
        """The part of it that the curvature is taken from."""
        return drawn_of(self.samples, self._small)

    @property
    def damping(self) -> float:
        """The one that the product takes."""
        return usual_damping(self.case.settings, windows_of(self.samples))

    @cached_property
    def _small(self) -> list[Samples]:
        return choices_of(self.case, self.people, FEW)

    @cached_property
    def pull(self) -> dict[str, Tensor]:
        """What is left to go: the gradient of everybody who was in the adapter, less that of what is to remain."""
        count = count_of(self.samples)
        return add(self.stop.gradient, scaled(total_gradient(self.deltas, self.samples), 1.0 / count), -1.0)


def preconditioned(start: Start, damping: float | None = None, *, as_long: bool = False) -> dict[str, Tensor]:
    """The differences after one step, solved for as the product does (:mod:`rag_rec.influence.newton`).

    Args:
        start: where.
        damping: None for that of the product.
        as_long: leave them as long as they were, where the product makes them as short as a training of fewer windows.

    Raises:
        InvalidInput: the solve diverged.
    """
    held = start.damping if damping is None else damping
    found = Newton(start.deltas, start.drawn, start.case.seed).step(start.pull, held)
    deltas = add(start.deltas, found.vector)
    return deltas if as_long else shorter(deltas, windows_of(start.samples), start.stop.windows)


def newton(start: Start, effort: Effort) -> dict[str, Tensor]:
    """The differences after one step, solved for without a preconditioner.

    Raises:
        InvalidInput: the solve diverged.
    """
    curvature = GaussNewton(start.deltas, start.samples[:DRAWN])
    found = solve(curvature.product, start.pull, effort.damping, effort.iterations)
    return add(start.deltas, found.vector)


def stop_of(case: Case, people: Items, deltas: Deltas) -> Stop:
    """Of some people at the weights of an adapter."""
    return Stop.of(deltas, choices_of(case, people))


def choices_of(case: Case, people: Items, windows: int = WINDOWS) -> list[Samples]:
    """Every choice of some people, so many windows in a batch, cut as the product cuts them."""
    base, first = replace(case.base, model=copy.deepcopy(case.base.model)), case.base.vocabulary.first_item
    written = [TokenSequence(np.array([BOS]), first + items) for items in case.of(people)]
    return samples_of(base, written, base.vocabulary.first_spare, case.settings, windows)
