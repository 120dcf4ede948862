"""The generator that asks a language model: an encoder writes the prompt, a backend runs the model once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import log_softmax, logsumexp

from rag_rec.generators.health import read_labels
from rag_rec.generators.protocol import Backend, Encoded, Encoder, EvidenceCost, Floats, Prompt, Ranking


@dataclass(frozen=True, slots=True)
class RankingOptions:
    """How carefully answers are made and taken.

    Attributes:
        least_mass: below this label mass an answer is refused.
        orders: in how many orders the candidates are shown; the log-probabilities are averaged. Position bias is what
            LLMs are known for (Hou et al., "Large Language Models are Zero-Shot Rankers", arXiv 2305.08845). It costs
            one forward pass each, and has no effect where the prompt does not show the order.
        seed: of the orders; the same request meets the same ones.
    """

    least_mass: float = 0.5
    orders: int = 1
    seed: int = 0


class LanguageModel:
    """Ranks by the label log-probabilities of one forward pass per order."""

    ranks: Final = True

    def __init__(self, encoder: Encoder, backend: Backend, care: RankingOptions | None = None) -> None:
        self.encoder = encoder
        self.backend = backend
        self._care = care or RankingOptions()

    @property
    def most_candidates(self) -> int:
        """How many labels the encoder has."""
        return self.encoder.most_candidates

    @property
    def evidence_cost(self) -> EvidenceCost | None:
        """What evidence costs the encoder."""
        return self.encoder.evidence_cost

    def rank(self, prompt: Prompt, deadline: float | None = None) -> Ranking:
        """Log-probabilities of the candidates. See :meth:`rag_rec.generators.protocol.Generator.rank`."""
        return self.rank_many([prompt], deadline)[0]

    def rank_many(self, prompts: Sequence[Prompt], deadline: float | None = None) -> list[Ranking]:
        """Rank several prompts in as few batches as the backend can; for offline work.

        Raises:
            GeneratorFailure: one of them has no answer that can be relied on.
        """
        asked = [self._questions(prompt) for prompt in prompts]
        found, adapter = self._answers([each for group in asked for each in group], deadline)
        answers = iter(found)
        return [
            self._ranking(prompt, group, [next(answers) for _ in group], adapter)
            for prompt, group in zip(prompts, asked, strict=True)
        ]

    def close(self) -> None:
        """Release the backend."""
        self.backend.close()

    def _answers(self, questions: Sequence[Encoded], deadline: float | None) -> tuple[list[Floats], str | None]:
        """Answers, and the adapter that gave them: where it was replaced meanwhile, the new one is asked as well."""
        while True:
            adapter = self.backend.adapter
            answers = self.backend.label_log_probabilities(questions, deadline)
            if self.backend.adapter == adapter:
                return answers, adapter

    def _questions(self, prompt: Prompt) -> list[Encoded]:
        """The prompt with its candidates in each order; the first is the order of the prompt."""
        given = range(len(prompt.candidates))
        if not self.encoder.ordered or self._care.orders == 1:
            return [self.encoder.encode(prompt, given)]
        draws = np.random.default_rng(self._care.seed)
        others = [draws.permutation(len(given)).tolist() for _ in range(self._care.orders - 1)]
        return [self.encoder.encode(prompt, order) for order in [given, *others]]

    def _ranking(
        self, prompt: Prompt, questions: Sequence[Encoded], answers: Sequence[Floats], adapter: str | None
    ) -> Ranking:
        prior = np.asarray(log_softmax(np.array([candidate.score for candidate in prompt.candidates])))
        read = [
            read_labels(encoded, found, prior, self._care.least_mass)
            for encoded, found in zip(questions, answers, strict=True)
        ]
        mean = np.mean([log_probabilities for log_probabilities, _ in read], axis=0)
        mass = float(np.mean([mass for _, mass in read]))
        return Ranking(np.asarray(mean - logsumexp(mean)), mass, self.backend.model, adapter)
