"""``rag-rec adapter unlearn`` as a person, a script or a service runs it."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

import indexer.compact_training
from indexer.commands import app
from rag_rec.adapters.folder import AdapterStore
from rag_rec.home.opening import store_of
from rag_rec.layers.records import ForgetState
from rag_rec.settings import Settings
from tests.embedders import HashEmbedder
from tests.indexer.compact_homes import build_compact, trained
from tests.indexer.memorised_homes import BY_HEART, memorised_home
from tests.rag_rec.commands.asking import printed
from tests.rag_rec.forgetting.asking import forget_in

run = partial(printed, app, "adapter")


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("RAGREC_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RAGREC_ADAPTER_BUDGET", "0.03")
    monkeypatch.setattr(indexer.compact_training, "open_embedder", lambda name, threads: HashEmbedder())  # noqa: ARG005
    return memorised_home(tmp_path / "home")


def state_of(settings: Settings, request: str) -> ForgetState:
    with closing(store_of(settings)) as store:
        record = store.forget_record(request)
    assert record is not None
    return record.state


POLICIES = pytest.mark.parametrize("policy", ["deadline", "strict"])


@POLICIES
def test_each_method_completes_the_requests_within_its_budget(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, policy: str
) -> None:
    """Of 85 people two may be suppressed; with the third the adapter is trained again, and the budget is whole."""
    monkeypatch.setenv("RAGREC_ADAPTER_POLICY", policy)
    monkeypatch.setenv("RAGREC_ADAPTER_METHOD", "influence")
    requests = [forget_in(settings, user).request_id for user in ("user-2", "user-8")]
    done = run("unlearn", "--device", "cpu")
    assert (done["removal"], done["exact"], done["requests"], done["instead"]) == ("influence", False, 2, None)
    assert (done["settled"], done["open"], done["users"]) == (2, 0, 83)
    (listed,) = run("list")["adapters"]
    assert (listed["digest"], listed["debts"], listed["suppressed"]) == (done["adapter"], 0, 2)
    assert listed["may_serve_until"] is None
    assert {state_of(settings, request) for request in requests} == {ForgetState.COMPLETE}
    last = forget_in(settings, "user-9").request_id
    again = run("unlearn", "--device", "cpu")
    assert (again["removal"], again["exact"], again["settled"]) == ("retrain", True, 1)
    assert "2 requests left the adapter" in again["instead"] and "2 may" in again["instead"]
    assert state_of(settings, last) is ForgetState.COMPLETE
    assert [each["suppressed"] for each in run("list")["adapters"]] == [0]


@POLICIES
def test_a_method_that_is_asked_for_takes_the_place_of_the_default(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, policy: str
) -> None:
    monkeypatch.setenv("RAGREC_ADAPTER_POLICY", policy)
    request = forget_in(settings, "user-2").request_id
    done = run("unlearn", "--method", "retrain", "--device", "cpu")
    assert (done["removal"], done["exact"], done["settled"]) == ("retrain", True, 1)
    assert state_of(settings, request) is ForgetState.COMPLETE


def test_a_removal_that_is_refused_leaves_everything_as_it_was(settings: Settings) -> None:
    before, request = AdapterStore(settings.compact).current(), forget_in(settings, "user-2").request_id
    error = run("unlearn", "--method", "influence", "--damping", "10", "--device", "cpu", code=1)["error"]
    assert error["code"] == "invalid_input"
    assert "nothing has changed" in error["message"] and "adapter retrain" in error["message"]
    assert AdapterStore(settings.compact).current() == before
    assert state_of(settings, request) is ForgetState.EFFECTIVE


def test_where_nobody_waits_there_is_nothing_to_do() -> None:
    error = run("unlearn", "--device", "cpu", code=1)["error"]
    assert "No forget request waits" in error["message"]


def test_a_person_of_the_reserve_was_never_in(settings: Settings) -> None:
    request = forget_in(settings, "user-3").request_id
    assert state_of(settings, request) is ForgetState.COMPLETE
    assert "No forget request waits" in run("unlearn", code=1)["error"]["message"]


def test_a_reserve_is_kept_by_a_later_training(settings: Settings) -> None:
    done = run("retrain", "--device", "cpu")
    assert done["users"] == 85
    built = build_compact(settings, trained(BY_HEART, epochs=1, reserve=0.0)).adapter
    assert built.manifest.counts["users"] == 120
    assert run("retrain", "--reserve", "0.25", "--device", "cpu")["users"] == 85


@POLICIES
def test_shards_complete_the_requests_and_say_that_they_are_exact(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, policy: str
) -> None:
    monkeypatch.setenv("RAGREC_ADAPTER_POLICY", policy)
    error = run("retrain", "--reserve", "0", "--shards", "2", "--device", "cpu", code=1)["error"]
    assert (error["code"], "--reserve 0.05" in error["message"]) == ("invalid_input", True)
    request = forget_in(settings, "user-2").request_id
    error = run("unlearn", "--method", "shards", "--device", "cpu", code=1)["error"]
    assert "compact build --shards 4 --reserve 0.05" in error["message"]
    built = run("retrain", "--shards", "3", "--together", "1", "--epochs", "2", "--device", "cpu")
    assert (built["shards"], built["settled"], state_of(settings, request)) == (3, 1, ForgetState.COMPLETE)
    requests = [forget_in(settings, user).request_id for user in ("user-8", "user-9")]
    done = run("unlearn", "--method", "shards", "--device", "cpu")
    assert (done["removal"], done["exact"], done["requests"], done["instead"]) == ("shards", True, 2, None)
    assert (done["settled"], done["open"], done["users"], done["shards"]) == (2, 0, built["users"] - 2, 3)
    assert {state_of(settings, each) for each in requests} == {ForgetState.COMPLETE}
