"""Refuses requests that would wait too long, before anything is spent on them: no key is looked up, nothing is parsed.

A refusal costs a small part of an answer, so that a service that is asked for several times what it can do still does
nearly all that it can. Health checks, removals and the other routes of privacy have no lane here and always pass.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass

from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from serving.admission import ProtectedRoute
from serving.errors import error_response
from serving.lanes import Lane
from serving.service import Service


@dataclass(frozen=True, slots=True)
class _Guarded:
    """A route that a lane answers."""

    method: str
    path: re.Pattern[str]
    template: str
    lane: Lane


class Gate:
    """The application behind the gate.

    Args:
        app: the application; its routes say which lane answers them.
        service: has the lanes.
    """

    def __init__(self, app: FastAPI, service: Service) -> None:
        self._app = app
        self._service = service
        self._guarded = list(_guarded(app, service))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it."""
        guarded = self._find(scope) if scope["type"] == "http" else None
        if guarded is not None and guarded.lane.crowded:
            await self._refuse(guarded, scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _find(self, scope: Scope) -> _Guarded | None:
        method, path = scope["method"], scope["path"]
        for guarded in self._guarded:
            if guarded.method == method and guarded.path.match(path):
                return guarded
        return None

    async def _refuse(self, guarded: _Guarded, scope: Scope, receive: Receive, send: Send) -> None:
        response = error_response(guarded.lane.refuse())
        response.headers["X-Request-ID"] = secrets.token_hex(8)
        response.headers["Cache-Control"] = "no-store"
        self._service.metrics.count_refusal(guarded.method, guarded.template)
        await response(scope, receive, send)


def _guarded(app: FastAPI, service: Service) -> Iterator[_Guarded]:
    for route in app.routes:
        lane = service.lane(route.lane) if isinstance(route, ProtectedRoute) and route.lane else None
        if lane is not None and isinstance(route, ProtectedRoute):
            for method in route.methods or ():
                yield _Guarded(method, route.path_regex, route.path_format, lane)
