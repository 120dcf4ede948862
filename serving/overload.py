"""Refuses requests that would wait too long, before anything is spent on them: no key is looked up, nothing is parsed.

A refusal costs a small part of an answer, so that a service that is asked for several times what it can do still does
nearly all that it can. Health checks, removals and the other routes of privacy have no lane here and always pass.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.admission import ProtectedRoute
from serving.errors import error_response
from serving.lanes import Lane
from serving.service import Service

_STORED_NOWHERE = (b"cache-control", b"no-store")


@dataclass(frozen=True, slots=True)
class Guarded:
    """A route that a lane answers."""

    method: str
    path: re.Pattern[str]
    template: str
    lane: Lane


class Gate:
    """The application behind the gate.

    Args:
        app: the application.
        service: has the lanes.
        routes: of the application; they say which lane answers them.
    """

    def __init__(self, app: ASGIApp, service: Service, routes: Iterable[BaseRoute]) -> None:
        self._app = app
        self._service = service
        self.guarded = list(_guarded(routes, service))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it."""
        guarded = self._crowded(scope) if scope["type"] == "http" else None
        if guarded is None:
            await self._app(scope, receive, send)
        else:
            await self._refuse(guarded, send)

    def _crowded(self, scope: Scope) -> Guarded | None:
        """The route of the request, if the lane that answers it is crowded."""
        for guarded in self.guarded:
            if guarded.lane.crowded and guarded.method == scope["method"] and guarded.path.match(scope["path"]):
                return guarded
        return None

    async def _refuse(self, guarded: Guarded, send: Send) -> None:
        response = error_response(guarded.lane.refuse())
        number = (b"x-request-id", secrets.token_hex(8).encode())
        headers = [*response.raw_headers, number, _STORED_NOWHERE]
        self._service.metrics.count_refusal(guarded.method, guarded.template)
        await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
        await send({"type": "http.response.body", "body": response.body})


def _guarded(routes: Iterable[BaseRoute], service: Service) -> Iterator[Guarded]:
    for route in routes:
        if isinstance(route, ProtectedRoute) and route.lane is not None:
            for method in sorted(route.methods or ()):
                yield Guarded(method, route.path_regex, route.path_format, service.lane(route.lane))
