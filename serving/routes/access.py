"""Right of access."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Response

from rag_rec.forgetting.rights.access import export_document
from serving.admission import PROTECTED, needing
from serving.answers import ExportAnswer, errors
from serving.auth import Role
from serving.errors import json_response
from serving.fields import Id
from serving.service import CurrentService

router = APIRouter(
    route_class=needing(Role.PRIVACY, answers_personally=True), tags=["privacy"], responses={**PROTECTED, **errors(404)}
)


@router.get("/v1/users/{user_id:id}/export", response_model=ExportAnswer)
async def export(user_id: Annotated[Id, Path()], service: CurrentService) -> Response:
    """Everything stored about a user."""
    engine = service.ready_engine

    def write() -> Response:
        user, interactions = engine.officer.export(user_id)
        return json_response(export_document(user, interactions))

    return await service.inspections.run(write)
