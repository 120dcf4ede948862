"""Events, users and items: everything that adds."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Response

from rag_rec.clock import now_ms
from rag_rec.errors import InvalidInput
from serving.admission import PROTECTED, WITH_BODY, needing
from serving.answers import AppendAnswer, errors
from serving.auth import Role
from serving.bodies import takes
from serving.errors import json_response
from serving.fields import Id
from serving.limits import EVENTS, MIB
from serving.schemas import Event, Events, ItemBody, UserBody
from serving.service import CurrentService

router = APIRouter(
    route_class=needing(Role.INGEST, answered_on="changes"), tags=["ingest"], responses={**PROTECTED, **WITH_BODY}
)


@router.post("/v1/users/{user_id:id}/interactions", response_model=AppendAnswer, responses=errors(404))
@takes(4 * MIB, values=8 * EVENTS + 64)
async def add_interactions(user_id: Annotated[Id, Path()], events: Events, service: CurrentService) -> Response:
    """Store one event or a list of them, all or none. The next recommendation knows them.

    A user who is unknown is created; an item must be known. Events of a forgotten person, and events that were
    forgotten, are not stored: the answer counts them as `suppressed`.
    """
    listed = [events] if isinstance(events, Event) else events
    if len(listed) > service.limits.events:
        raise InvalidInput(f"One call takes at most {service.limits.events} events; send more in several calls.")
    now = now_ms()
    interactions = [event.interaction(user_id, now) for event in listed]
    return json_response(await service.changes.run(service.ready_engine.add_interactions, user_id, interactions))


@router.put("/v1/users/{user_id:id}", status_code=204, response_class=Response, responses=errors(409))
@takes(MIB, values=20_000)
async def put_user(user_id: Annotated[Id, Path()], body: UserBody, service: CurrentService) -> Response:
    """Insert a user, or replace a user's attributes. A forgotten person needs a new consent first."""
    await service.changes.run(service.ready_engine.put_user, body.user(user_id))
    return Response(status_code=204)


@router.put("/v1/items/{item_id:id}", status_code=204, response_class=Response)
@takes(MIB, values=20_000)
async def put_item(item_id: Annotated[Id, Path()], body: ItemBody, service: CurrentService) -> Response:
    """Insert or replace an item. It can be recommended at once."""
    await service.changes.run(service.ready_engine.put_item, body.item(item_id))
    return Response(status_code=204)
