"""Reads label log-probabilities, and refuses those that cannot be relied on.

A model that has drifted from its prompt or its tokenizer still answers; it shows in the labels. Their total probability
(*label mass*), labels that did not come back, and values that are no numbers are checked on every answer.
"""

from __future__ import annotations

import numpy as np
from scipy.special import logsumexp

from rag_rec.generators.failures import GeneratorFailure, Reason
from rag_rec.generators.protocol import Encoded, Floats

IMPOSSIBLE = 1e-4
"""A log-probability may exceed zero by so much, from rounding."""


def read_labels(encoded: Encoded, log_probabilities: Floats, prior: Floats, least_mass: float) -> tuple[Floats, float]:
    """Normalise over the candidates.

    A candidate without a label keeps the share of probability that ``prior`` gives it, and the others divide the rest
    by the model's opinion: an item newer than the model is neither favoured nor lost.

    Args:
        encoded: the question.
        log_probabilities: float64 [n], NaN where there is no answer.
        prior: float64 [n] log-probabilities by the candidate model, summing to one in probability.
        least_mass: below this label mass the answer is refused.

    Returns:
        Log-probabilities float64 [n] that sum to one in probability, and the label mass.

    Raises:
        GeneratorFailure: missing labels, values that are no log-probabilities, or too little label mass.
    """
    labelled = np.array([label is not None for label in encoded.labels], dtype=np.bool_)
    if not labelled.any():
        raise GeneratorFailure(Reason.MISSING_LABELS, "No candidate is known to the model.")
    found = log_probabilities[labelled]
    if np.isnan(found).any():
        raise GeneratorFailure(Reason.MISSING_LABELS, "The model gave no probability for some candidates.")
    if not np.isfinite(found).all() or (found > IMPOSSIBLE).any():
        raise GeneratorFailure(Reason.NOT_A_NUMBER, "The model gave values that are no log-probabilities.")
    mass = float(logsumexp(found))
    if mass < np.log(least_mass):
        raise GeneratorFailure(Reason.LOW_LABEL_MASS, f"The labels hold {np.exp(mass):.3g} of the probability.")
    result = prior.copy()
    rest = _log_share(prior[labelled]) if not labelled.all() else 0.0
    result[labelled] = found - mass + rest
    return result, float(np.exp(mass))


def _log_share(log_probabilities: Floats) -> float:
    return float(min(0.0, logsumexp(log_probabilities)))
