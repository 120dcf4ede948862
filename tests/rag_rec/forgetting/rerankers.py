"""A reranker as a build of many people fits it, with a figure of what it remembers."""

from __future__ import annotations

from dataclasses import replace

from rag_rec.candidates.reranker import Reranker
from rag_rec.evaluation.membership import Membership

FIGURE = Membership(700, 150, "likelihood", 0.5312, 0.4921, 0.5703, generation="20260101T000000-e7")


def fitted_reranker(membership: Membership | None) -> Reranker:
    """A reranker that was fitted elsewhere."""
    return replace(Reranker.default(), examples=400, membership=membership)
