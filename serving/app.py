"""The application: routes, one error shape, observation, and what happens at start and stop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial

from fastapi import FastAPI

import rag_rec
from serving import errors
from serving.observation import Observation
from serving.openapi import describe
from serving.routes import access, audit, explanations, forgetting, health, holds, ingest, recommendations
from serving.service import Service
from serving.unlearning import Unlearning

ROUTERS = (
    recommendations.router,
    explanations.router,
    holds.router,
    ingest.router,
    access.router,
    audit.router,
    forgetting.router,
    forgetting.key,
    health.health,
    health.metrics,
    health.description,
)


def create_app(service: Service) -> FastAPI:
    """The ASGI application of a service."""
    app = FastAPI(
        title="rag-rec",
        version=rag_rec.__version__,
        openapi_url=None,  # served by a route of ours, which asks for a key
        redirect_slashes=False,  # a redirect would repeat the identifiers of the address
        lifespan=_lifespan,
    )
    app.state.service = service
    for router in ROUTERS:
        app.include_router(router)
    errors.register(app)
    app.add_middleware(Observation, service=service)
    app.openapi = partial(describe, app, service)  # type: ignore[method-assign]
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    service: Service = app.state.service
    unlearning = Unlearning(service, service.settings.adapter_unlearn_minutes)
    duties = (service.follow_generations, service.remain_present, service.attend_removals, unlearning.repeat)
    tasks = [asyncio.create_task(duty()) for duty in duties]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await asyncio.to_thread(service.close)
