"""Which generator should answer, by the settings and by what has been built."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rag_rec.adapters.folder import AdapterStore
from rag_rec.errors import InvalidInput
from rag_rec.settings import Settings


@dataclass(frozen=True, slots=True)
class GeneratorSpec:
    """What should answer: ``model`` is a folder or a name, ``digest`` names it for the gate; None: no LLM.

    ``withheld``: there is an adapter, but it saw a forgotten person and may not rank; the base answers alone.
    """

    kind: str
    model: str
    digest: str
    adapter: Path | None
    withheld: bool = False

    @property
    def adapter_digest(self) -> str | None:
        """The adapter's name."""
        return self.adapter.name if self.adapter else None


def wanted(settings: Settings) -> GeneratorSpec | None:
    """What the settings and the folder of the compact generator ask for at present.

    Raises:
        InvalidInput: a generator is asked for by name, and there is none, or no server of it is named.
        CorruptIndex: the compact generator's pointer is damaged.
    """
    if settings.generator == "passthrough":
        return None
    if settings.generator == "vllm" and not settings.generator_urls:
        raise InvalidInput("No vLLM server is named: set RAGREC_GENERATOR_URLS or give --base-url.")
    kind = "local" if settings.generator == "auto" else settings.generator
    if settings.generator_model is not None:
        return GeneratorSpec(kind, settings.generator_model, settings.generator_model, None)
    store = AdapterStore(settings.compact)
    used = store.current()
    if used is None:
        if settings.generator == "auto":
            return None
        raise InvalidInput(
            "There is no model: run `rag-rec compact build`, or name an LLM with RAGREC_GENERATOR_MODEL."
        )
    adapter = None if used.adapter is None else store.adapters / used.adapter
    return GeneratorSpec(kind, str(store.bases / used.base), used.base, adapter)
