"""``rag-rec adapter`` as a person or a script runs it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from typer.testing import CliRunner

import indexer.compact_training
from indexer.commands import app
from indexer.retraining import Retraining
from rag_rec.engine.tending import open_saga
from rag_rec.home.opening import store_of
from rag_rec.layers.records import ForgetState
from rag_rec.presence.replicas import present
from rag_rec.settings import Settings
from tests.embedders import HashEmbedder
from tests.homes import build, fill, settings_for
from tests.indexer.compact_homes import LOG, build_compact, trained
from tests.rag_rec.commands.asking import printed
from tests.rag_rec.forgetting.asking import forget_in


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("RAGREC_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(indexer.compact_training, "open_embedder", lambda name, threads: HashEmbedder())  # noqa: ARG005
    settings = settings_for(tmp_path / "home")
    fill(settings, LOG)
    build(settings)
    return settings


run = partial(printed, app, "adapter")


def state_of(settings: Settings, request: str) -> ForgetState:
    store = store_of(settings)
    record = store.forget_record(request)
    store.close()
    assert record is not None
    return record.state


def test_retraining_forgets_settles_and_measures(settings: Settings) -> None:
    old = build_compact(settings, trained(held_out=0.5)).adapter
    request = forget_in(settings, "user-3").request_id
    assert state_of(settings, request) is ForgetState.EFFECTIVE
    done = run("retrain", "--device", "cpu")
    assert (done["removal"], done["exact"], done["settled"]) == ("retrain", True, 1)
    assert done["adapter"] != old.digest
    assert (done["users"], done["epochs"], done["held_out"], done["rank"]) == (7, 3, 0.5, 16)
    assert done["gate"].startswith("not measured: Only")
    assert state_of(settings, request) is ForgetState.COMPLETE
    assert [each["digest"] for each in run("list")["adapters"]] == [done["adapter"]]


def test_options_take_the_place_of_what_was(settings: Settings) -> None:
    build_compact(settings)
    done = run("retrain", "--epochs", "1", "--rank", "4", "--context", "5", "--held-out", "0.2", "--device", "cpu")
    assert (done["epochs"], done["rank"], done["held_out"], done["settled"]) == (1, 4, 0.2, 0)


def test_there_has_to_be_something_to_train_again() -> None:
    assert run("retrain", "--device", "cpu", code=1)["error"]["code"] == "not_ready"


def test_the_list_says_who_waits_for_an_adapter_to_go(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("list") == {"adapter": None, "policy": "deadline", "adapters": []}
    built = build_compact(settings).adapter
    clean = {"digest": built.digest, "current": True, "epoch": built.manifest.epoch, "users": 8, "debts": 0}
    clean["suppressed"] = 0
    assert run("list")["adapters"] == [{**clean, "may_serve_until": None}]
    for user in ("user-3", "user-4"):
        forget_in(settings, user)
    (listed,) = run("list")["adapters"]
    assert (listed["users"], listed["debts"]) == (6, 2)
    assert listed["may_serve_until"].endswith("Z")
    monkeypatch.setenv("RAGREC_ADAPTER_POLICY", "strict")
    strict = run("list")
    assert (strict["policy"], strict["adapters"][0]["may_serve_until"]) == ("strict", "never")


def test_what_a_running_service_settled_first_is_counted(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    build_compact(settings, trained(held_out=0.5))
    request = forget_in(settings, "user-3").request_id
    remove = Retraining.remove

    def settled_at_once(self: Retraining, requests: Sequence[str]) -> str:
        digest = remove(self, requests)
        with closing(store_of(settings)) as store:
            assert open_saga(settings, store).resume() == 1
        return digest

    monkeypatch.setattr(Retraining, "remove", settled_at_once)
    done = run("retrain", "--device", "cpu")
    assert state_of(settings, request) is ForgetState.COMPLETE
    assert (done["settled"], done["open"], done["oldest_open"]) == (1, 0, None)


def test_what_is_left_open_is_said_with_what_it_waits_for(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    old = build_compact(settings, trained(held_out=0.5)).adapter.digest
    request = forget_in(settings, "user-3").request_id
    monkeypatch.setenv("RAGREC_REPLICA_WAIT_MS", "0")
    with closing(store_of(settings)) as store:
        store.beat(present("service", store.epoch(), (old,)))
    done = run("retrain", "--device", "cpu")
    assert (done["settled"], done["open"], done["oldest_open"]["request"]) == (0, 1, request)
    (wait,) = done["oldest_open"]["waits_for"]
    assert (wait["layer"], wait["which"]) == ("adapter", [old])
    words = CliRunner().invoke(app, ["adapter", "retrain", "--device", "cpu"]).stdout
    assert "settled: 0" in words
    assert "in force: What was to go is erased from every file" in words
    assert "waits for: adapter (until" in words
