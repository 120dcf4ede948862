"""The outermost layer: numbers every request, counts and logs it, and lets no exception through.

Pure ASGI, because it runs around every request.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from time import perf_counter
from urllib.parse import unquote_to_bytes

from fastapi import Response
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rag_rec.errors import InvalidInput
from serving.addresses import keep_slashes
from serving.barrier import PASSAGE
from serving.errors import FAILED, REQUEST_ID, AnswerVoid, MalformedRequest, error_response
from serving.http_connection import WAY_OUT
from serving.service import Service

UNMATCHED = "unmatched"
SILENT = "The service was silent for too long while it answered, so that the answer may be out of date; ask again."
PARAMETERS = 32
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Observation:
    """Wraps the application."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        watch = _Watch(send, self._service)
        scope[REQUEST_ID] = watch.request_id
        self._service.metrics.in_flight.inc()
        try:
            await self._answer(scope, receive, watch)
        finally:
            self._service.metrics.in_flight.dec()
            self._record(scope, watch)

    async def _answer(self, scope: Scope, receive: Receive, watch: _Watch) -> None:
        try:
            _check_address(scope)
            keep_slashes(scope)
            async with self._service.barrier.passage() as passage:
                scope[PASSAGE] = passage
                watch.ready = scope.get("extensions", {}).get(WAY_OUT, {}).get("ready", _at_once)
                watch.may_leave = lambda: not passage.entered or passage.term == self._service.term is not None
                await self._app(scope, receive, watch)
                if passage.entered:
                    await _sent(scope)
        except ClientDisconnect:
            return  # the caller is gone
        except AnswerVoid as error:
            scope[FAILED] = error.code
            if watch.begun:
                _drop(scope)
            else:
                await watch.answer(error_response(error), scope, receive)
        except (asyncio.CancelledError, KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # the outermost layer: nothing may pass, and a panic of Rust is no Exception
            if watch.fenced:
                await self._fence(scope, receive, watch)
                return
            shown = self._service.disclose(error, watch.request_id)
            scope[FAILED] = shown.code
            await watch.answer(error_response(shown), scope, receive)

    async def _fence(self, scope: Scope, receive: Receive, watch: _Watch) -> None:
        """What becomes of an answer that was held back: an error, or an end where it had begun already."""
        self._service.metrics.cut_off.inc()
        if watch.begun:
            _drop(scope)
        else:
            watch.may_leave = _always
            await watch.answer(error_response(AnswerVoid(SILENT)), scope, receive)

    def _record(self, scope: Scope, watch: _Watch) -> None:
        seconds = perf_counter() - watch.started
        route = getattr(scope.get("route"), "path_format", UNMATCHED)
        method = scope["method"] if scope["method"] in METHODS else "OTHER"
        self._service.metrics.count_request(method, route, watch.status, seconds)
        self._service.log.info(
            "request",
            request=watch.request_id,
            method=method,
            route=route,
            status=watch.status,
            ms=round(1000 * seconds, 3),
            **({"code": scope[FAILED]} if FAILED in scope else {}),
        )


def _always() -> bool:
    return True


async def _at_once() -> None:
    """Where the server cannot tell, nothing is waited for."""


class _Fenced(Exception):
    """Ends an answer that may not leave; none of the handlers of errors knows it."""


class _Watch:
    """Sends on what the application sends, with the request's number added, and remembers the status.

    Before each part it asks whether the answer may leave: nothing of this process comes between that and the sending.
    """

    def __init__(self, send: Send, service: Service) -> None:
        self.request_id = secrets.token_hex(8)
        self.started = perf_counter()
        self.status = 499  # stays if the client left before the answer began
        self._send = send
        self._service = service
        self.begun = False
        self.fenced = False
        self.may_leave: Callable[[], bool] = _always
        self.ready: Callable[[], Awaitable[None]] = _at_once

    async def __call__(self, message: Message) -> None:
        await self.ready()  # the server would wait for a slow reader after the look
        if not self.may_leave():
            self.fenced = True
            raise _Fenced
        if message["type"] == "http.response.start":
            self.begun = True
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["X-Request-ID"] = self.request_id
            if self._service.leaving:
                headers["Connection"] = "close"
            headers["Cache-Control"] = "no-store"
        await self._send(message)

    async def answer(self, response: Response, scope: Scope, receive: Receive) -> None:
        """Send an error, unless an answer has begun already."""
        if not self.begun:
            await response(scope, receive, self)


async def _sent(scope: Scope) -> None:
    """Wait until the answer has left the process, where the server can tell."""
    connection = scope.get("extensions", {}).get(WAY_OUT)
    if connection is not None:
        await connection["sent"]()


def _drop(scope: Scope) -> None:
    """Close the connection with what has not left yet, where the server can do that."""
    connection = scope.get("extensions", {}).get(WAY_OUT)
    if connection is not None:
        connection["drop"]()


def _check_address(scope: Scope) -> None:
    """Refuse an address whose percent-encoding hides bytes that are not UTF-8, or control characters.

    Servers replace such bytes, so that different identifiers would come to mean the same one. A query of thousands of
    parameters would get as many errors.
    """
    if scope["query_string"].count(b"&") >= PARAMETERS:
        raise InvalidInput(f"The query has more than {PARAMETERS} parameters.")
    for part in (scope.get("raw_path") or b"", scope["query_string"]):
        if b"%" not in part and part.isascii():
            continue
        try:
            unquote_to_bytes(part).decode()
        except UnicodeDecodeError:
            raise MalformedRequest("The address is not UTF-8; percent-encode identifiers as UTF-8.") from None
    if not scope["path"].isprintable() and any(
        ord(character) < 32 or 127 <= ord(character) < 160 for character in scope["path"]
    ):
        raise InvalidInput("Identifiers may not contain control characters.")
