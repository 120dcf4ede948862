"""Right of access and right to be forgotten."""

from __future__ import annotations

from time import perf_counter
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response

from rag_rec.domain import Interaction
from rag_rec.forgetting.request import ForgetRequest
from serving.admission import PROTECTED, WITH_BODY, needing
from serving.answers import ExportAnswer, ForgetAnswer, ForgetRecordAnswer, errors
from serving.auth import Role
from serving.errors import json_response
from serving.schemas import DeleteQuery, ForgetBody, Id
from serving.service import CurrentService, Service

router = APIRouter(route_class=needing(Role.PRIVACY), tags=["privacy"], responses={**PROTECTED, **errors(404)})


@router.get("/v1/users/{user_id:path}/export", response_model=ExportAnswer)
async def export(user_id: Annotated[Id, Path()], service: CurrentService) -> Response:
    """Everything stored about a user."""
    engine = service.ready_engine

    def write() -> Response:
        user, interactions = engine.export(user_id)
        return json_response({"user": user, "interactions": [_exported(interaction) for interaction in interactions]})

    return await service.inspections.run(write)


def _exported(interaction: Interaction) -> dict[str, Any]:
    return {
        "item_id": interaction.item_id,
        "event": interaction.event,
        "value": interaction.value,
        "text": interaction.text,
        "time": interaction.time,
    }


@router.delete("/v1/users/{user_id:path}", response_model=ForgetAnswer, responses=errors(409))
async def delete_user(
    user_id: Annotated[Id, Path()], query: Annotated[DeleteQuery, Query()], service: CurrentService
) -> Response:
    """Forget a user on every exact layer. It cannot be undone: ``confirm`` repeats the user's id."""
    return await _forget(service, ForgetRequest(user_id, None, query.dry_run, query.confirm))


@router.post("/v1/forget", response_model=ForgetAnswer, responses={**WITH_BODY, **errors(409)})
async def forget(body: ForgetBody, service: CurrentService) -> Response:
    """Forget a user, or some of a user's interactions. It cannot be undone: ``confirm`` repeats the user's id."""
    return await _forget(service, body.request())


@router.get("/v1/forget/{request}", response_model=ForgetRecordAnswer)
async def forget_status(request: Annotated[Id, Path()], service: CurrentService) -> Response:
    """What became of a forget request."""
    return json_response(await service.inspections.run(service.ready_engine.forget_status, request))


async def _forget(service: Service, request: ForgetRequest) -> Response:
    request.check()
    started = perf_counter()
    outcome = await service.changes.run(service.ready_engine.forget, request)
    service.metrics.count_forget(outcome, perf_counter() - started)
    return json_response(outcome)
