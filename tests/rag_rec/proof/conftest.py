from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from rag_rec.candidates.reranker import Reranker
from rag_rec.domain import Interaction
from rag_rec.engine.engine import Engine
from rag_rec.proof.twin import Twin, build_twin
from tests.homes import ITEMS, engine_of, running, settings_for
from tests.rag_rec.forgetting.asking import forget
from tests.rag_rec.forgetting.homes import CANARY, DAY, log


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A system that has forgotten somebody, closed."""
    more = [Interaction(f"more-{n}", ITEMS[n].id, DAY * n, "like", text=f"words {n}") for n in range(3)]
    engine = running(tmp_path_factory.mktemp("home"), [*log(), *more], reranker=Reranker.default())
    forget(engine.officer, CANARY)
    engine.close()
    return engine.settings.home


@pytest.fixture
def engine(home: Path, tmp_path: Path) -> Iterator[Engine]:
    """A copy of it, running."""
    shutil.copytree(home, tmp_path / "copy")
    engine = engine_of(settings_for(tmp_path / "copy"))
    yield engine
    engine.close()


@pytest.fixture
def twin(engine: Engine) -> Twin:
    return build_twin(engine.live, engine.store, engine.settings, engine.embedder)
