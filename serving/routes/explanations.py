"""Explanations of recommendations, as they are being written."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request, Response

from rag_rec.domain import RecommendationRequest
from rag_rec.explain.records import Explanation
from rag_rec.validation import check_k
from serving.admission import PROTECTED, WITH_BODY, needing
from serving.answers import errors
from serving.auth import Role
from serving.errors import REQUEST_ID, error_body
from serving.schemas import ExplanationBody
from serving.service import CurrentService, Service
from serving.streaming import EventStream, Stopped, server_event, stream

if TYPE_CHECKING:  # it brings the numerical libraries, which --help does not need
    from rag_rec.engine.engine import Engine

router = APIRouter(
    route_class=needing(Role.RECOMMEND, answers_personally=True, answered_on="explanations"), tags=["recommendations"]
)


@router.post(
    "/v1/recommendations/explain",
    response_class=Response,
    responses={
        200: {"description": "Server-sent events.", "content": {"text/event-stream": {}}},
        **PROTECTED,
        **WITH_BODY,
        **errors(504),
    },
)
async def explain(body: ExplanationBody, service: CurrentService, request: Request) -> Response:
    """Recommend, and let an LLM say why, from nothing but the user's own interactions that the answer cites.

    The answer is a stream of server-sent events, each with JSON as its data. For each item: `item` (the item and its
    numbered `evidence`), then `token` for each piece of the text, which cites that evidence as [1], [2]. At the end
    `done`, with the evidence cited and the provenance, or `error` in the shape of every error. Sentences that cite
    what was not given are left out. A caller who leaves stops the writing.
    """
    check_k(body.k, service.settings)
    engine, wanted = service.ready_engine, body.request()

    def produce(stopped: Stopped) -> Iterator[bytes]:
        return _events(engine, wanted, body.item_id, stopped)

    seconds = None if wanted.deadline_ms is None else wanted.deadline_ms / 1000
    events = stream(service.explanations, produce, seconds)
    first = await anext(events)  # what fails before the first event is an error like any other
    return EventStream(_with_errors(first, events, service, request.scope[REQUEST_ID]))


def _events(engine: Engine, request: RecommendationRequest, item_id: str | None, stopped: Stopped) -> Iterator[bytes]:
    explained = engine.explain(request, item_id, stopped)
    for explanation in explained:
        yield server_event("item", _opening(explanation))
        for text in explanation:
            yield server_event("token", {"text": text})
    ends = [_ending(explanation) for explanation in explained.explanations]
    yield server_event("done", {"explanations": ends, "provenance": explained.recommendation.provenance})


def _opening(explanation: Explanation) -> dict[str, object]:
    item = explanation.item
    named = {"item_id": item.item_id, "text": item.text, "score": item.score, "sources": item.sources}
    return {**named, "evidence": explanation.evidence}


def _ending(explanation: Explanation) -> dict[str, object]:
    outcome = explanation.outcome
    assert outcome is not None  # noqa: S101 - it has been read to its end
    ending = {"cited": outcome.cited, "removed": outcome.removed, "written_by": outcome.written_by}
    return {"item_id": explanation.item.item_id, **ending}


async def _with_errors(
    first: bytes, events: AsyncGenerator[bytes], service: Service, request_id: str
) -> AsyncIterator[bytes]:
    """The events; what fails after the first one becomes an event, since the status has been sent."""
    async with aclosing(events):
        try:
            yield first
            async for event in events:
                yield event
        except Exception as error:  # nothing may pass
            shown = service.disclose(error, request_id)
            yield server_event("error", error_body(shown.code, str(shown)))
