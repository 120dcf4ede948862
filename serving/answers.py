"""Bodies of answers, as OpenAPI documents them.

The routes write the domain's dataclasses straight to JSON, which is many times faster than validating them again; the
tests hold every answer against these models.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from rag_rec.domain import Source, Strategy
from rag_rec.generators.condition import Standing

Milliseconds = Annotated[int, Field(description="Milliseconds since 1970 UTC.")]
AttributeValue = str | int | float | bool | list[str]


class Answer(BaseModel):
    """Base of all answers: every documented field is there, and no other one."""

    model_config = ConfigDict(extra="forbid")


class ReasonAnswer(Answer):
    """One of the user's own interactions that speaks for the item."""

    item_id: str
    event: str
    time: Milliseconds
    weight: Annotated[float, Field(ge=0, le=1, description="Its share of the support for the item.")]


class RecommendedItemAnswer(Answer):
    """One recommended item."""

    item_id: str
    text: str
    score: float
    sources: Annotated[list[str], Field(description="Candidate sources that speak for the item, strongest first.")]
    reasons: list[ReasonAnswer]


class GateAnswer(Answer):
    """Whether the LLM may take part in answers, and what was measured to decide it."""

    open: Annotated[bool, Field(description="Whether it may: the whole interval of the gain lies above zero.")]
    metric: Annotated[str, Field(description="What was measured, of the fusion less the candidates' own order.")]
    gain: Annotated[
        tuple[float, float] | None, Field(description="95 % interval of the gain. Null: nothing was measured.")
    ]
    people: Annotated[int, Field(description="How many people's newest choices were asked for.")]


class ProvenanceAnswer(Answer):
    """Where the answer came from."""

    epoch: Annotated[int, Field(description="Newest change of the store that the answer knows.")]
    generation: Annotated[str, Field(description="Index generation.")]
    strategy: Strategy
    source: Annotated[Source, Field(description="The stage that decided the order.")]
    known_user: Annotated[bool, Field(description="False: the user is unknown, and the items are the popular ones.")]
    evidence_tokens: int
    model: Annotated[str | None, Field(description="The LLM that took part.")]
    adapter: Annotated[str | None, Field(description="Digest of the LLM's adapter.")]
    label_mass: Annotated[float | None, Field(description="Probability the LLM gave to the candidates' labels.")]
    fallback: Annotated[str | None, Field(description="Why the LLM took no part, in a word, where there is one.")]
    gate: Annotated[GateAnswer | None, Field(description="Null: there is no LLM, or it has not been measured.")]
    held_back: Annotated[
        dict[str, float] | None,
        Field(description="Groups of items that are held back in the order, and by how much. Null: none is."),
    ]


class RecommendationAnswer(Answer):
    """At most k items, best first."""

    items: list[RecommendedItemAnswer]
    provenance: ProvenanceAnswer


class SimilarItemAnswer(Answer):
    """An item and the cosine similarity of its text."""

    item_id: str
    text: str
    score: float


class SimilarAnswer(Answer):
    """At most k items, most similar first."""

    items: list[SimilarItemAnswer]


class AppendAnswer(Answer):
    """How many events were stored, how many were stored already, and how many were refused because the person, or the
    event, has been forgotten."""

    accepted: int
    duplicates: int
    suppressed: int


class UserAnswer(Answer):
    """A user."""

    id: str
    attributes: dict[str, AttributeValue]


class ExportedInteraction(Answer):
    """One event of the user."""

    id: Annotated[int, Field(description="Names the event in `interaction_ids` of a forget request.")]
    item_id: str
    event: str
    value: float | None
    text: str | None
    time: Milliseconds


class ExportAnswer(Answer):
    """Everything stored about a user, oldest event first."""

    user: UserAnswer
    interactions: list[ExportedInteraction]


class HealthAnswer(Answer):
    """The process is there."""

    status: Literal["alive"]


class GeneratorAnswer(Answer):
    """How the LLM that ranks is."""

    state: Annotated[Standing, Field(description="Whether it can be asked; `off`: there is none.")]
    reason: Annotated[str | None, Field(description="In a word, why it is down or takes no part; null where it ranks.")]
    since: Annotated[str | None, Field(description="Since when it has been down, ISO 8601 in UTC.")]
    detail: Annotated[str, Field(description="The same in a sentence that says what to do.")]


class ReadyAnswer(Answer):
    """The service can answer."""

    status: Literal["ready"]
    generator: GeneratorAnswer


class FieldProblem(Answer):
    """What is wrong with one field."""

    field: str
    message: str


class ErrorContent(Answer):
    """What is wrong, and what to do. ``code`` is stable."""

    code: str
    message: str
    details: list[FieldProblem] = []


class ErrorAnswer(Answer):
    """The one shape of every error."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"error": {"code": "unknown_item", "message": "There is no item with this id."}}]
        }
    )

    error: ErrorContent


Responses = dict[int | str, dict[str, Any]]

_ERRORS = {
    400: "The request cannot be read: it is not JSON, or not UTF-8.",
    401: "No API key, or an unknown one.",
    403: "The key lacks the role.",
    404: "No such user, item or request.",
    409: "Not done, and the code says why: the confirmation or the plan is missing or out of date, a legal hold "
    "stands, or the person was forgotten.",
    408: "The body took too long to arrive.",
    413: "The body is too large, or holds too many values.",
    415: "The body is not declared as application/json.",
    422: "A value cannot be accepted; nothing was changed.",
    500: "The service failed.",
    503: "Not ready, or at its limit; see Retry-After.",
    504: "The answer was not ready within the deadline.",
}


def errors(*statuses: int) -> Responses:
    """The documentation of these errors."""
    return {status: {"model": ErrorAnswer, "description": _ERRORS[status]} for status in statuses}
