from __future__ import annotations

from pathlib import Path

import pytest

from rag_rec.doctor import State, examine
from rag_rec.fusion import Gate, gate_path
from rag_rec.generators.wanted import wanted
from rag_rec.settings import Settings
from tests.forgetting.asking import forget_in
from tests.generators.fake_server import FakeServer
from tests.homes import build, fill, settings_for
from tests.indexer.compact_homes import LOG, build_compact

pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")


def states(settings: Settings) -> dict[str, State]:
    return {finding.part: finding.state for finding in examine(settings)}


def detail(settings: Settings, part: str) -> str:
    return next(finding.detail for finding in examine(settings) if finding.part == part)


def test_an_empty_home_is_told_what_to_do(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    assert states(settings) == {"store": State.OK, "index": State.FAILED, "generator": State.NOTE}
    assert "rag-rec index build" in detail(settings, "index")


def test_the_gate_is_read_out(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    fill(settings, LOG)
    build(settings)
    build_compact(settings)
    assert states(settings) == {
        "store": State.OK,
        "index": State.OK,
        "generator": State.OK,
        "gate": State.NOTE,
    }
    assert "generator gate" in detail(settings, "gate")
    target = wanted(settings)
    assert target is not None
    path = gate_path(settings.gates, target.digest, target.adapter_digest)
    Gate(use=False, weight=8.0, users=70, candidates=0.2, llm=0.1, fused=0.19).save(path)
    assert "bypassed: it does not improve on its own input order" in detail(settings, "gate")
    Gate(use=True, weight=1.5, users=70, candidates=0.2, llm=0.1, fused=0.21).save(path)
    assert states(settings)["gate"] is State.OK
    assert "candidates weigh 1.5" in detail(settings, "gate")


def test_an_adapter_that_saw_a_forgotten_person_is_reported(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    fill(settings, LOG)
    build(settings)
    build_compact(settings)
    forget_in(settings, "user-3")
    assert states(settings)["adapter"] is State.NOTE
    assert "rag-rec adapter retrain" in detail(settings, "adapter")


def test_a_server_that_is_not_there_fails_the_check(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, generator="vllm", generator_urls=["http://127.0.0.1:9"])
    fill(settings, LOG)
    build(settings)
    build_compact(settings)
    assert states(settings)["generator"] is State.FAILED


def test_one_of_several_servers_that_is_not_there_is_named(tmp_path: Path) -> None:
    away = "http://127.0.0.1:9"
    with FakeServer(most=128) as server:
        settings = settings_for(tmp_path, generator="vllm", generator_urls=[server.url, away])
        fill(settings, LOG)
        build(settings)
        build_compact(settings)
        assert states(settings)["generator"] is State.OK
        assert away in detail(settings, "server")


def test_no_items_are_no_reason_to_fail(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    fill(settings, LOG)
    build(settings)
    build_compact(settings)
    emptied = settings.model_copy(update={"store_url": f"sqlite:///{tmp_path / 'other.sqlite3'}"})
    assert states(emptied)["generator"] is State.NOTE
