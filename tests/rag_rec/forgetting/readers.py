"""A reader as a build of many people fits it, with a figure of what it remembers."""

from __future__ import annotations

from dataclasses import replace

from rag_rec.candidates.reader import Reader
from rag_rec.evaluation.membership import Membership

FIGURE = Membership(700, 150, "likelihood", 0.5312, 0.4921, 0.5703, generation="20260101T000000-e7")


def fitted_reader(membership: Membership | None) -> Reader:
    """A reader that was fitted elsewhere."""
    return replace(Reader.default(), examples=400, membership=membership)
