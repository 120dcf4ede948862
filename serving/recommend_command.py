"""The command ``rag-rec recommend``: the answer of ``POST /v1/recommendations`` without a service."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import Annotated, Any

import orjson
import typer
from pydantic import ValidationError

from rag_rec.commands.app import command
from rag_rec.commands.printing import Answer
from rag_rec.domain import Recommendation, RecommendationRequest, RecommendedItem, Strategy
from rag_rec.errors import InvalidInput
from rag_rec.home.opening import check_system
from rag_rec.settings import Settings
from serving.errors import encoded
from serving.schemas import RecommendationBody

app = typer.Typer()


@app.command("recommend")
@command
def recommend(
    user: Annotated[str, typer.Argument(help="Id of the user.")],
    k: Annotated[int, typer.Option("-k", "--k", help="How many items, at most.")] = 10,
    filters: Annotated[
        str | None, typer.Option(help="Attribute expression that every item must meet: year >= 1990.")
    ] = None,
    strategy: Annotated[
        Strategy, typer.Option(help="How evidence is chosen from the user's history.")
    ] = Strategy.PREFERENCE,
) -> Mapping[str, Any]:
    """Recommend items to a user: the same answer as over HTTP. An unknown user gets popular items, and is called so."""
    settings, request = Settings(), _request({"user_id": user, "k": k, "filters": filters, "strategy": strategy})
    check_system(settings)
    answer = _recommended(settings, request)
    return Answer(orjson.loads(encoded(answer)), _words(user, answer))


def _request(fields: Mapping[str, Any]) -> RecommendationRequest:
    """The request as the interface would read it."""
    try:
        return RecommendationBody.model_validate(fields).request()
    except ValidationError as error:
        problems = (f"{problem['loc'][0]}: {problem['msg']}" for problem in error.errors(include_input=False))
        raise InvalidInput(f"This cannot be asked for: {'; '.join(problems)}.") from None


def _recommended(settings: Settings, request: RecommendationRequest) -> Recommendation:
    from rag_rec.engine.engine import Engine  # noqa: PLC0415 - brings the numerical libraries, which --help does not need

    with closing(Engine.open(settings)) as engine:
        return engine.recommend(request)


def _words(user: str, answer: Recommendation) -> Mapping[str, Any]:
    made = answer.provenance
    known = "known" if made.known_user else "unknown: these are the popular items"
    return {
        "user": f"{user} ({known})",
        "items": [_row(rank, item) for rank, item in enumerate(answer.items, 1)],
        "order by": made.source if made.fallback is None else f"{made.source} (LLM: {made.fallback})",
        "index": f"{made.generation}, epoch {made.epoch}",
    }


def _row(rank: int, item: RecommendedItem) -> Mapping[str, Any]:
    because = ", ".join(f"{reason.event} {reason.item_id}" for reason in item.reasons) or "-"
    return {"rank": rank, "item": item.item_id, "score": round(item.score, 3), "text": item.text, "because": because}
