"""Writes prompts for the compact generator: a user's attributes, then one token per interaction, oldest first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rag_rec.compact.vocabulary import BOS, Vocabulary
from rag_rec.generators.protocol import Encoded, EvidenceCost, Prompt

EVIDENCE: Final = 128
"""Interactions that one prompt may show."""


class ItemTokenEncoder:
    """Implements :class:`rag_rec.generators.protocol.Encoder`; candidates do not show in the prompt.

    Only what counts as liking an item is shown, as in training. Items without a token are left out of the evidence,
    and have no label as candidates.

    Args:
        vocabulary: the tokens.
        evidence: most interactions in a prompt.
        context: the model's longest sequence in tokens; one of them is left for the answer.
    """

    most_candidates: Final = 128
    ordered: Final = False

    def __init__(self, vocabulary: Vocabulary, evidence: int = EVIDENCE, context: int = 256) -> None:
        self.vocabulary = vocabulary
        self.evidence_cost: EvidenceCost | None = EvidenceCost(budget=evidence, line=1)
        self._evidence = evidence
        self._room = context - 1

    @property
    def least_mass(self) -> float:
        """The label mass to ask for, see :class:`rag_rec.generators.language_model.RankingOptions`.

        The candidates are a few of thousands of items and hold only a part of the probability: 0.001 to 0.02 for 50
        drawn by chance from 4,000. Together they should hold at least one token's even share.
        """
        return 1.0 / len(self.vocabulary)

    def encode(self, prompt: Prompt, order: Sequence[int]) -> Encoded:  # noqa: ARG002 - the order does not show
        """Write a prompt; of more evidence than fits, the newest is kept."""
        token_of = self.vocabulary.token_of_item
        prefix = (BOS, *self.vocabulary.tokens_of_user(prompt.user))[: self._room]
        shown = min(self._evidence, self._room - len(prefix))
        found = (token_of(line.item_id) for line in prompt.evidence if line.positive)
        history = [token for token in found if token is not None]
        tokens = (*prefix, *history[max(0, len(history) - shown) :])
        return Encoded(tokens, tuple(token_of(candidate.item_id) for candidate in prompt.candidates), prompt.salt)
