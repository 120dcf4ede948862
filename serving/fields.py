"""Types of the fields that requests have, and the base of their bodies. Nothing is coerced silently."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    FailFast,
    Field,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

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


def list_of(what: str) -> BeforeValidator:
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
