"""Brings a user's history into the form that evidence strategies read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rag_rec.events.history import History, PositiveRule
from rag_rec.evidence.protocol import Memory
from rag_rec.index.serving_state import ServingState
from rag_rec.vectors.protocol import Vectors

LINE_TOKENS = 8
"""Tokens that a line of evidence costs beside the item's text: its event, value and time."""

OWN_TEXT_TOKENS = 32
"""An interaction's own text is cut to this many tokens in a prompt, and always charged for in full."""

LONGEST = 500
"""How many of a user's latest interactions evidence is chosen from. Bounds the time of a request."""


@dataclass(frozen=True, slots=True)
class EvidencePool:
    """A history and, row by row, what strategies may look at."""

    history: History
    rows: Memory


def evidence_pool(
    live: ServingState, history: History, vectors: Vectors, rule: PositiveRule, line_tokens: int | None = None
) -> EvidencePool:
    """The latest interactions of a user that say anything in favour of an item.

    A pure function of the user's own interactions and the catalogue: what was forgotten cannot be in it.

    Args:
        live: the state to read items from.
        history: the user's interactions, n rows.
        vectors: their vectors, float32 [n, d].
        rule: what counts in favour of an item.
        line_tokens: what every line costs; None charges for its text.
    """
    weights = rule.weights(history, live.events)
    kept = np.flatnonzero(weights > 0)[-LONGEST:]
    history = history[kept]
    if line_tokens is None:
        tokens = live.items.catalogue.tokens[history["item"]] + LINE_TOKENS + OWN_TEXT_TOKENS * history["own_text"]
    else:
        tokens = np.full(len(history), line_tokens)
    rows = Memory(
        vectors=vectors[kept],
        weights=weights[kept],
        times=history["time"],
        tokens=tokens.astype(np.int32),
        clusters=live.items.clusters()[history["item"]],
    )
    return EvidencePool(history, rows)
