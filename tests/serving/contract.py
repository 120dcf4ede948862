"""Holds answers against an OpenAPI document: a plain JSON Schema checker for the keywords that the document uses."""

from __future__ import annotations

import math
import re
from typing import Any

import httpx

KEYWORDS = {
    "$ref", "anyOf", "type", "enum", "const", "properties", "required", "additionalProperties", "items", "minimum",
    "maximum", "minItems", "title", "description", "examples", "default", "format",
}  # fmt: skip
TYPES: dict[str, Any] = {
    "object": dict, "array": list, "string": str, "boolean": bool, "null": type(None), "integer": int,
    "number": (int, float),
}  # fmt: skip


class Contract:
    """The promises of one OpenAPI document."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self.seen: set[tuple[str, str, int]] = set()
        patterns = {path: re.sub(r"\{\w+\}", "([^/]*)", path) for path in document["paths"]}
        self._patterns = {path: re.compile(pattern) for path, pattern in patterns.items()}

    def check(self, method: str, path: str, response: httpx.Response) -> None:
        """Fail unless the answer is one that the document promises."""
        template = self.template(method, httpx.URL(path).raw_path.decode().partition("?")[0])
        assert re.fullmatch("[0-9a-f]{16}", response.headers["x-request-id"])
        if template is None:
            return
        promised = self.document["paths"][template][method.lower()]["responses"]
        status = response.status_code
        assert str(status) in promised, f"{method} {template} answered {status}, which is not documented"
        self.seen.add((method, template, status))
        media = promised[str(status)].get("content", {})
        if not media:
            assert response.content == b""
            return
        kind = response.headers["content-type"].partition(";")[0]
        assert kind in media
        if kind == "application/json":
            self.conforms(response.json(), media[kind].get("schema", {}), "$")

    def template(self, method: str, path: str) -> str | None:
        """The documented path that matches, if it has the method; one without parameters hides the others."""
        if path in self._patterns:
            return path if method.lower() in self.document["paths"][path] else None
        matching = [
            template
            for template, pattern in self._patterns.items()
            if pattern.fullmatch(path) and method.lower() in self.document["paths"][template]
        ]
        return max(matching, key=len, default=None)

    def conforms(self, value: Any, schema: dict[str, Any], place: str) -> None:
        """Fail unless ``value`` conforms to ``schema``."""
        assert schema.keys() <= KEYWORDS, f"{place}: the checker does not know {schema.keys() - KEYWORDS}"
        if "$ref" in schema:
            self.conforms(value, self._resolve(schema["$ref"]), place)
        if "anyOf" in schema:
            assert any(self._fits(value, option, place) for option in schema["anyOf"]), f"{place}: {value!r} fits none"
        if "enum" in schema:
            assert value in schema["enum"], place
        if "const" in schema:
            assert value == schema["const"], place
        if "type" in schema:
            self._check_type(value, schema, place)

    def _check_type(self, value: Any, schema: dict[str, Any], place: str) -> None:
        kind = schema["type"]
        assert isinstance(value, TYPES[kind]), f"{place}: {value!r} is no {kind}"
        assert kind == "boolean" or not isinstance(value, bool), place
        if kind == "object":
            self._check_object(value, schema, place)
        elif kind == "array":
            assert len(value) >= schema.get("minItems", 0), place
            for number, member in enumerate(value):
                self.conforms(member, schema.get("items", {}), f"{place}[{number}]")
        elif kind in ("integer", "number"):
            assert schema.get("minimum", -math.inf) <= value <= schema.get("maximum", math.inf), place

    def _check_object(self, value: dict[str, Any], schema: dict[str, Any], place: str) -> None:
        properties, extra = schema.get("properties", {}), schema.get("additionalProperties", True)
        assert set(schema.get("required", ())) <= value.keys(), f"{place}: fields are missing"
        for name, member in value.items():
            assert name in properties or extra is not False, f"{place}: {name} is not documented"
            rule = properties.get(name, extra if isinstance(extra, dict) else {})
            self.conforms(member, rule, f"{place}.{name}")

    def _fits(self, value: Any, schema: dict[str, Any], place: str) -> bool:
        try:
            self.conforms(value, schema, place)
        except AssertionError:
            return False
        return True

    def _resolve(self, reference: str) -> dict[str, Any]:
        found = self.document
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]
        return found
