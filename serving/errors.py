"""The one error shape of the service, and the errors that only a service has.

Every error, whoever raises it, leaves as ``{"error": {"code": ..., "message": ..., "details": [...]}}``; ``details``
is there only where single fields are at fault. Bodies and values are never repeated.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Match

from rag_rec.errors import InvalidInput, RagRecError, Unauthorized

JSON = "application/json"
RETRY_SECONDS = 3
REQUEST_ID = "rag_rec.request_id"
"""Name of the request's number in its scope."""

FAILED = "rag_rec.error"
"""Where a request's scope has the code of the error by which it ended, for the log."""

INTERNAL = "The service failed; the log has the request under its X-Request-ID."
DETAILS = 20  # fields named in one answer; a body of a thousand bad events needs no thousand lines


class MalformedRequest(InvalidInput):
    """The request cannot even be read: not JSON, not UTF-8."""

    code = "malformed_request"
    status = 400


class BodyTooLarge(InvalidInput):
    """The body exceeds the service's limit."""

    code = "body_too_large"
    status = 413


class UnsupportedMediaType(InvalidInput):
    """The body is not declared as JSON."""

    code = "unsupported_media_type"
    status = 415


class RequestTimeout(InvalidInput):
    """The caller takes too long to send the request."""

    code = "request_timeout"
    status = 408


class Overloaded(RagRecError):
    """More calls wait already than the service lets wait."""

    code = "overloaded"
    status = 503


class DeadlineExceeded(RagRecError):
    """The answer was not there within the caller's deadline."""

    code = "deadline_exceeded"
    status = 504


class AnswerVoid(RagRecError):
    """The answer was overtaken by a removal and did not leave."""

    code = "answer_void"
    status = 503


def encoded(content: object) -> bytes:
    """``content`` as JSON; dataclasses are written field by field."""
    return orjson.dumps(content)


def json_response(content: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A response with ``content`` as JSON."""
    return Response(encoded(content), status, headers, media_type=JSON)


def error_response(error: RagRecError, details: Sequence[Mapping[str, str]] = ()) -> Response:
    """The response for an error."""
    headers = {}
    if isinstance(error, Unauthorized):
        headers["WWW-Authenticate"] = "Bearer"
    if error.status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = retry_after()
    return json_response(error_body(error.code, str(error), details), error.status, headers)


def retry_after() -> str:
    """Seconds until a refused caller may come again, drawn, so that those refused together do not come together."""
    return str(1 + secrets.randbelow(RETRY_SECONDS))


def error_body(code: str, message: str, details: Sequence[Mapping[str, str]] = ()) -> dict[str, Any]:
    """The error shape."""
    content: dict[str, Any] = {"code": code, "message": message}
    if details:
        content["details"] = list(details)
    return {"error": content}


def register(app: FastAPI) -> None:
    """Give every error raised under ``app`` the one shape."""
    app.add_exception_handler(RagRecError, _on_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)


async def _on_error(request: Request, error: Exception) -> Response:
    shown: RagRecError = request.app.state.service.disclose(error, request.scope[REQUEST_ID])
    request.scope[FAILED] = shown.code
    return error_response(shown)


async def _on_invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    problems = error.errors()
    details = [{"field": _field(problem["loc"]), "message": problem["msg"]} for problem in problems[:DETAILS]]
    message = "The request does not fit the interface; nothing was changed. See the details and /openapi.json."
    return error_response(InvalidInput(message), details)


def _field(location: Sequence[str | int]) -> str:
    return ".".join(str(part) for part in location)


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    if error.status_code == HTTPStatus.NOT_FOUND:
        content = error_body("unknown_route", "There is no such address; /openapi.json lists them all.")
        return json_response(content, error.status_code)
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = ", ".join(sorted(_methods(request)))
        content = error_body("method_not_allowed", f"This address answers to {allowed} only.")
        return json_response(content, error.status_code, {"Allow": allowed})
    return json_response(error_body("http_error", str(error.detail)), error.status_code)


def _methods(request: Request) -> set[str]:
    """Methods of all routes that match the path of the request."""
    found: set[str] = set()
    for method in ("GET", "POST", "PUT", "DELETE"):
        scope = {**request.scope, "method": method}
        if any(route.matches(scope)[0] == Match.FULL for route in request.app.routes):
            found.add(method)
    return found
