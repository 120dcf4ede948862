"""The events that need no setting, and the names of those that no caller has to name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from rag_rec.events.rule import IMPRESSION, NEGATIVE, POSITIVE, EventRule

RATING: Final = "rating"
"""The event of an interaction that has a value and names none."""

INTERACTION: Final = "interaction"
"""The event of an interaction that neither has a value nor names an event."""

_POSITIVE: Final = (
    "add_to_cart bookmark click complete download favorite follow install interaction like listen open order play "
    "purchase rating read review save share subscribe view watch watchlist wishlist"
)
_NEGATIVE: Final = (
    "dislike hide not_interested refund remove remove_from_cart report return skip unfollow unlike unsubscribe"
)
_IMPRESSION: Final = "exposure impression shown"

KNOWN: Final[Mapping[str, EventRule]] = MappingProxyType(
    {
        **dict.fromkeys(_POSITIVE.split(), POSITIVE),
        **dict.fromkeys(_NEGATIVE.split(), NEGATIVE),
        **dict.fromkeys(_IMPRESSION.split(), IMPRESSION),
    }
)
"""What the names that everybody uses mean. ``RAGREC_EVENTS`` adds others, or replaces these."""


def unnamed(value: float | None) -> str:
    """The event of an interaction that names none: a rating where it has a value, else what it is."""
    return INTERACTION if value is None else RATING
