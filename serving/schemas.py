"""Bodies of requests: what the service accepts. Unknown fields are refused, and nothing is coerced silently."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    FailFast,
    Field,
    StringConstraints,
    Tag,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from rag_rec.domain import Attributes, Interaction, Item, RecommendationRequest, Strategy, User
from rag_rec.errors import InvalidInput
from rag_rec.events.known import unnamed
from rag_rec.forgetting.request import ForgetRequest
from rag_rec.store.records import Selection
from rag_rec.validation import FLOAT32_MAX, MAX_ATTRIBUTES, MAX_EVENT_CHARACTERS, MAX_ID_CHARACTERS, MAX_TIME


class _FirstFault(FailFast):
    """Stops at the first fault of a list. Unlike the base it can stand in a union, which wants a hash."""

    def __hash__(self) -> int:
        return hash(type(self))


FIRST_FAULT = _FirstFault()
NAME = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"
"""No control character, and not only space."""

TEXT = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$"
"""No control character but tabs and line ends."""

MAX_DEADLINE_MS = 60_000
MAX_FILTER_CHARACTERS = 4_000
MAX_REASON_CHARACTERS = 1_000
MAX_BATCH = 10_000
LISTED = 1_000
MAX_NUMBER = 2**63 - 1
MAX_LISTED = 1_000
MAX_FIELDS = 32
"""More fields than any body has: their names are not looked at."""


def _whole(value: object) -> object:
    """1.0 is a whole number in JSON."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


WHOLE = BeforeValidator(_whole)
Id = Annotated[str, StringConstraints(min_length=1, max_length=MAX_ID_CHARACTERS, pattern=NAME)]
EventName = Annotated[str, StringConstraints(min_length=1, max_length=MAX_EVENT_CHARACTERS, pattern=NAME)]
Integer = Annotated[int, Field(strict=True, ge=-(2**63), le=MAX_NUMBER)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Value = Annotated[Number, Field(ge=-FLOAT32_MAX, le=FLOAT32_MAX)]
Text = Annotated[str, StringConstraints(strict=True, pattern=TEXT)]
Yes = Annotated[bool, Field(strict=True)]
Listed = Annotated[list[Text], Field(max_length=MAX_LISTED), FIRST_FAULT]
Attribute = Text | Yes | Integer | Number | Listed
Scope = Literal["user", "interactions"]
Filters = Annotated[
    str | None,
    Field(
        max_length=MAX_FILTER_CHARACTERS,
        json_schema_extra={"format": "filter"},
        description="Attribute expression that every item must meet.",
    ),
]


def _milliseconds(value: object) -> object:
    """ISO 8601 text as milliseconds since 1970; text without an offset is UTC. Anything else is left as it is."""
    if not isinstance(value, str):
        return _whole(value)
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise ValueError("is not a time: write ISO 8601, such as 2026-01-31T12:00:00Z, or milliseconds") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // _MILLISECOND


def _in_range(value: int) -> int:
    if not 0 <= value <= MAX_TIME:
        raise ValueError("lies outside the years 1970 to 9999; whole numbers are milliseconds since 1970")
    return value


def _list_of(what: str) -> BeforeValidator:
    """Refuse what is no list in words of JSON, which knows no sets."""

    def check(value: object) -> object:
        if not isinstance(value, list | frozenset):
            raise PydanticCustomError("list_type", "Input should be a list of {what}", {"what": what})
        return value

    return BeforeValidator(check)


def _few(value: object) -> object:
    """Refuse too many attributes before each is validated."""
    if isinstance(value, dict) and len(value) > MAX_ATTRIBUTES:
        raise PydanticCustomError(
            "too_long", "Dictionary should have at most {max_length} items", {"max_length": MAX_ATTRIBUTES}
        )
    return value


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = datetime(1970, 1, 1, 0, 0, 0, 1000) - datetime(1970, 1, 1)
_TIME_SCHEMA: dict[str, Any] = {
    "anyOf": [{"type": "string", "format": "date-time"}, {"type": "integer", "minimum": 0, "maximum": MAX_TIME}],
    "description": "ISO 8601 (UTC where it has no offset), or whole milliseconds since 1970 UTC.",
}
Time = Annotated[
    int, Field(strict=True), BeforeValidator(_milliseconds), AfterValidator(_in_range), WithJsonSchema(_TIME_SCHEMA)
]


def _name_all(schema: dict[str, Any]) -> None:
    """What pydantic says of the names of attributes holds for those that fit the pattern; say it of all."""
    (schema["additionalProperties"],) = schema.pop("patternProperties").values()
    schema["propertyNames"] = {"minLength": 1, "maxLength": MAX_ID_CHARACTERS, "pattern": NAME}


AttributeValues = Annotated[
    dict[Id, Attribute],
    BeforeValidator(_few),
    Field(max_length=MAX_ATTRIBUTES, json_schema_extra=_name_all),
]


class Body(BaseModel):
    """Base of all bodies."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _has_few_fields(cls, value: object) -> object:
        """Refuse a body of many unknown fields with one error instead of one for each."""
        if isinstance(value, dict) and len(value) > MAX_FIELDS:
            raise PydanticCustomError("extra_forbidden", "Input has fields that are not known")
        return value


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

    attributes: AttributeValues = {}

    def user(self, user_id: str) -> User:
        """The user with these attributes."""
        return User(user_id, _attributes(self.attributes))


class ItemBody(Body):
    """An item; it replaces the stored one."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"text": "Heat (1995): crime, thriller", "attributes": {"year": 1995}}]}
    )

    text: Annotated[Text, Field(description="What is embedded and shown. It may be empty only where there is a title.")]
    attributes: AttributeValues = {}
    provider: Id | None = None

    def item(self, item_id: str) -> Item:
        """The item with this id."""
        return Item(item_id, self.text, _attributes(self.attributes), self.provider)


