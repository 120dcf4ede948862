"""Reads answers of LLM servers within bounds of bytes, time and shape.

A server may be damaged, or another one than was meant. Nothing that it sends may take more memory or time than was
set aside for the request: compressed answers are refused, bytes are counted while they arrive, one clock runs over the
whole exchange, redirects are not followed, cookies are not kept, and JSON is read by a parser with a bounded depth.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Final, TypeVar

import httpx
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import from_json

from rag_rec.generators.failures import GeneratorFailure, Reason

KIBIBYTE: Final = 1024
MOST_BYTES: Final = 1024 * KIBIBYTE
"""An answer may be so long where nothing smaller is said."""


class Shape(BaseModel):
    """Base of what is read of an answer; fields that are not named are passed over."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


Read = TypeVar("Read", bound=Shape)


def bounded_client(headers: dict[str, str], **options: Any) -> httpx.AsyncClient:
    """An HTTP client that asks for uncompressed answers, follows no redirect and keeps no cookie.

    Environment variables such as ``HTTP_PROXY`` do not change where it sends what it is given.
    """
    jar = CookieJar(DefaultCookiePolicy(allowed_domains=()))
    plain = {"Accept-Encoding": "identity", **headers}
    return httpx.AsyncClient(headers=plain, cookies=jar, follow_redirects=False, trust_env=False, **options)


async def pieces(response: httpx.Response, most: int) -> AsyncIterator[bytes]:
    """The bytes of an answer as they arrive, at most ``most``.

    Raises:
        GeneratorFailure: the answer is longer, or compressed.
    """
    if response.headers.get("content-encoding", "identity").strip().lower() not in {"", "identity"}:
        raise GeneratorFailure(Reason.BROKEN, "The server compressed its answer although that was refused.")
    declared = response.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > most:
        raise _too_long(most)
    read = 0
    async for piece in response.aiter_raw():
        read += len(piece)
        if read > most:
            raise _too_long(most)
        yield piece


async def content_of(response: httpx.Response, most: int) -> bytes:
    """The whole answer, at most ``most`` bytes.

    Raises:
        GeneratorFailure: as :func:`pieces`.
    """
    content = bytearray()
    async for piece in pieces(response, most):
        content += piece
    return bytes(content)


async def lines_of(response: httpx.Response, most: int) -> AsyncIterator[bytes]:
    """The lines of an answer without their ends, at most ``most`` bytes in all.

    Raises:
        GeneratorFailure: as :func:`pieces`.
    """
    rest = bytearray()
    async for piece in pieces(response, most):
        rest += piece
        if b"\n" in piece:
            *lines, last = rest.split(b"\n")
            rest = bytearray(last)
            for line in lines:
                yield bytes(line.removesuffix(b"\r"))
    if rest:
        yield bytes(rest)


def read_shape(shape: type[Read], content: bytes, message: str) -> Read:
    """What an answer says. The answer is not repeated in errors: it may quote the prompt.

    Raises:
        GeneratorFailure: it is no JSON of this shape, or nested too deeply; ``message`` is its text.
    """
    try:
        return shape.model_validate_json(content)
    except (ValidationError, ValueError, RecursionError, OverflowError):
        raise GeneratorFailure(Reason.BROKEN, message) from None


def read_json(content: bytes, message: str) -> Any:
    """The JSON value of a text.

    Raises:
        GeneratorFailure: it is no JSON, or nested too deeply; ``message`` is its text.
    """
    try:
        return from_json(content)
    except (ValueError, RecursionError, OverflowError):
        raise GeneratorFailure(Reason.BROKEN, message) from None


@asynccontextmanager
async def in_time(limit: float, message: str) -> AsyncIterator[None]:
    """End what runs inside at ``limit`` (seconds of ``time.monotonic``; infinity for never).

    Raises:
        GeneratorFailure: it was not ready by then.
    """
    try:
        async with asyncio.timeout(None if limit == math.inf else limit - time.monotonic()):
            yield
    except TimeoutError:
        raise GeneratorFailure(Reason.LATE, message) from None


def _too_long(most: int) -> GeneratorFailure:
    return GeneratorFailure(Reason.BROKEN, f"The server's answer is longer than {most} bytes.")
