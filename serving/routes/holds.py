"""Legal holds, and the consent of a forgotten person to a new identity."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from serving.admission import PROTECTED, WITH_BODY, needing
from serving.answers import errors
from serving.auth import Role
from serving.errors import json_response
from serving.fields import Id
from serving.forget_answers import ConsentAnswer, HoldsAnswer
from serving.forget_schemas import HoldBody
from serving.schemas import NoQuery
from serving.service import CurrentService

router = APIRouter(route_class=needing(Role.PRIVACY), tags=["privacy"], responses=PROTECTED)


@router.put(
    "/v1/users/{user_id:id}/hold",
    status_code=204,
    response_class=Response,
    responses={**WITH_BODY, **errors(404)},
)
async def hold(user_id: Annotated[Id, Path()], body: HoldBody, service: CurrentService) -> Response:
    """Forbid that a user is forgotten, for a legal reason; another reason replaces it."""
    await service.changes.run(service.ready_engine.officer.hold, user_id, body.reason)
    return Response(status_code=204)


@router.delete("/v1/users/{user_id:id}/hold", status_code=204, response_class=Response, responses=errors(404))
async def release(
    user_id: Annotated[Id, Path()],
    _: Annotated[NoQuery, Query()],
    service: CurrentService,
) -> Response:
    """Lift a legal hold."""
    await service.changes.run(service.ready_engine.officer.release, user_id)
    return Response(status_code=204)


@router.get("/v1/holds", response_model=HoldsAnswer)
async def holds(service: CurrentService) -> Response:
    """All legal holds, by time. They name people by pseudonym."""
    listed = await service.inspections.run(service.ready_engine.officer.holds)
    return json_response({"holds": [asdict(each) for each in listed]})


@router.post("/v1/users/{user_id:id}/consent", response_model=ConsentAnswer, responses=errors(404))
async def consent(user_id: Annotated[Id, Path()], service: CurrentService) -> Response:
    """Record that a forgotten person wants to come back: a new identity, to which nothing from before is added."""
    opened = await service.changes.run(service.ready_engine.officer.consent, user_id)
    return json_response({"identity": opened.identity, "since": opened.consented})
