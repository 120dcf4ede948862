"""What may be stored, and how much may be asked for: the rules that ingest, the API and the store share.

Every rule exists once as a predicate on one value. :func:`interaction_problems` applies the same rules to a whole
frame. Messages name the field and the rule, never the value.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import polars as pl

from rag_rec.domain import Attributes, Interaction, Item, User
from rag_rec.errors import InvalidInput
from rag_rec.events.rule import EventRule
from rag_rec.settings import Settings

MAX_ID_CHARACTERS = 256
MAX_EVENT_CHARACTERS = 64
MAX_ATTRIBUTES = 200
MAX_TIME = 253_402_300_799_999  # the last millisecond of the year 9999

# Identifiers end up in URLs, logs and terminals: no control character at all. Texts may have tabs and line ends.
_ID_FORBIDDEN = r"[\x00-\x1f\x7f-\x9f]"
_TEXT_FORBIDDEN = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]"
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_INTEGERS = range(-(2**63), 2**63)
FLOAT32_MAX = 3.4028234663852886e38

_id_forbidden = re.compile(_ID_FORBIDDEN)
_text_forbidden = re.compile(_TEXT_FORBIDDEN)


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits that a deployment may change.

    ``latest_time`` is the newest time accepted, ``events`` the rules of the events accepted; None stands for any.
    """

    max_text_characters: int = 20_000
    latest_time: int | None = None
    events: Mapping[str, EventRule] | None = None

    @classmethod
    def at(cls, now_ms: int, settings: Settings) -> Limits:
        """The limits for what arrives at a moment: its time may lie in the future only by the allowed clock skew, and
        its event must be known."""
        latest = now_ms + 1000 * settings.clock_skew_seconds
        return cls(settings.max_text_characters, latest, settings.event_rules)


DEFAULT_LIMITS = Limits()

NEEDS_VALUE = "is missing, and the event counts from a value on; without a value, name no event or another one"


def id_problem(value: object, limit: int = MAX_ID_CHARACTERS) -> str | None:
    """Why a value cannot be an identifier, None if it can."""
    if not isinstance(value, str):
        return "must be text"
    if _id_forbidden.search(value):  # first: Python and Polars differ on which of these are blank
        return "contains a control character"
    if not value.strip():
        return "is empty"
    if len(value) > limit:
        return f"is longer than {limit} characters"
    return "is not valid Unicode" if _SURROGATE.search(value) else None


def text_problem(value: object, limits: Limits = DEFAULT_LIMITS) -> str | None:
    """Why a value cannot be a text, None if it can."""
    if not isinstance(value, str):
        return "must be text"
    if len(value) > limits.max_text_characters:
        return f"is longer than {limits.max_text_characters} characters"
    if _text_forbidden.search(value):
        return "contains a control character"
    return "is not valid Unicode" if _SURROGATE.search(value) else None


def event_problem(name: str, limits: Limits = DEFAULT_LIMITS) -> str | None:
    """Why an event may not be stored although its name is well formed, None if it may."""
    return _unknown_event(limits.events) if limits.events is not None and name not in limits.events else None


def absent_value_problem(name: str, value: float | None, limits: Limits = DEFAULT_LIMITS) -> str | None:
    """Why an event may not be stored without a value, None if it may or has one."""
    return NEEDS_VALUE if value is None and name in _needing_a_value(limits) else None


