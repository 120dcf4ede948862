"""What the product talks about: users, items, interactions, candidates, evidence, recommendations.

Everything here is frozen and does no I/O. Identifiers given by the caller are strings (``id``). Inside, rows are
addressed by small integers: an item's *number* is dense (0, 1, 2, ... in order of first insertion, never reused, never
a gap), so that it doubles as a matrix column; a user's and an interaction's *number* only ever grows and is never
reused, so that a number of a forgotten person can never come to mean another person.

Times are integers: milliseconds since 1970-01-01 UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

AttributeValue = str | int | float | bool | tuple[str, ...]
Attributes = Mapping[str, AttributeValue]


class Strategy(StrEnum):
    """How evidence is chosen from a user's own history (see :mod:`rag_rec.evidence`)."""

    PREFERENCE = "preference"
    DIVERSITY = "diversity"
    ATTENTION = "attention"


class Source(StrEnum):
    """Which stage of the pipeline produced the final order."""

    LLM = "llm"
    FUSED = "fused"
    CANDIDATES = "candidates"
    POPULARITY = "popularity"


@dataclass(frozen=True, slots=True)
class User:
    """A person, with attributes such as age or occupation."""

    id: str
    attributes: Attributes = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Item:
    """Something that can be recommended: a text to embed and show, attributes to filter by, and who provides it."""

    id: str
    text: str
    attributes: Attributes = field(default_factory=dict)
    provider: str | None = None


@dataclass(frozen=True, slots=True)
class Interaction:
    """One event of one user on one item.

    (user, item, event, time) identifies it: the same four again are a duplicate and change nothing.
    """

    user_id: str
    item_id: str
    time: int
    event: str = "rating"
    value: float | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """An item proposed by the candidate model: its fused score and the sources that speak for it, strongest first."""

    item_id: str
    score: float
    sources: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reason:
    """One of the user's own interactions that speaks for a recommended item.

    ``weight`` is that interaction's share of the evidence's support for the item, in [0, 1].
    """

    item_id: str
    event: str
    time: int
    weight: float


@dataclass(frozen=True, slots=True)
class RecommendedItem:
    """One line of the answer."""

    item_id: str
    text: str
    score: float
    sources: tuple[str, ...]
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class GateState:
    """Whether the LLM may take part, and what was measured to decide it.

    Attributes:
        open: whether it may.
        metric: what was measured, of the fusion less the candidates' own order.
        gain: 95 % interval of that difference over people; None where nothing was measured.
        people: how many were asked.
    """

    open: bool
    metric: str
    gain: tuple[float, float] | None
    people: int


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where an answer came from, so that anyone can tell what it may still contain.

    ``model``, ``adapter`` and ``label_mass`` are those of the LLM where it took part. ``fallback`` says in a word why
    it did not although it was asked, or was not asked although there is one (:mod:`rag_rec.generators.failures`).
    ``gate`` is None where there is no LLM, or it has not been measured. ``held_back`` are the strengths by which the
    exposure control holds groups of items back, by name; None where nothing is.
    """

    epoch: int
    generation: str
    strategy: Strategy
    source: Source
    known_user: bool
    evidence_tokens: int
    model: str | None = None
    adapter: str | None = None
    label_mass: float | None = None
    fallback: str | None = None
    gate: GateState | None = None
    held_back: Mapping[str, float] | None = None


@dataclass(frozen=True, slots=True)
class RecommendationRequest:
    """What a caller asks for. ``filters`` is an attribute expression (see :mod:`rag_rec.catalogue.filters`)."""

    user_id: str
    k: int = 10
    filters: str | None = None
    strategy: Strategy = Strategy.PREFERENCE
    deadline_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The answer to a :class:`RecommendationRequest`: at most ``k`` items, best first."""

    items: tuple[RecommendedItem, ...]
    provenance: Provenance


@dataclass(frozen=True, slots=True)
class SimilarItem:
    """An item whose text is close to another's; ``score`` is the cosine similarity."""

    item_id: str
    text: str
    score: float
