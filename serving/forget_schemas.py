"""Bodies and queries of requests that forget somebody, or say that a person may not be forgotten."""

from __future__ import annotations

from typing import Annotated

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
)

from rag_rec.errors import InvalidInput
from rag_rec.forgetting.request import ForgetRequest
from rag_rec.store.records import Selection
from serving.fields import (
    FIRST_FAULT,
    LISTED,
    MAX_BATCH,
    MAX_NUMBER,
    MAX_REASON_CHARACTERS,
    WHOLE,
    Body,
    Id,
    Scope,
    Time,
    Yes,
    list_of,
)


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
        list_of("numbers"),
        Field(max_length=MAX_BATCH, description="Only these interactions, by the `id` that an export shows."),
    ] = frozenset()
    item_ids: Annotated[
        frozenset[Id],
        FIRST_FAULT,
        list_of("texts"),
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
