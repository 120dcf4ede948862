"""Bodies of answers about removals, as OpenAPI documents them. None names a person."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from rag_rec.layers.records import ForgetState
from serving.answers import Answer, Milliseconds
from serving.fields import Scope

Subject = Annotated[str, Field(description="Pseudonym of the person: a keyed HMAC of the user's id.")]


class PlanAnswer(Answer):
    """What a forget request would remove. Nothing has been changed."""

    plan: Annotated[str, Field(description="The hash to quote when the request is carried out.")]
    scope: Scope
    users: int
    interactions: int
    interaction_ids: Annotated[
        list[int], Field(description="Of the scope `interactions`: the first 100 that would go, by time.")
    ]
    index_files: int
    profile_vectors: int | None
    own_vectors: int | None
    statistics: Annotated[int | None, Field(description="Positive interactions that the counts would lose.")]
    caches: str
    adapters: Annotated[list[str], Field(description="Digests of the adapters that saw any of these people.")]
    held: Annotated[list[str], Field(description="Reasons of the legal holds that forbid it.")]
    held_at: Annotated[list[int], Field(description="The position in `user_ids` that each of them is about.")]
    expected_ms: Annotated[float | None, Field(description="How long it may take, by the latest requests.")]
    beyond: Annotated[
        dict[str, int | str | list[str] | None],
        Field(description="What further layers say would go, by their names for it; empty as installed."),
    ]


class WaitAnswer(Answer):
    """One layer that keeps a request open."""

    layer: str
    why: Annotated[str, Field(description="What is left there.")]
    until: Annotated[str | None, Field(description="By when it will be gone, ISO 8601 in UTC.")]
    which: Annotated[list[str], Field(description="Services or adapters that are waited for, by id.")]


class Outlook(Answer):
    """What a state means."""

    in_force: Annotated[str, Field(description="What the state means, in a sentence.")]
    waits_for: Annotated[list[WaitAnswer], Field(description="The layers that keep it from being complete.")]
    to_do: Annotated[str, Field(description="What to do about that, with the command.")]
    later: Annotated[
        list[WaitAnswer],
        Field(description="Layers for which it does not wait; a later receipt says that they are final."),
    ]


class ForgetAnswer(Outlook):
    """What went. It is in force, also where the state says that it waits for a replica, an adapter or a data folder."""

    request_id: Annotated[str, Field(description="Of the request, or of the batch; see GET /v1/forget/{request}.")]
    requests: Annotated[list[str], Field(description="The requests, one for each person; each has a receipt.")]
    state: ForgetState
    scope: Scope
    epoch_before: int
    epoch_after: Annotated[int, Field(description="Erasure epoch: no answer from now on is older.")]
    removed: Annotated[dict[str, int], Field(description="Rows by kind.")]
    timings_ms: Annotated[dict[str, float], Field(description="Milliseconds by step.")]
    repeated: Annotated[bool, Field(description="It had been carried out before; nothing was done.")]


class ForgetRecordAnswer(Outlook):
    """How far a forget request has come."""

    request_id: str
    batch_id: str | None
    subject: Subject
    scope: Scope
    state: ForgetState
    epoch_before: int
    epoch_after: int
    created: Milliseconds
    deadline: Annotated[int, Field(description="By when it must be complete, in milliseconds since 1970 UTC.")]
    times: Annotated[dict[str, int], Field(description="When each state was reached.")]
    removed: dict[str, int]
    timings_ms: dict[str, float]
    receipt: Annotated[bool, Field(description="Whether a receipt has been issued.")]


class BatchAnswer(Answer):
    """How far the requests of a batch have come."""

    batch: str
    requests: list[ForgetRecordAnswer]


class RequestsAnswer(Answer):
    """Forget requests, oldest first."""

    requests: list[ForgetRecordAnswer]


class KeyAnswer(Answer):
    """The key that verifies receipts."""

    key: Annotated[str, Field(description="Ed25519 public key, PEM.")]


class ConsentAnswer(Answer):
    """A new identity."""

    identity: Annotated[int, Field(description="Counts the person's identities, from 1 on.")]
    since: Annotated[int, Field(description="Events from this time on are taken; milliseconds since 1970 UTC.")]


class HoldAnswer(Answer):
    """A legal hold."""

    subject: Subject
    reason: str
    created: Milliseconds


class HoldsAnswer(Answer):
    """All legal holds, by time."""

    holds: list[HoldAnswer]


RECEIPT: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The signed receipt, byte for byte as it was issued.",
        "content": {"application/json": {"schema": {"type": "object"}}},
    }
}
PROOF: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The table of the comparison, as `rag-rec prove --json` prints it.",
        "content": {"application/json": {"schema": {"type": "object"}}},
    }
}
