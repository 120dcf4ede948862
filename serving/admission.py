"""What every request of a protected route passes before its handler runs: its key, and its body."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from rag_rec.forgetting.audit.actor import acting
from serving.addresses import restore_slashes
from serving.answers import errors
from serving.auth import Role
from serving.barrier import PASSAGE
from serving.bodies import AdmittedRequest, bounds_of, validation
from serving.service import Service

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class ProtectedRoute(APIRoute):
    """A route that needs an API key. ``role`` is what the key needs; None is any role.

    ``lane`` names the threads that answer it: beyond their limit requests are refused before anything else is done
    (:mod:`serving.overload`); None is never refused there. Removals wait until the answers of a ``personal`` one have
    left (:mod:`serving.barrier`).
    """

    role: Role | None = None
    personal = False
    lane: str | None = None

    def __init__(self, *args: Any, **options: Any) -> None:
        scopes = [self.role.value] if self.role else []
        options["openapi_extra"] = {"security": [{"bearer": scopes}, {"api_key": scopes}]}
        super().__init__(*args, **options)

    def get_route_handler(self) -> Handler:
        """The handler behind the admission."""
        handle, role, personal = super().get_route_handler(), self.role, self.personal
        bounds, field = bounds_of(self.endpoint), self.body_field
        validate = validation(field) if field is not None else None

        async def admit(request: Request) -> Response:
            service: Service = request.app.state.service
            caller = service.keyring.authorise(request, role)
            restore_slashes(request.scope)
            admitted = AdmittedRequest(request, bounds, validate)
            try:
                if field is not None:
                    await admitted.json()
                if personal:  # not before: a caller who sends the body slowly would hold up removals
                    request.scope[PASSAGE].enter(service.term)
                with acting(caller):
                    return await handle(admitted)
            finally:
                admitted.release()

        return admit


def needing(
    required: Role | None, *, answers_personally: bool = False, answered_on: str | None = None
) -> type[ProtectedRoute]:
    """The class of routes that need a role."""

    class RoleRoute(ProtectedRoute):
        role = required
        personal = answers_personally
        lane = answered_on

    return RoleRoute


KEYED = errors(400, 401, 403, 500)
"""Errors of every route that needs a key."""

PROTECTED = {**KEYED, **errors(422, 503)}
"""Errors of every protected route that asks the engine."""

WITH_BODY = errors(408, 413, 415)
"""Errors of every route that takes a body."""
