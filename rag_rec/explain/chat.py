"""A chat model behind an OpenAI-compatible address, such as vLLM's, for texts that are read by people."""

from __future__ import annotations

import concurrent.futures
import queue
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from http import HTTPStatus
from typing import Any, Final, TypeVar

import httpx
from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic import Field, PrivateAttr, SecretStr

from rag_rec.generators.event_loop import Closed, EventLoopThread
from rag_rec.generators.exchange import (
    KIBIBYTE,
    MOST_BYTES,
    Shape,
    bounded_client,
    content_of,
    in_time,
    lines_of,
    read_json,
    read_shape,
)
from rag_rec.generators.failures import GeneratorFailure, Reason

CONNECT_SECONDS = 2.0
ROLES = {"system": "system", "human": "user", "ai": "assistant"}

BYTES_BESIDE: Final = 64 * KIBIBYTE
BYTES_A_TOKEN: Final = 4 * KIBIBYTE
"""A reply may have so many bytes for each token that was asked for, and so many beside them."""

Result = TypeVar("Result")


class _Model(Shape):
    id: str = Field(max_length=1000)


class _Listing(Shape):
    data: list[_Model] = Field(min_length=1)


class OpenAIChat(BaseChatModel):
    """Streams replies from the first of several servers that takes the request. Any number of threads may ask.

    Nothing of a conversation is logged, and no error message quotes one. A reply that is no longer read ends the
    request, so that the server stops writing. A reply is taken off the server as fast as it comes, within bounds of
    bytes and time; how fast it is read does not count.
    """

    base_urls: tuple[str, ...] = Field(min_length=1, description="Base URLs of the servers, without /v1.")
    model_name: str | None = Field(default=None, description="Name of the model. Default: what a server lists first.")
    key: SecretStr | None = Field(default=None, description="Bearer key of the servers.")
    timeout_seconds: float = Field(default=30.0, gt=0, description="Longest silence of a server.")
    most_seconds: float = Field(default=120.0, gt=0, description="Longest time from the request to the reply's end.")
    most_tokens: int = Field(default=200, ge=1, description="Longest reply.")
    temperature: float = Field(default=0.0, ge=0)
    vllm: bool = Field(
        default=True,
        description="Whether to send what only vLLM understands: no thinking aloud, and a fresh salt for each request, "
        "so that nothing personal stays in the cache of prompt prefixes for others to share.",
    )
    _client: httpx.AsyncClient = PrivateAttr()
    _loop: EventLoopThread = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:  # noqa: ARG002 - pydantic's signature
        """Open the connections."""
        headers = {"Authorization": f"Bearer {self.key.get_secret_value()}"} if self.key else {}
        timeout = httpx.Timeout(self.timeout_seconds, connect=min(CONNECT_SECONDS, self.timeout_seconds))
        self._client = bounded_client(headers, timeout=timeout)
        self._loop = EventLoopThread("rag-rec-chat")

    def close(self) -> None:
        """Give up the replies under way, and close the connections."""
        self._loop.close(self._client.aclose())

    @property
    def _llm_type(self) -> str:
        return "openai-compatible"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        pieces = [str(chunk.message.text) for chunk in self._stream(messages, stop, run_manager, **kwargs)]
        return ChatResult(generations=[ChatGeneration(message=AIMessage(content="".join(pieces)))])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,  # noqa: ARG002 - LangChain's signature
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        body = {**self._body(messages), **({"stop": stop} if stop else {}), **kwargs}
        for text in self._pieces(body):
            yield ChatGenerationChunk(message=AIMessageChunk(content=text))

    def _pieces(self, body: dict[str, Any]) -> Iterator[str]:
        """The pieces of a reply as they come."""
        arrived: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        future = self._started(self._receive(body, arrived))
        future.add_done_callback(lambda _: arrived.put(None))
        try:
            while (text := arrived.get()) is not None:
                yield text
            future.result()
        except concurrent.futures.CancelledError:
            raise _closed() from None
        finally:
            future.cancel()

    def _started(self, coroutine: Coroutine[Any, Any, Result]) -> concurrent.futures.Future[Result]:
        try:
            return self._loop.submit(coroutine)
        except Closed:
            raise _closed() from None

    async def _receive(self, body: dict[str, Any], arrived: queue.SimpleQueue[str | None]) -> None:
        """Put the pieces of a reply where they are read from."""
        limit = time.monotonic() + self.most_seconds
        most = BYTES_BESIDE + BYTES_A_TOKEN * self.most_tokens
        async with in_time(limit, "The chat server did not finish its reply in time."):
            with _failures():
                async with self._answer(body) as response, aclosing(_texts(lines_of(response, most))) as texts:
                    async for text in texts:
                        arrived.put(text)

    def _body(self, messages: Sequence[BaseMessage]) -> dict[str, Any]:
        body: dict[str, Any] = {
            "messages": [{"role": ROLES[message.type], "content": str(message.text)} for message in messages],
            "max_tokens": self.most_tokens,
            "temperature": self.temperature,
            "stream": True,
        }
        if self.vllm:
            body |= {"chat_template_kwargs": {"enable_thinking": False}, "cache_salt": secrets.token_hex(16)}
        return body

    @asynccontextmanager
    async def _answer(self, body: dict[str, Any]) -> AsyncIterator[httpx.Response]:
        """A streamed answer. Servers that cannot be reached or are too busy are passed over while there is another."""
        *others, last = self.base_urls
        for url in others:
            response = await self._try(url, body)
            if response is not None:
                break
        else:
            response = await self._send(last, body)
        try:
            _check_status(response)
            yield response
        finally:
            await response.aclose()

    async def _try(self, url: str, body: dict[str, Any]) -> httpx.Response | None:
        try:
            response = await self._send(url, body)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            return None
        if response.status_code == HTTPStatus.SERVICE_UNAVAILABLE:
            await response.aclose()
            return None
        return response

    async def _send(self, url: str, body: dict[str, Any]) -> httpx.Response:
        base = f"{url.rstrip('/').removesuffix('/v1')}/v1"
        content = {"model": self.model_name or await self._first_model(base), **body}
        request = self._client.build_request("POST", f"{base}/chat/completions", json=content)
        return await self._client.send(request, stream=True)

    async def _first_model(self, base: str) -> str:
        async with self._client.stream("GET", f"{base}/models") as response:
            _check_status(response)
            content = await content_of(response, MOST_BYTES)
        return read_shape(_Listing, content, "The chat server does not say which models it serves.").data[0].id


