"""A chat model behind an OpenAI-compatible address, such as vLLM's, for texts that are read by people."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

import httpx
from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic import Field, PrivateAttr, SecretStr

from rag_rec.generators.failures import GeneratorFailure, Reason

CONNECT_SECONDS = 2.0
ROLES = {"system": "system", "human": "user", "ai": "assistant"}


class OpenAIChat(BaseChatModel):
    """Streams replies from the first of several servers that takes the request. Any number of threads may ask.

    Nothing of a conversation is logged, and no error message quotes one. A reply that is no longer read ends the
    request, so that the server stops writing.
    """

    base_urls: tuple[str, ...] = Field(min_length=1, description="Base URLs of the servers, without /v1.")
    model_name: str | None = Field(default=None, description="Name of the model. Default: what a server lists first.")
    key: SecretStr | None = Field(default=None, description="Bearer key of the servers.")
    timeout_seconds: float = Field(default=30.0, gt=0, description="Longest silence of a server.")
    most_tokens: int = Field(default=200, ge=1, description="Longest reply.")
    temperature: float = Field(default=0.0, ge=0)
    vllm: bool = Field(
        default=True,
        description="Whether to send what only vLLM understands: no thinking aloud, and a fresh salt for each request, "
        "so that nothing personal stays in the cache of prompt prefixes for others to share.",
    )
    _client: httpx.Client = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:  # noqa: ARG002 - pydantic's signature
        """Open the connections."""
        headers = {"Authorization": f"Bearer {self.key.get_secret_value()}"} if self.key else {}
        timeout = httpx.Timeout(self.timeout_seconds, connect=min(CONNECT_SECONDS, self.timeout_seconds))
        self._client = httpx.Client(headers=headers, timeout=timeout, trust_env=False)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

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
        with _failures(), self._answer(body) as response:
            for text in _texts(response.iter_lines()):
                yield ChatGenerationChunk(message=AIMessageChunk(content=text))

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

    @contextmanager
    def _answer(self, body: dict[str, Any]) -> Iterator[httpx.Response]:
        """A streamed answer. Servers that cannot be reached or are too busy are passed over while there is another."""
        *others, last = self.base_urls
        for url in others:
            response = self._try(url, body)
            if response is not None:
                break
        else:
            response = self._send(last, body)
        try:
            _check_status(response)
            yield response
        finally:
            response.close()

    def _try(self, url: str, body: dict[str, Any]) -> httpx.Response | None:
        try:
            response = self._send(url, body)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            return None
        if response.status_code == HTTPStatus.SERVICE_UNAVAILABLE:
            response.close()
            return None
        return response

    def _send(self, url: str, body: dict[str, Any]) -> httpx.Response:
        base = f"{url.rstrip('/').removesuffix('/v1')}/v1"
        content = {"model": self.model_name or self._first_model(base), **body}
        return self._client.send(
            self._client.build_request("POST", f"{base}/chat/completions", json=content), stream=True
        )

    def _first_model(self, base: str) -> str:
        response = self._client.get(f"{base}/models")
        _check_status(response)
        try:
            return str(response.json()["data"][0]["id"])
        except (ValueError, LookupError, TypeError):
            raise GeneratorFailure(Reason.BROKEN, "The chat server does not say which models it serves.") from None


def _texts(lines: Iterator[str]) -> Iterator[str]:
    """The pieces of text in a stream of server-sent events, up to its end mark."""
    for line in lines:
        if not line.startswith("data:"):
            continue
        data = line.removeprefix("data:").strip()
        if data == "[DONE]":
            return
        text = _text(data)
        if text:
            yield text
    raise GeneratorFailure(Reason.BROKEN, "The chat server ended its answer before it was complete.")


def _text(data: str) -> str:
    try:
        content = json.loads(data)
        if "error" in content:
            raise GeneratorFailure(Reason.BROKEN, "The chat server reported an error in the middle of its answer.")
        choices = content["choices"]
        return str(choices[0]["delta"].get("content") or "") if choices else ""
    except (ValueError, LookupError, TypeError, AttributeError):
        raise GeneratorFailure(Reason.BROKEN, "The chat server sent something that cannot be read.") from None


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
