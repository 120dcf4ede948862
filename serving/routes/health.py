"""Health, readiness, metrics and the interface's own description."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from rag_rec.errors import NotReady
from serving.admission import KEYED, needing
from serving.answers import HealthAnswer, ReadyAnswer, errors
from serving.auth import Role
from serving.errors import json_response
from serving.service import CurrentService

health = APIRouter(tags=["health"], responses=errors(400, 500))
metrics = APIRouter(route_class=needing(Role.METRICS), tags=["health"])
description = APIRouter(route_class=needing(None), tags=["health"])


@health.get("/healthz", response_model=HealthAnswer)
async def healthz() -> Response:
    """Whether the process is alive. Needs no key."""
    return json_response({"status": "alive"})


@health.get("/readyz", response_model=ReadyAnswer, responses=errors(503))
async def readyz(service: CurrentService) -> Response:
    """Whether the service can answer. Needs no key."""
    status = await service.inspections.run(service.ready_engine.status)
    if not status.ready:
        raise NotReady(status.reason or "The service cannot answer yet.")
    return json_response({"status": "ready"})


@metrics.get(
    "/metrics",
    response_class=Response,
    responses={200: {"description": "Prometheus text format.", "content": {"text/plain": {}}}, **KEYED, **errors(503)},
)
async def read_metrics(service: CurrentService) -> Response:
    """Metrics of the service."""
    return Response(await service.inspections.run(service.metrics.render), media_type=CONTENT_TYPE_LATEST)


@description.get(
    "/openapi.json",
    response_class=Response,
    responses={200: {"description": "OpenAPI document.", "content": {"application/json": {}}}, **KEYED},
)
async def openapi(request: Request) -> Response:
    """This description. Needs a key with any role."""
    return json_response(request.app.openapi())
