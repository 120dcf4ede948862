"""Recommendations and similar items."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from rag_rec.domain import Recommendation, RecommendationRequest
from rag_rec.validation import check_k
from serving.admission import PROTECTED, WITH_BODY, needing
from serving.answers import RecommendationAnswer, SimilarAnswer, errors
from serving.auth import Role
from serving.errors import json_response
from serving.fields import Id
from serving.schemas import RecommendationBody, SimilarQuery
from serving.service import CurrentService, Service

router = APIRouter(
    route_class=needing(Role.RECOMMEND, answers_personally=True, answered_on="answers"), tags=["recommendations"]
)


@router.post(
    "/v1/recommendations",
    response_model=RecommendationAnswer,
    responses={**PROTECTED, **WITH_BODY, **errors(504)},
)
async def recommend(body: RecommendationBody, service: CurrentService) -> Response:
    """Rank items for a user. An unknown user gets popular items; the provenance says so."""
    check_k(body.k, service.settings)
    request = body.request()
    if request.deadline_ms is None:
        answer = await service.answers.run(service.ready_engine.recommend, request)
    else:
        answer = await _recommend_within(service, request, request.deadline_ms)
    service.metrics.count_recommendation(answer)
    return json_response(answer)


async def _recommend_within(service: Service, request: RecommendationRequest, deadline_ms: int) -> Recommendation:
    engine = service.ready_engine

    def answer(seconds_left: float) -> Recommendation:
        # Time spent waiting for a thread is time that the engine no longer has.
        return engine.recommend(replace(request, deadline_ms=max(1, int(1000 * seconds_left))))

    return await service.answers.run_within(deadline_ms / 1000, answer)


@router.get("/v1/items/{item_id:id}/similar", response_model=SimilarAnswer, responses={**PROTECTED, **errors(404)})
async def similar(
    item_id: Annotated[Id, Path()], query: Annotated[SimilarQuery, Query()], service: CurrentService
) -> Response:
    """Items whose text is close to this one's."""
    check_k(query.k, service.settings)
    items = await service.answers.run(service.ready_engine.similar, item_id, query.k, query.filters)
    return json_response({"items": items})
