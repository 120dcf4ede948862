"""The seam of the generator: candidates and evidence in, one log-probability per candidate out.

No free text comes back, so nothing outside the candidates can appear.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from rag_rec.domain import Candidate, Evidence, Item, User


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a generator may see: the profile, the evidence, and the candidates with their items, best first."""

    user: User
    evidence: Evidence
    evidence_items: Sequence[Item]
    candidates: Sequence[Candidate]
    candidate_items: Sequence[Item]


@dataclass(frozen=True, slots=True)
class Ranking:
    """``log_probabilities`` float64 [n] of the candidates in the order of the prompt, summing to one in probability.

    ``label_mass`` is the probability that the model gave to the candidates' labels before it was normalised over them;
    None where there are no labels.
    """

    log_probabilities: npt.NDArray[np.float64]
    label_mass: float | None


class Generator(Protocol):
    """Ranks the candidates of a prompt."""

    @property
    def ranks(self) -> bool:
        """Whether the generator has an opinion of its own; if not, the prompt need not be built."""

    def rank(self, prompt: Prompt, deadline: float | None) -> Ranking:
        """Log-probabilities of the candidates, before ``deadline`` (seconds of ``time.monotonic``) if there is one."""
