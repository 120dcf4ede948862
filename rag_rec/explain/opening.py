"""Which explainer the settings mean."""

from __future__ import annotations

from pathlib import Path

from rag_rec.compact.vocabulary import FILE as VOCABULARY
from rag_rec.errors import needs
from rag_rec.explain.records import Explains
from rag_rec.settings import Settings


def open_explainer(settings: Settings) -> Explains | None:
    """What explains under these settings: the instruction-tuned LLM that ranks, on its vLLM server.

    None where there is no such LLM. Nothing is asked of the server yet.
    """
    model = settings.generator_model
    if settings.generator != "vllm" or model is None or (Path(model) / VOCABULARY).is_file():
        return None
    with needs("explain"):
        from rag_rec.explain.chat import OpenAIChat  # noqa: PLC0415
        from rag_rec.explain.explainer import Explainer  # noqa: PLC0415 - imports LangChain

    chat = OpenAIChat(
        base_urls=tuple(settings.generator_urls),
        model_name=settings.generator_served_name,
        key=settings.generator_key,
    )
    return Explainer(chat)
