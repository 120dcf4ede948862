from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from rag_rec.errors import CorruptIndex, NotReady
from serving.logs import open_log
from serving.service import Service

if TYPE_CHECKING:
    from tests.serving.conftest import FakeEngine


def failures(service: Service) -> float | None:
    return service.metrics.registry.get_sample_value("ragrec_refresh_failures_total")


def test_a_new_generation_is_taken_up(service: Service, engine: FakeEngine) -> None:
    service.log = open_log(log := io.BytesIO())
    service.refresh(engine)
    assert log.getvalue() == b""
    engine.next_generation = "second"
    service.refresh(engine)
    assert b'"generation":"second"' in log.getvalue()


@pytest.mark.parametrize("error", [CorruptIndex("The index is broken."), ValueError("u1")])
def test_a_broken_generation_leaves_the_old_one(service: Service, engine: FakeEngine, error: Exception) -> None:
    service.log = open_log(log := io.BytesIO())
    engine.failure = error
    service.refresh(engine)
    assert engine.generation == "first"
    assert failures(service) == 1
    assert b"refresh_failed" in log.getvalue()
    assert b"u1" not in log.getvalue()


def test_it_is_not_ready_before_the_engine_is_loaded(service: Service, engine: FakeEngine) -> None:
    service.engine = None
    with pytest.raises(NotReady):
        _ = service.ready_engine
    service.load(lambda: engine)
    assert service.ready_engine is engine


def test_closing_closes_the_engine(service: Service, engine: FakeEngine) -> None:
    service.close()
    assert engine.closed