def _attributes(attributes: dict[str, Any]) -> Attributes:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in attributes.items()}


class ForgetBody(Body):
    """What to forget: a user, a batch of users, or some of a user's interactions.

    Conditions on interactions are joined by "and".
    """

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {"required": ["user_id"], "properties": {"user_id": {"type": "string"}, "user_ids": {"type": "null"}}},
                {"required": ["user_ids"], "properties": {"user_ids": {"type": "array"}, "user_id": {"type": "null"}}},
            ],
            "examples": [
                {"user_id": "4711", "scope": "user", "dry_run": True},
                {"user_id": "4711", "scope": "user", "confirm": "4711", "plan": "9f86d081..."},
                {"user_ids": ["4711", "4712"], "scope": "user", "confirm": "2", "plan": "60303ae2..."},
            ],
        }
    )

    user_id: Annotated[Id | None, Field(description="The user; or give user_ids.")] = None
    user_ids: Annotated[
        Annotated[list[Id], Field(min_length=1, max_length=MAX_BATCH), FIRST_FAULT] | None,
        Field(description='A batch of users, for the scope "user"; or give user_id.'),
    ] = None
    scope: Scope
    interaction_ids: Annotated[
        frozenset[Annotated[int, Field(strict=True, ge=0, le=MAX_NUMBER), WHOLE]],
        FIRST_FAULT,
        _list_of("numbers"),
        Field(max_length=MAX_BATCH, description="Only these interactions, by the `id` that an export shows."),
    ] = frozenset()
    item_ids: Annotated[
        frozenset[Id],
        FIRST_FAULT,
        _list_of("texts"),
        Field(max_length=MAX_BATCH, description="Only interactions with these items."),
    ] = frozenset()
    before: Annotated[Time | None, Field(description="Only interactions before this time.")] = None
    after: Annotated[Time | None, Field(description="Only interactions from this time on.")] = None
    dry_run: Annotated[Yes, Field(description="Say what would go, and change nothing.")] = False
    confirm: Annotated[
        Id | None, Field(description="Repeats user_id, or of a batch the number of its users: it cannot be undone.")
    ] = None
    plan: Annotated[Id | None, Field(description="The hash that the dry run gave. Not with `dry_run`.")] = None

    def request(self) -> ForgetRequest:
        """The request to the engine.

        Raises:
            InvalidInput: not exactly one of user_id and user_ids is given, or conditions on interactions go with the
                scope ``user``, which would ignore them.
        """
        return ForgetRequest(self._users(), self._selection(), self.confirm, self.plan)

    def _users(self) -> tuple[str, ...]:
        if (self.user_id is None) == (self.user_ids is None):
            raise InvalidInput("Give either user_id, or for a batch user_ids.")
        return (self.user_id,) if self.user_id is not None else tuple(self.user_ids or ())

    def _selection(self) -> Selection | None:
        selection = Selection(self.item_ids, self.before, self.after, self.interaction_ids)
        if self.scope == "interactions":
            return selection
        if selection != Selection():
            raise InvalidInput(
                'interaction_ids, item_ids, before and after need the scope "interactions"; the scope "user" is '
                "everything."
            )
        return None


class FindBody(Body):
    """Whose forget requests to list. In a body, because addresses end up in the logs of proxies."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"user_id": "4711"}]})

    user_id: Annotated[Id, Field(description="The id that the person has, or had before being forgotten.")]


class HoldBody(Body):
    """Why a user may not be forgotten."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "case 17/2026"}]})

    reason: Annotated[
        str,
        StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_REASON_CHARACTERS),
        Field(description="The legal reason, such as the file number of the case. Do not name the person."),
    ]


class SimilarQuery(BaseModel):
    """Query of the similar items."""

    model_config = ConfigDict(extra="forbid")

    k: Annotated[int, Field(ge=1, description="How many items, at most.")] = 10
    filters: Filters = None


class DeleteQuery(BaseModel):
    """Query of the deletion of a user."""

    model_config = ConfigDict(extra="forbid")

    confirm: Annotated[Id | None, Field(description="Repeats the user's id: forgetting cannot be undone.")] = None
    plan: Annotated[Id | None, Field(description="The hash that the dry run gave. Not with `dry_run`.")] = None
    dry_run: Annotated[bool, Field(description="Say what would go, and change nothing.")] = False


class RequestsQuery(BaseModel):
    """Query of the list of forget requests."""

    model_config = ConfigDict(extra="forbid")

    pending: Annotated[bool, Field(description="Only those that are not complete.")] = False
    limit: Annotated[
        Annotated[int, Field(ge=1, le=MAX_BATCH)] | None,
        Field(description=f"The newest so many. If left out: {LISTED}, or all that are not complete."),
    ] = None

    @property
    def newest(self) -> int | None:
        """How many are listed at most, None for all: none that waits is left out unasked, least of all the oldest."""
        return self.limit or (None if self.pending else LISTED)


class NoQuery(BaseModel):
    """A query without any parameter."""

    model_config = ConfigDict(extra="forbid")
