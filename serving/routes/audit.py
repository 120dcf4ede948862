"""Who did what to whom."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query, Response

from serving.admission import PROTECTED, needing
from serving.audit_answers import AuditAnswer, AuditQuery
from serving.auth import Role
from serving.errors import json_response
from serving.service import CurrentService

router = APIRouter(route_class=needing(Role.PRIVACY), tags=["privacy"], responses=PROTECTED)


@router.get("/v1/audit", response_model=AuditAnswer)
async def audit(query: Annotated[AuditQuery, Query()], service: CurrentService) -> Response:
    """What was done by which key or user of the operating system, oldest first. People stand as pseudonyms.

    For the next page, give the `sequence` of the last one as `after`.
    """
    found = await service.inspections.run(service.ready_engine.officer.audit, query.after, query.limit)
    return json_response({"actions": [asdict(each) for each in found]})
