from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rag_rec.compact.vocabulary import FILE
from rag_rec.explain.opening import open_explainer
from rag_rec.settings import Settings
from tests.rag_rec.generators.chat_server import ChatServer

LLM: dict[str, Any] = {"generator": "vllm", "generator_model": "some/llm", "generator_urls": ["http://127.0.0.1:9"]}


@pytest.mark.parametrize(
    "changes",
    [{}, {**LLM, "generator": "passthrough"}, {**LLM, "generator": "local"}, {**LLM, "generator_model": None}],
)
def test_only_an_instruction_tuned_llm_on_a_server_explains(changes: dict[str, Any]) -> None:
    assert open_explainer(Settings(**changes)) is None


def test_the_compact_generator_does_not_explain(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("{}")
    assert open_explainer(Settings(**{**LLM, "generator_model": str(tmp_path)})) is None


def test_the_server_of_the_settings_is_asked() -> None:
    with ChatServer(["Yes."]) as server:
        settings = Settings(**{**LLM, "generator_urls": [server.url], "generator_key": "secret"})
        explainer = open_explainer(settings)
        assert explainer is not None
        assert server.bodies == []
        assert [chunk.text for chunk in explainer._chat.stream("Why?") if chunk.text] == ["Yes."]  # type: ignore[attr-defined]
        explainer.close()
    assert (server.bodies[0]["model"], server.keys) == ("first", ["Bearer secret"])