def value_problem(value: object) -> str | None:
    """Why a value cannot be the value of an interaction, None if it can."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "must be a number"
    return None if math.isfinite(value) and abs(value) <= FLOAT32_MAX else "is not a finite number"


def time_problem(value: object, limits: Limits = DEFAULT_LIMITS) -> str | None:
    """Why a value cannot be a time in milliseconds, None if it can."""
    if isinstance(value, bool) or not isinstance(value, int):
        return "must be a whole number of milliseconds since 1970"
    if not 0 <= value <= MAX_TIME:
        return "is outside 1970..9999 (milliseconds are expected)"
    if limits.latest_time is not None and value > limits.latest_time:
        return "lies in the future"
    return None


def attribute_problem(value: object, limits: Limits = DEFAULT_LIMITS) -> str | None:
    """Why a value cannot be an attribute, None if it can."""
    match value:
        case bool():
            return None
        case str():
            return text_problem(value, limits)
        case int():
            return None if value in _INTEGERS else "is outside 64 bits"
        case float():
            return None if math.isfinite(value) else "is not a finite number"
        case tuple():
            return next((problem for member in value if (problem := text_problem(member, limits))), None)
    return "must be text, a number, true or false, or a list of texts"


def item_problem(item: Item, limits: Limits = DEFAULT_LIMITS) -> str | None:
    """Why an item cannot be stored, ``"field: reason"``, None if it can."""
    return _first(
        [
            ("item_id", id_problem(item.id)),
            ("text", text_problem(item.text, limits) or _blank_problem(item)),
            ("provider", None if item.provider is None else id_problem(item.provider)),
            *_attribute_problems(item.attributes, limits),
        ]
    )


def _blank_problem(item: Item) -> str | None:
    """Why an item says nothing, None if it has a text or a title."""
    title = item.attributes.get("title")
    if item.text.strip() or (isinstance(title, str) and title.strip()):
        return None
    return "is empty, and there is no title"


def user_problem(user: User, limits: Limits = DEFAULT_LIMITS) -> str | None:
    """Why a user cannot be stored, ``"field: reason"``, None if it can."""
    return _first([("user_id", id_problem(user.id)), *_attribute_problems(user.attributes, limits)])


def interaction_problem(interaction: Interaction, limits: Limits = DEFAULT_LIMITS) -> str | None:
    """Why an interaction cannot be stored, ``"field: reason"``, None if it can."""
    return _first(
        [
            ("user_id", id_problem(interaction.user_id)),
            ("item_id", id_problem(interaction.item_id)),
            ("event", id_problem(interaction.event, MAX_EVENT_CHARACTERS)),
            ("event", event_problem(interaction.event, limits)),
            ("value", absent_value_problem(interaction.event, interaction.value, limits)),
            ("value", None if interaction.value is None else value_problem(interaction.value)),
            ("text", None if interaction.text is None else text_problem(interaction.text, limits)),
            ("time", time_problem(interaction.time, limits)),
        ]
    )


def check_k(k: int, settings: Settings) -> None:
    """Raise ``InvalidInput`` unless so many items may be asked for."""
    if not 1 <= k <= settings.max_k:
        raise InvalidInput(f"k is {k}; it must lie between 1 and {settings.max_k}.")


def check_item(item: Item, limits: Limits = DEFAULT_LIMITS) -> None:
    """Raise ``InvalidInput`` unless an item can be stored."""
    _refuse("item", item_problem(item, limits))


def check_user(user: User, limits: Limits = DEFAULT_LIMITS) -> None:
    """Raise ``InvalidInput`` unless a user can be stored."""
    _refuse("user", user_problem(user, limits))


def check_interaction(interaction: Interaction, limits: Limits = DEFAULT_LIMITS) -> None:
    """Raise ``InvalidInput`` unless an interaction can be stored."""
    _refuse("interaction", interaction_problem(interaction, limits))


def interaction_problems(frame: pl.DataFrame, limits: Limits = DEFAULT_LIMITS) -> pl.Series:
    """The first problem of each row, ``"field: reason"``, or null for a row that can be stored.

    ``frame`` has the columns of :meth:`rag_rec.store.protocol.Store.append_frame`.
    """
    rules = [
        *_id_rules("user_id", MAX_ID_CHARACTERS),
        *_id_rules("item_id", MAX_ID_CHARACTERS),
        *_id_rules("event", MAX_EVENT_CHARACTERS),
        *_event_rules(limits),
        (pl.col("value").is_not_null() & ~_finite("value"), "value: is not a finite number"),
        *_text_rules("text", limits),
        *_time_rules(limits),
    ]
    problems = [pl.when(broken.fill_null(False)).then(pl.lit(message)) for broken, message in rules]
    return frame.select(pl.coalesce(problems).alias("problem")).to_series()


def _id_rules(name: str, limit: int) -> list[tuple[pl.Expr, str]]:
    column = pl.col(name)
    # Bytes are an upper bound of characters and need no decoding.
    too_long = (column.str.len_bytes() > limit) & (column.str.len_chars() > limit)
    return [
        (column.str.contains(_ID_FORBIDDEN), f"{name}: contains a control character"),
        (column.is_null() | (column.str.strip_chars() == ""), f"{name}: is empty"),
        (too_long, f"{name}: is longer than {limit} characters"),
    ]


def _event_rules(limits: Limits) -> list[tuple[pl.Expr, str]]:
    if limits.events is None:
        return []
    column = pl.col("event")
    needing = column.is_in(sorted(_needing_a_value(limits))) & pl.col("value").is_null()
    unknown = ~column.is_in(sorted(limits.events))
    return [(unknown, f"event: {_unknown_event(limits.events)}"), (needing, f"value: {NEEDS_VALUE}")]


def _unknown_event(known: Iterable[str]) -> str:
    return f"is none of those that are known ({', '.join(sorted(known))}); RAGREC_EVENTS adds one"


def _needing_a_value(limits: Limits) -> set[str]:
    return {name for name, rule in (limits.events or {}).items() if rule.minimum is not None}


def _text_rules(name: str, limits: Limits) -> list[tuple[pl.Expr, str]]:
    column, limit = pl.col(name), limits.max_text_characters
    return [
        (column.str.len_chars() > limit, f"{name}: is longer than {limit} characters"),
        (column.str.contains(_TEXT_FORBIDDEN), f"{name}: contains a control character"),
    ]


def _time_rules(limits: Limits) -> list[tuple[pl.Expr, str]]:
    column = pl.col("time")
    outside = column.is_null() | ~column.is_between(0, MAX_TIME)
    rules = [(outside, "time: is outside 1970..9999 (milliseconds are expected)")]
    if limits.latest_time is not None:
        rules.append((column > limits.latest_time, "time: lies in the future"))
    return rules


def _finite(name: str) -> pl.Expr:
    return pl.col(name).is_finite() & (pl.col(name).abs() <= FLOAT32_MAX)


def _attribute_problems(attributes: Attributes, limits: Limits) -> list[tuple[str, str | None]]:
    if len(attributes) > MAX_ATTRIBUTES:
        return [("attributes", f"are more than {MAX_ATTRIBUTES}")]
    names = [("name of an attribute", id_problem(name)) for name in attributes]
    # An attribute's name appears in the message only once the name itself is known to be harmless.
    values = [
        (f"attribute {name!r}", problem)
        for name, value in attributes.items()
        if (problem := attribute_problem(value, limits)) and not id_problem(name)
    ]
    return [*names, *values]


def _first(problems: Iterable[tuple[str, str | None]]) -> str | None:
    return next((f"{name}: {problem}" for name, problem in problems if problem), None)


def _refuse(what: str, problem: str | None) -> None:
    if problem:
        raise InvalidInput(f"This {what} cannot be stored. {problem}.")
