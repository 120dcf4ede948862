"""Bodies of requests: read within limits of size and time, parsed and validated beside the event loop.

A body costs the service in proportion to its bytes, its values and the time that its sender takes. Each is bounded
before the next is spent: the declared size before a byte is read, the number of values before any is built.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeVar

import orjson
from fastapi import Request
from fastapi.exceptions import RequestValidationError

from serving.errors import JSON, BodyTooLarge, MalformedRequest, Overloaded, RequestTimeout, UnsupportedMediaType
from serving.service import Service
from serving.structure import SMALL, Bounds, check_structure

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])
Validate = Callable[[Any], Any]

INLINE_BYTES: Final = 4096
"""Bodies up to this size take less time to read than to hand to a thread."""


def takes(size: int, values: int) -> Callable[[Endpoint], Endpoint]:
    """Mark an endpoint whose bodies may be larger than :data:`serving.structure.SMALL`."""

    def mark(endpoint: Endpoint) -> Endpoint:
        endpoint.bounds = Bounds(size, values)  # type: ignore[attr-defined]
        return endpoint

    return mark


def bounds_of(endpoint: Callable[..., Any]) -> Bounds:
    """The bounds of an endpoint's bodies."""
    bounds: Bounds = getattr(endpoint, "bounds", SMALL)
    return bounds


class AdmittedRequest(Request):
    """A request whose body is bounded and strict JSON: UTF-8, no NaN or Infinity, no lone surrogates.

    Args:
        request: the request as it came.
        bounds: of the body.
        validate: makes the model of a parsed body.
    """

    def __init__(self, request: Request, bounds: Bounds = SMALL, validate: Validate | None = None) -> None:
        super().__init__(request.scope, request.receive)
        self._service: Service = request.app.state.service
        self._bounds = bounds
        self._validate = validate
        self._bytes: bytes | None = None
        self._held = 0

    async def body(self) -> bytes:
        """The body.

        Raises:
            BodyTooLarge: it exceeds the limit; the rest is not read.
            RequestTimeout: it takes too long to arrive.
            Overloaded: the bodies of all requests take too much memory.
        """
        if self._bytes is None:
            limit = min(self._bounds.size, self._service.limits.body_bytes)
            self._check_declared_size(limit)
            self._bytes = await self._read_in_time(limit)
        return self._bytes

    async def json(self) -> Any:
        """The validated body.

        Raises:
            UnsupportedMediaType: it is not declared as JSON.
            MalformedRequest: it is not JSON.
            BodyTooLarge: it holds too many values.
            RequestValidationError: it does not fit the interface.
        """
        if not hasattr(self, "_json"):
            body = await self.body()
            if self.headers.get("content-type", "").partition(";")[0].strip().lower() != JSON:
                raise UnsupportedMediaType(f"Send the body as JSON, with the header 'Content-Type: {JSON}'.")
            understand = partial(_understand, body, self._bounds, self._validate)
            inline = len(body) <= INLINE_BYTES
            self._json = understand() if inline else await self._service.bodies.run(understand)
        return self._json

    def release(self) -> None:
        """Count the body off; it is not needed any more."""
        self._service.body_bytes -= self._held
        self._held = 0

    def _check_declared_size(self, limit: int) -> None:
        declared = self.headers.get("content-length", "")
        if declared.isdecimal() and (len(declared) > 18 or int(declared) > limit):
            raise _too_large(limit)

    async def _read_in_time(self, limit: int) -> bytes:
        try:
            async with asyncio.timeout(self._service.limits.body_seconds):
                return await self._read(limit)
        except TimeoutError:
            raise RequestTimeout("The body took too long to arrive; send it faster, or in parts.") from None

    async def _read(self, limit: int) -> bytes:
        parts: list[bytes] = []
        async for part in self.stream():
            if self._held + len(part) > limit:
                raise _too_large(limit)
            self._hold(len(part))
            parts.append(part)
        return b"".join(parts)

    def _hold(self, size: int) -> None:
        if self._service.body_bytes + size > self._service.limits.bodies_bytes:
            raise Overloaded("The service is receiving too much at once; try again in a few seconds.")
        self._service.body_bytes += size
        self._held += size


def _understand(body: bytes, bounds: Bounds, validate: Validate | None) -> Any:
    check_structure(body, bounds)
    parsed = _parse(body)
    return parsed if validate is None else validate(parsed)


def _parse(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise MalformedRequest(
            f"The body is not JSON (line {error.lineno}, column {error.colno}). It must be UTF-8; "
            "NaN and Infinity are not JSON."
        ) from None


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"The body is larger than {limit} bytes; send it in parts.")


def validation(field: Any) -> Validate:
    """Validates with the field that FastAPI made for a body, which then finds the model made already."""

    def validate(parsed: Any) -> Any:
        model, problems = field.validate(parsed, {}, loc=("body",))
        if problems:
            raise RequestValidationError(problems)
        return model

    return validate
