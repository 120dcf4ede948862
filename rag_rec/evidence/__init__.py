"""Which of a user's own interactions a prompt may see: three strategies under a token budget."""

from __future__ import annotations

from rag_rec.domain import Strategy
from rag_rec.evidence.attention import Attention
from rag_rec.evidence.diversity import Diversity
from rag_rec.evidence.preference import Preference
from rag_rec.evidence.protocol import EvidenceStrategy, Memory

__all__ = ["Attention", "Diversity", "EvidenceStrategy", "Memory", "Preference", "strategy"]


def strategy(name: Strategy) -> EvidenceStrategy:
    """The strategy with this name."""
    if name is Strategy.PREFERENCE:
        return Preference()
    return Diversity() if name is Strategy.DIVERSITY else Attention()
