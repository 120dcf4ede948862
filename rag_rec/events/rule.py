"""What one event says about an item."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Meaning(StrEnum):
    """What an event says about its item."""

    POSITIVE = "positive"  # in favour of the item: candidates, profiles and reasons are made of such events
    NEUTRAL = "neutral"  # nothing, but the item is known to the user and is not proposed again
    NEGATIVE = "negative"  # not in favour of the item; it is not proposed again
    IMPRESSION = "impression"  # the item was shown and nothing more: it may be proposed again


class EventRule(BaseModel):
    """What an event means. A setting may write the meaning alone: ``"positive"`` is ``{"means": "positive"}``.

    With a ``minimum``, the event needs a value, and is positive from this value on; below it, it is neutral.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    means: Meaning
    minimum: float | None = Field(default=None, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _from_word(cls, given: Any) -> Any:
        return {"means": given} if isinstance(given, str) else given

    @model_validator(mode="after")
    def _only_a_positive_event_has_a_minimum(self) -> EventRule:
        if self.minimum is not None and self.means is not Meaning.POSITIVE:
            raise ValueError("only a positive event has a minimum")
        return self


POSITIVE: Final = EventRule(means=Meaning.POSITIVE)
NEGATIVE: Final = EventRule(means=Meaning.NEGATIVE)
NEUTRAL: Final = EventRule(means=Meaning.NEUTRAL)
IMPRESSION: Final = EventRule(means=Meaning.IMPRESSION)
STARS: Final = EventRule(means=Meaning.POSITIVE, minimum=4.0)
"""A rating of one to five stars."""


def rules_document(rules: Mapping[str, EventRule]) -> dict[str, dict[str, Any]]:
    """Rules as JSON, by name: what an index says it was built with."""
    return {name: rule.model_dump(mode="json") for name, rule in sorted(rules.items())}
