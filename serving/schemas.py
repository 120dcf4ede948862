"""Bodies and queries of requests about items, users and recommendations. Unknown fields are refused."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
)

from rag_rec.domain import Attributes, Interaction, Item, RecommendationRequest, Strategy, User
from rag_rec.events.known import unnamed
from serving.fields import (
    FIRST_FAULT,
    MAX_DEADLINE_MS,
    WHOLE,
    AttributeValues,
    Body,
    EventName,
    Filters,
    Id,
    Text,
    Time,
    Value,
)


class RecommendationBody(Body):
    """Which items to recommend to whom."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"user_id": "4711", "k": 10, "filters": "year >= 1990", "deadline_ms": 200}]}
    )

    user_id: Id
    k: Annotated[int, Field(strict=True, ge=1, description="How many items, at most."), WHOLE] = 10
    filters: Filters = None
    strategy: Annotated[Strategy, Field(description="How evidence is chosen from the user's history.")] = (
        Strategy.PREFERENCE
    )
    deadline_ms: Annotated[
        Annotated[int, Field(strict=True, ge=1, le=MAX_DEADLINE_MS), WHOLE] | None,
        Field(description="Milliseconds after which the answer is of no use; then the status is 504."),
    ] = None

    def request(self) -> RecommendationRequest:
        """The request to the engine."""
        return RecommendationRequest(self.user_id, self.k, self.filters, self.strategy, self.deadline_ms)


class ExplanationBody(RecommendationBody):
    """Which recommended item to explain to whom: a recommendation, and one of its items."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"user_id": "4711", "k": 10, "item_id": "1193"}]})

    item_id: Annotated[
        Id | None, Field(description="The item to explain, one of the k recommended; all of them, if left out.")
    ] = None


class Event(Body):
    """One event of a user on an item. (user, item, event, time) identifies it; a duplicate changes nothing."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"item_id": "1193", "event": "rating", "value": 5, "time": "2026-01-31T12:00Z"}]
        }
    )

    item_id: Id
    event: Annotated[
        EventName | None,
        Field(
            description="What happened, one of the events that are known. If left out: `rating` with a value, "
            "`interaction` without one."
        ),
    ] = None
    value: Value | None = None
    text: Annotated[Text | None, Field(description="What the user wrote, if anything.")] = None
    time: Annotated[Time | None, Field(description="When it happened; now, if left out.")] = None

    def interaction(self, user_id: str, now_ms: int) -> Interaction:
        """The interaction of this user, at ``now_ms`` if the event states no time."""
        time = now_ms if self.time is None else self.time
        event = unnamed(self.value) if self.event is None else self.event
        return Interaction(user_id, self.item_id, time, event, self.value, self.text)


def _one_or_many(value: object) -> str:
    return "many" if isinstance(value, list) else "one"


Events = Annotated[
    Annotated[Event, Tag("one")] | Annotated[list[Event], Tag("many"), Field(min_length=1), FIRST_FAULT],
    Discriminator(_one_or_many),
]


class UserBody(Body):
    """A user's attributes; they replace the stored ones."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"attributes": {"age": 25, "occupation": "writer"}}]})

    attributes: AttributeValues = {}  # noqa: RUF012 - pydantic copies it

    def user(self, user_id: str) -> User:
        """The user with these attributes."""
        return User(user_id, _attributes(self.attributes))


class ItemBody(Body):
    """An item; it replaces the stored one."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"text": "Heat (1995): crime, thriller", "attributes": {"year": 1995}}]}
    )

    text: Annotated[Text, Field(description="What is embedded and shown. It may be empty only where there is a title.")]
    attributes: AttributeValues = {}  # noqa: RUF012 - pydantic copies it
    provider: Id | None = None

    def item(self, item_id: str) -> Item:
        """The item with this id."""
        return Item(item_id, self.text, _attributes(self.attributes), self.provider)


def _attributes(attributes: dict[str, Any]) -> Attributes:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in attributes.items()}


class SimilarQuery(BaseModel):
    """Query of the similar items."""

    model_config = ConfigDict(extra="forbid")

    k: Annotated[int, Field(ge=1, description="How many items, at most.")] = 10
    filters: Filters = None


class NoQuery(BaseModel):
    """A query without any parameter."""

    model_config = ConfigDict(extra="forbid")
