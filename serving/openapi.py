"""The OpenAPI document: what FastAPI derives from the routes, and what only the settings know."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from serving.fields import TEXT
from serving.service import Service

DESCRIPTION = """Recommendations from retrieved evidence, and complete removal of a person.

Every call except the health checks needs an API key, as `Authorization: Bearer KEY` or `X-API-Key: KEY`; the role that
it needs is listed with its security requirement (`admin` may call everything). Every error has the same shape.
Identifiers in addresses are percent-encoded; a slash that is part of one is encoded, too (`%2F`).
"""


def describe(app: FastAPI, service: Service) -> dict[str, Any]:
    """The document, made once."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title, version=app.version, description=DESCRIPTION, routes=app.routes, tags=app.openapi_tags
        )
        _state_largest_k(document, service.settings.max_k)
        _state_longest_text(document, service.settings.max_text_characters)
        _state_most_events(document, service.limits.events)
        _state_known_events(document, sorted(service.settings.event_rules))
        components = document.setdefault("components", {})
        components["securitySchemes"] = {
            "bearer": {"type": "http", "scheme": "bearer"},
            "api_key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        }
        app.openapi_schema = document
    return app.openapi_schema


def _state_longest_text(node: Any, characters: int) -> None:
    """Wherever a text is described, by its pattern."""
    if isinstance(node, dict):
        if node.get("pattern") == TEXT:
            node["maxLength"] = characters
        for child in node.values():
            _state_longest_text(child, characters)
    elif isinstance(node, list):
        for child in node:
            _state_longest_text(child, characters)


def _state_most_events(document: dict[str, Any], events: int) -> None:
    body = document["paths"]["/v1/users/{user_id}/interactions"]["post"]["requestBody"]
    for option in body["content"]["application/json"]["schema"]["oneOf"]:
        if option.get("type") == "array":
            option["maxItems"] = events


def _state_known_events(document: dict[str, Any], names: list[str]) -> None:
    for option in document["components"]["schemas"]["Event"]["properties"]["event"]["anyOf"]:
        if option.get("type") == "string":
            option["enum"] = names


def _state_largest_k(document: dict[str, Any], max_k: int) -> None:
    for body in ("RecommendationBody", "ExplanationBody"):
        document["components"]["schemas"][body]["properties"]["k"]["maximum"] = max_k
    for parameter in document["paths"]["/v1/items/{item_id}/similar"]["get"]["parameters"]:
        if parameter["name"] == "k":
            parameter["schema"]["maximum"] = max_k
