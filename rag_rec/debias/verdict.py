"""Whether a debiased adapter may take the place of the one in use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was decided on people on whom nothing was chosen.

    Attributes:
        against: why not; nothing where it may.
        judged: see :func:`rag_rec.fairness.judgement.judgement`.
    """

    against: tuple[str, ...]
    judged: Mapping[str, Any]

    @classmethod
    def of(cls, judged: Mapping[str, Any], predicted: Mapping[str, float], budget: float) -> Verdict:
        """Decide: a figure has to be fairer with its whole interval, none less fair with its own, the loss of accuracy
        within the budget with its whole interval, and what is fairer to have been predicted so.

        Args:
            judged: what was measured.
            predicted: by how much each figure was to change in its distance from fair, to first order.
            budget: the largest loss of accuracy, as a share.
        """
        figures: Mapping[str, tuple[float, float, float]] = judged["figures"]
        told = {name: f"{name} {each[0]:+.4f} ({each[1]:+.4f} to {each[2]:+.4f})" for name, each in figures.items()}
        fairer = [name for name, (_, _, high) in figures.items() if high < 0.0]
        against = []
        if not fairer:
            against.append(f"no figure comes nearer to fair with its whole 95 % interval: {', '.join(told.values())}")
        for name, (_, low, _) in figures.items():
            if low > 0.0:
                against.append(f"the lists become less fair with the whole interval: {told[name]}")
        against += [f"against what was predicted: {told[name]}" for name in fairer if predicted[name] >= 0.0]
        if (most := judged["loss_interval"][1]) > budget:
            against.append(f"NDCG may have lost {most:.1%} (95 % interval), more than the budget of {budget:.1%}")
        return cls(tuple(against), judged)

    @property
    def publish(self) -> bool:
        """Whether nothing speaks against it."""
        return not self.against
