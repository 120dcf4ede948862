"""Membership inference in the benchmarks: the product's own attacks, on parameters learned from half of the people."""

from __future__ import annotations

import numpy as np

from rag_rec.evaluation.membership import Attack, Floats, Mask


def half(people: int, seed: int) -> Mask:
    """A random half of the people: the members."""
    return np.asarray(np.random.default_rng(seed).permutation(people) < people // 2)


def attacks(likelihood: Floats, reference: Floats, members: Mask, seed: int) -> dict[str, object]:
    """Both attacks as fields of a row.

    Args:
        likelihood: log-likelihood of each person's data under the parameters, float64 [people].
        reference: the same under parameters that have seen no person.
        members: who was learned from.
        seed: of the bootstrap.
    """
    fields: dict[str, object] = {}
    for name, scores in (("threshold", likelihood), ("calibrated", likelihood - reference)):
        found = Attack.of(scores, members, seed)
        fields |= {f"membership auc, {name}": found.auc, f"membership auc, {name}, interval": list(found.interval)}
    return fields
