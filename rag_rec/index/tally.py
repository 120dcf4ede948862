"""How much of what is stored speaks for an item: without that, every answer is what is popular."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

from rag_rec.errors import NothingPositive
from rag_rec.events.rule import EventRule, Meaning
from rag_rec.store.protocol import Store

HARDLY: Final = 0.01
"""Below this share of positive interactions, impressions left aside, hardly anything can be learned."""


@dataclass(frozen=True, slots=True)
class Tally:
    """The interactions of a store.

    Attributes:
        stored: all of them.
        positive: those that count in favour of their item.
        impressions: those that only say that an item was shown.
        unknown: those whose event has no rule, by event.
        unvalued: those whose event needs a value and that have none: they count as positive.
    """

    stored: int
    positive: int
    impressions: int
    unknown: Mapping[str, int]
    unvalued: int

    @classmethod
    def of(cls, store: Store, rules: Mapping[str, EventRule]) -> Self:
        """Count a store's interactions; reads each of them once."""
        minimum = {name: rule.minimum for name, rule in rules.items() if rule.minimum is not None}
        counts = [count for count in store.event_counts(minimum) if count.rows]
        known = [(count, rules[count.name]) for count in counts if count.name in rules]
        positive = [(count, rule.minimum) for count, rule in known if rule.means is Meaning.POSITIVE]
        return cls(
            stored=sum(count.rows for count in counts),
            positive=sum(
                count.rows if least is None else count.reaching + count.without_value for count, least in positive
            ),
            impressions=sum(count.rows for count, rule in known if rule.means is Meaning.IMPRESSION),
            unknown={count.name: count.rows for count in counts if count.name not in rules},
            unvalued=sum(count.without_value for count, least in positive if least is not None),
        )

    @property
    def warning(self) -> str | None:
        """What is wrong where nothing, or hardly anything, is positive; None where enough is."""
        if not self.stored:
            return None
        if not self.positive:
            return f"none of the {self.stored} interactions is positive: every answer will be what is popular. {ADVICE}"
        if self.positive < HARDLY * (self.stored - self.impressions):
            return (
                f"only {self.positive} of {self.stored} interactions are positive: hardly anything can be learned from "
                f"them. {ADVICE}"
            )
        return None

    def check(self) -> None:
        """Raise ``NothingPositive`` where there are interactions and none is positive."""
        if self.stored and not self.positive:
            raise NothingPositive(f"An index would be of no use: {self.warning}")


ADVICE: Final = (
    "Say with RAGREC_EVENTS which events are positive, and from which value on (`rag-rec doctor` lists the events)."
)
