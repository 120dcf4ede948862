"""Health, readiness, metrics and the interface's own description."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from rag_rec.clock import iso
from rag_rec.errors import NotReady
from rag_rec.generators.condition import Condition
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
    """Whether the service can answer, and how its LLM is. Needs no key.

    Answers come without the LLM, too: it does not keep the service from being ready.
    """
    status = await service.inspections.run(service.ready_engine.status)
    if not status.ready:
        raise NotReady(status.reason or "The service cannot answer yet.")
    return json_response({"status": "ready", "generator": _generator(status.generator)})


def _generator(condition: Condition) -> dict[str, str | None]:
    """How the LLM is, in words that name no address and no path."""
    since = None if condition.since is None else iso(condition.since, "seconds")
    return {
        "state": condition.state.value,
        "reason": condition.reason,
        "since": since,
        "detail": condition.detail,
    }


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
