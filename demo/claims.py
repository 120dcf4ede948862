"""What the demonstration claims has to hold."""

from __future__ import annotations

from rag_rec.errors import RagRecError


def check(holds: bool, claim: str) -> None:
    """Stop the demonstration if a claim does not hold."""
    if not holds:
        raise RagRecError(f"This should hold and does not: {claim}.")
