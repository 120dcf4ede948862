"""Query and answer of the audit trail, as OpenAPI documents them. None names a person."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from rag_rec.forgetting.audit.actor import ActorKind
from serving.answers import Answer, Milliseconds
from serving.forget_answers import Subject

MOST: Final = 1000
NEWEST_NUMBER: Final = (1 << 63) - 1


class AuditQuery(BaseModel):
    """Query of the audit trail."""

    model_config = ConfigDict(extra="forbid")

    after: Annotated[
        int, Field(ge=0, le=NEWEST_NUMBER, description="Only entries whose number in the ledger is above this.")
    ] = 0
    limit: Annotated[int, Field(ge=1, le=MOST, description="At most so many, the oldest first.")] = 100


class ActorAnswer(Answer):
    """Who acted."""

    kind: ActorKind
    name: Annotated[str, Field(description="The fingerprint of an API key, or a user of the operating system.")]
    role: Annotated[str | None, Field(description="By which the key was allowed to.")]


class ActionAnswer(Answer):
    """What an actor did."""

    sequence: Annotated[int, Field(description="Number of the entry in the ledger, which is signed.")]
    time: Milliseconds
    action: Annotated[str, Field(description="`forget`, `consent`, `hold`, `release`, `export`, `prove` or `restore`.")]
    actor: Annotated[ActorAnswer | None, Field(description="Null in entries of earlier versions.")]
    request: Annotated[str | None, Field(description="Id of the forget request, where there is one.")]
    subject: Subject | None


class AuditAnswer(Answer):
    """A page of the audit trail."""

    actions: list[ActionAnswer]
