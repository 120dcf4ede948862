"""Which of a user's own interactions a prompt may see: three strategies under a token budget."""

from __future__ import annotations

from rag_rec.domain import Strategy
from rag_rec.evidence.attention import Attention
from rag_rec.evidence.diversity import Diversity
from rag_rec.evidence.preference import Preference
from rag_rec.evidence.projections import Projections
from rag_rec.evidence.protocol import EvidenceStrategy, Memory

__all__ = ["Attention", "Diversity", "EvidenceStrategy", "Memory", "Preference", "Projections", "strategy"]


def strategy(name: Strategy, projections: Projections | None = None) -> EvidenceStrategy:
    """The strategy with this name. ``projections`` are trained weights for attention; the others have none."""
    if name is Strategy.PREFERENCE:
        return Preference()
    if name is Strategy.DIVERSITY:
        return Diversity()
    return Attention(projections=projections)
