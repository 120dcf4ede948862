"""What every request of a protected route passes before its handler runs: key, media type, size, strict JSON."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import orjson
from fastapi import Request, Response
from fastapi.routing import APIRoute

from rag_rec.forgetting.audit.actor import acting
from serving.addresses import restore_slashes
from serving.answers import errors
from serving.auth import Role
from serving.barrier import PASSAGE
from serving.errors import JSON, BodyTooLarge, MalformedRequest, UnsupportedMediaType
from serving.service import Service

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class AdmittedRequest(Request):
    """A request whose body is bounded and strict JSON: UTF-8, no NaN or Infinity, no lone surrogates."""

    _bytes: bytes | None = None

    async def body(self) -> bytes:
        """The body.

        Raises:
            BodyTooLarge: it exceeds the limit; the rest is not read.
        """
        if self._bytes is None:
            limit = self.app.state.service.limits.body_bytes
            _check_declared_size(self, limit)
            self._bytes = await _read(self, limit)
        return self._bytes

    async def json(self) -> Any:
        """The body as JSON.

        Raises:
            UnsupportedMediaType: it is not declared as JSON.
            MalformedRequest: it is not JSON.
        """
        if not hasattr(self, "_json"):
            body = await self.body()
            if self.headers.get("content-type", "").partition(";")[0].strip().lower() != JSON:
                raise UnsupportedMediaType(f"Send the body as JSON, with the header 'Content-Type: {JSON}'.")
            self._json = _parse(body)
        return self._json


def _check_declared_size(request: Request, limit: int) -> None:
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise _too_large(limit)


async def _read(request: Request, limit: int) -> bytes:
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise _too_large(limit)
        parts.append(part)
    return b"".join(parts)


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"The body is larger than {limit} bytes; send it in parts.")


def _parse(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise MalformedRequest(
            f"The body is not JSON (line {error.lineno}, column {error.colno}). It must be UTF-8; "
            "NaN and Infinity are not JSON."
        ) from None


class ProtectedRoute(APIRoute):
    """A route that needs an API key. ``role`` is what the key needs; None is any role.

    Removals wait until the answers of a ``personal`` one have left (:mod:`serving.barrier`).
    """

    role: Role | None = None
    personal = False

    def __init__(self, *args: Any, **options: Any) -> None:
        scopes = [self.role.value] if self.role else []
        options["openapi_extra"] = {"security": [{"bearer": scopes}, {"api_key": scopes}]}
        super().__init__(*args, **options)

    def get_route_handler(self) -> Handler:
        """The handler behind the admission."""
        handle, role, has_body = super().get_route_handler(), self.role, self.body_field is not None
        personal = self.personal

        async def admit(request: Request) -> Response:
            service: Service = request.app.state.service
            caller = service.keyring.authorise(request, role)
            restore_slashes(request.scope)
            admitted = AdmittedRequest(request.scope, request.receive)
            if has_body:
                await admitted.json()
            if personal:  # not before: a caller who sends the body slowly would hold up removals
                request.scope[PASSAGE].enter(service.term)
            with acting(caller):
                return await handle(admitted)

        return admit


def needing(required: Role | None, *, answers_personally: bool = False) -> type[ProtectedRoute]:
    """The class of routes that need a role."""

    class RoleRoute(ProtectedRoute):
        role = required
        personal = answers_personally

    return RoleRoute


KEYED = errors(400, 401, 403, 500)
"""Errors of every route that needs a key."""

PROTECTED = {**KEYED, **errors(422, 503)}
"""Errors of every protected route that asks the engine."""

WITH_BODY = errors(413, 415)
"""Errors of every route that takes a body."""
