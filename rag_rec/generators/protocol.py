"""The seam of generation: an LLM gives the log-probability of every candidate's label in one forward pass.

The seam has two sides. :class:`Generator` is what the pipeline asks. Most generators are put together of an
:class:`Encoder`, which writes a prompt as tokens and names the label of every candidate, and a :class:`Backend`, which
runs the model (:mod:`rag_rec.generators.language_model`). No text is ever read back from the model, so nothing outside
the candidates can be recommended, whatever a title or a model says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from rag_rec.domain import Candidate, Item, User
from rag_rec.generators.failures import GeneratorFailure

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class EvidenceLine:
    """One of the user's own interactions, as a prompt may show it.

    ``value`` is None where the event carries none; ``positive`` says whether it counts as liking the item.
    """

    item_id: str
    event: str
    time: int
    value: float | None = None
    text: str | None = None
    positive: bool = True


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a generator may see: the profile, the evidence (oldest first), and the candidates (best first).

    ``item`` looks up an item of the catalogue by its id. ``salt`` separates what servers may cache: prompts share a
    cached prefix only under the same salt, and it changes whenever a person has been forgotten.
    """

    user: User
    evidence: Sequence[EvidenceLine]
    candidates: Sequence[Candidate]
    item: Callable[[str], Item]
    salt: str = ""


@dataclass(frozen=True, slots=True)
class Ranking:
    """``log_probabilities`` float64 [n] of the candidates in the order of the prompt, summing to one in probability.

    ``label_mass`` is the probability that the model gave to the candidates' labels before it was normalised over them;
    None where there are no labels. ``model`` and ``adapter`` name what answered.
    """

    log_probabilities: Floats
    label_mass: float | None
    model: str | None = None
    adapter: str | None = None


@dataclass(frozen=True, slots=True)
class EvidenceCost:
    """What evidence costs a generator: a budget in its own tokens, and the price of a line; None: by its text."""

    budget: int
    line: int | None = None


class Generator(Protocol):
    """Ranks the candidates of a prompt. Any number of threads may ask at once."""

    @property
    def ranks(self) -> bool:
        """Whether the generator has an opinion of its own; if not, the prompt need not be built."""

    @property
    def most_candidates(self) -> int:
        """How many candidates one prompt can hold."""

    @property
    def evidence_cost(self) -> EvidenceCost | None:
        """What evidence costs; None leaves it to the settings."""

    def rank(self, prompt: Prompt, deadline: float | None) -> Ranking:
        """Log-probabilities of the candidates, before ``deadline`` (seconds of ``time.monotonic``) if there is one.

        Raises:
            GeneratorFailure: there is no answer that can be relied on; the reason says why.
        """

    def close(self) -> None:
        """Release the model or its connections."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """A prompt as token ids, and for every candidate, in the order of the prompt, the id of its label.

    The label is the token whose log-probability at the next position is the candidate's; None for a candidate that has
    no label (an item newer than the model). Labels are distinct.
    """

    tokens: tuple[int, ...]
    labels: tuple[int | None, ...]
    salt: str = ""


class Encoder(Protocol):
    """Writes prompts for one model: *letters* for instruction-tuned LLMs, *item tokens* for the compact generator."""

    @property
    def most_candidates(self) -> int:
        """How many labels there are for one prompt."""

    @property
    def ordered(self) -> bool:
        """Whether the order of the candidates shows in the prompt, so that averaging over orders can matter."""

    @property
    def evidence_cost(self) -> EvidenceCost | None:
        """As :attr:`Generator.evidence_cost`."""

    @property
    def least_mass(self) -> float:
        """Label mass below which an answer should not be relied on, where the settings say nothing else."""

    def encode(self, prompt: Prompt, order: Sequence[int]) -> Encoded:
        """Write a prompt that shows the candidates in this order.

        ``order`` is a permutation of the candidates' positions. ``labels`` of the result are by the candidates' own
        positions, not by the order in which they are shown.
        """


class Backend(Protocol):
    """Runs one causal language model, with at most one adapter at a time. Any number of threads may ask at once."""

    @property
    def model(self) -> str:
        """Name of the model that answers."""

    @property
    def adapter(self) -> str | None:
        """Digest of the adapter that answers at present; None for the base model."""

    def label_log_probabilities(self, questions: Sequence[Encoded], deadline: float | None) -> list[Floats]:
        """For each question the log-probability of every label at the position after its last token.

        Probabilities are of the whole vocabulary, not normalised over the labels; NaN stands for a label without an
        answer and for a candidate without a label.

        Raises:
            GeneratorFailure: the model cannot be asked, or not in time.
        """

    def use_adapter(self, folder: Path | None) -> None:
        """Answer with this adapter from now on, None: with the base model. Answers under way keep the old one.

        The folder's name is the adapter's digest. Raises a ``RagRecError``, and keeps the old adapter, where the new
        one cannot be used.
        """

    def problem(self, wait: float = 0.0) -> GeneratorFailure | None:
        """Why the model cannot be asked at present, as far as is known; None where it can.

        Args:
            wait: seconds that may be spent on finding out.
        """

    def close(self) -> None:
        """Release the model or its connections."""