async def _texts(lines: AsyncIterator[bytes]) -> AsyncGenerator[str, None]:
    """The pieces of text in a stream of server-sent events, up to its end mark."""
    async for line in lines:
        if not line.startswith(b"data:"):
            continue
        data = line.removeprefix(b"data:").strip()
        if data == b"[DONE]":
            return
        text = _text(data)
        if text:
            yield text
    raise GeneratorFailure(Reason.BROKEN, "The chat server ended its answer before it was complete.")


def _text(data: bytes) -> str:
    unreadable = "The chat server sent something that cannot be read."
    content = read_json(data, unreadable)
    try:
        if "error" in content:
            raise GeneratorFailure(Reason.BROKEN, "The chat server reported an error in the middle of its answer.")
        choices = content["choices"]
        text = choices[0]["delta"].get("content") if choices else None
    except (LookupError, TypeError, AttributeError):
        raise GeneratorFailure(Reason.BROKEN, unreadable) from None
    if text is not None and not isinstance(text, str):
        raise GeneratorFailure(Reason.BROKEN, unreadable)
    return text or ""


def _closed() -> GeneratorFailure:
    return GeneratorFailure(Reason.ABSENT, "The client of the chat server has been closed.")


def _check_status(response: httpx.Response) -> None:
    status = response.status_code
    if status == HTTPStatus.OK:
        return
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        raise GeneratorFailure(Reason.OVERLOADED, "The chat server is too busy: try again in a moment.")
    if status == HTTPStatus.NOT_FOUND:
        raise GeneratorFailure(Reason.WRONG_MODEL, "The chat server does not serve this model: check its name.")
    raise GeneratorFailure(Reason.REFUSED, f"The chat server answered with status {status}: check its address and key.")


@contextmanager
def _failures() -> Iterator[None]:
    """Errors of the connection in the product's own words; the originals may quote what was sent."""
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout):
        raise GeneratorFailure(
            Reason.ABSENT, "No chat server can be reached: check the address, and start it."
        ) from None
    except httpx.TimeoutException:
        raise GeneratorFailure(Reason.LATE, "The chat server said nothing for too long.") from None
    except httpx.HTTPError:
        raise GeneratorFailure(Reason.BROKEN, "The connection to the chat server broke off.") from None
