"""Tiny models, made once for all tests of generators, and clients of vLLM that are closed again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from rag_rec.generators.vllm import VllmBackend
from tests.rag_rec.generators.asking import Open
from tests.rag_rec.generators.fake_server import FakeServer
from tests.rag_rec.generators.models import tiny_adapter, tiny_item_model


@pytest.fixture(scope="session")
def item_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny item model."""
    return tiny_item_model(tmp_path_factory.mktemp("models") / "base")


@pytest.fixture(scope="session")
def adapters(item_model: Path) -> tuple[Path, Path]:
    """Folders of two adapters of it, named like digests."""
    first, second = (item_model.parent / "adapters" / (letter * 32) for letter in "ab")
    return tiny_adapter(item_model, first, seed=1), tiny_adapter(item_model, second, seed=2)


@pytest.fixture
def opened() -> Iterator[Open]:
    with ExitStack() as stack:

        def open_backend(*servers: FakeServer, **arguments: object) -> VllmBackend:
            backend = VllmBackend([server.url for server in servers], **arguments)  # type: ignore[arg-type]
            stack.callback(backend.close)
            return backend

        yield open_backend
