from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from rag_rec.domain import User
from rag_rec.errors import Unfinished
from rag_rec.forgetting.receipts.outlook import IN_FORCE
from rag_rec.forgetting.request import ForgetRequest
from rag_rec.layers.records import ForgetState
from serving.forget_schemas import RequestsQuery
from serving.limits import Limits
from tests.serving.conftest import error_code
from tests.serving.fake_officer import subject_of

if TYPE_CHECKING:
    from tests.serving.conftest import Api
    from tests.serving.fake_engine import FakeEngine


def confirmed(api: Api, body: dict[str, Any], confirm: str = "u1") -> Any:
    """The dry run of a body, then the request that quotes its plan."""
    plan = api.call("POST", "/v1/forget", json={**body, "dry_run": True}).json()["plan"]
    return api.call("POST", "/v1/forget", json={**body, "confirm": confirm, "plan": plan})


def test_a_dry_run_says_what_would_go(api: Api, engine: FakeEngine) -> None:
    engine.officer.hold("u1", "case 17")
    plan = api.call("DELETE", "/v1/users/u1?dry_run=true").json()
    assert (plan["scope"], plan["users"], plan["interactions"]) == ("user", 1, 2)
    assert (plan["adapters"], plan["held"]) == (["a1"], ["case 17"])
    body = {"user_id": "u1", "scope": "interactions", "after": 2000, "dry_run": True}
    partial = api.call("POST", "/v1/forget", json=body).json()
    assert (partial["scope"], partial["interactions"]) == ("interactions", 1)
    assert partial["plan"] != plan["plan"]
    assert len(engine.log["u1"]) == 2
    assert engine.records == {}


def test_delete(api: Api, engine: FakeEngine) -> None:
    outcome = api.forget("u1").json()
    assert (outcome["scope"], outcome["removed"], outcome["epoch_after"]) == ("user", {"interactions": 2}, 1)
    assert outcome["requests"] == [outcome["request_id"]]
    assert "u1" not in engine.users


def test_the_record_names_nobody(api: Api) -> None:
    outcome = api.forget("u1").json()
    record = api.call("GET", f"/v1/forget/{outcome['request_id']}").json()
    assert (record["state"], record["removed"], record["receipt"]) == ("complete", {"interactions": 2}, True)
    assert record["subject"] == subject_of("u1")
    assert not {"user_number", "plan"} & record.keys()
    assert '"u1"' not in str(record)


def test_the_same_request_again_gives_the_same_answer(api: Api, engine: FakeEngine) -> None:
    first = api.forget("u1").json()
    (plan,) = engine.outcomes
    again = api.call("DELETE", f"/v1/users/u1?confirm=u1&plan={plan}").json()
    assert (first["repeated"], again["repeated"]) == (False, True)
    assert again["request_id"] == first["request_id"]


@pytest.mark.parametrize("query", ["", "confirm=u1", "plan=PLAN", "confirm=u2&plan=PLAN", "confirm=&plan=PLAN"])
def test_a_removal_quotes_subject_and_plan(api: Api, engine: FakeEngine, query: str) -> None:
    plan = engine.officer.plan(ForgetRequest.of("u1")).plan
    response = api.call("DELETE", f"/v1/users/u1?{query.replace('PLAN', plan)}")
    assert response.status_code in (409, 422)
    assert error_code(response) in ("confirmation_required", "invalid_input")
    assert "u1" in engine.users


def test_a_plan_of_something_else_is_refused(api: Api, engine: FakeEngine) -> None:
    response = api.call("DELETE", "/v1/users/u1?confirm=u1&plan=0123")
    assert (response.status_code, error_code(response)) == (409, "plan_changed")
    assert "u1" in engine.users


def test_a_legal_hold_is_a_conflict(api: Api, engine: FakeEngine) -> None:
    engine.officer.hold("u1", "case 17")
    response = api.forget("u1")
    assert (response.status_code, error_code(response)) == (409, "legal_hold")
    assert "u1" in engine.users


@pytest.mark.parametrize(
    ("conditions", "left"),
    [
        ({"item_ids": ["i0"]}, ["i1"]),
        ({"interaction_ids": [1]}, ["i0"]),
        ({"before": 2000}, ["i1"]),
        ({"before": "1970-01-01T00:00:02Z"}, ["i1"]),
        ({"after": 2000}, ["i0"]),
        ({"item_ids": ["i0"], "after": 2000}, ["i0", "i1"]),
    ],
)
def test_forget_interactions(api: Api, engine: FakeEngine, conditions: dict[str, Any], left: list[str]) -> None:
    response = confirmed(api, {"user_id": "u1", "scope": "interactions", **conditions})
    assert response.json()["scope"] == "interactions"
    assert [event.item_id for event in engine.log["u1"]] == left
    assert "u1" in engine.users


def test_forget_a_user(api: Api, engine: FakeEngine) -> None:
    assert confirmed(api, {"user_id": "u1", "scope": "user"}).status_code == 200
    assert "u1" not in engine.users


def test_forget_a_batch(api: Api, engine: FakeEngine) -> None:
    for number in range(2, 5):
        engine.users[f"u{number}"] = User(f"u{number}")
    body = {"user_ids": ["u1", "u2", "u4"], "scope": "user"}
    assert error_code(confirmed(api, body, confirm="u1")) == "confirmation_required"
    outcome = confirmed(api, body, confirm="3").json()
    assert set(engine.users) == {"u3"}
    batch = api.call("GET", f"/v1/forget/{outcome['request_id']}").json()
    assert batch["batch"] == outcome["request_id"]
    assert [record["request_id"] for record in batch["requests"]] == outcome["requests"]
    one = api.call("GET", f"/v1/forget/{outcome['requests'][1]}").json()
    assert (one["batch_id"], one["subject"]) == (batch["batch"], subject_of("u2"))


@pytest.mark.parametrize(
    "users",
    [
        {},
        {"user_id": "u1", "user_ids": ["u2"]},
        {"user_ids": []},
        {"user_ids": ["u1", "u1"]},
        {"user_ids": ["u"] * 10_001},
    ],
    ids=lambda users: repr(users)[:30],
)
def test_a_request_names_one_user_or_a_batch(api: Api, users: dict[str, Any]) -> None:
    api.service.limits = Limits()
    response = api.call("POST", "/v1/forget", json={**users, "scope": "user", "dry_run": True})
    assert (response.status_code, error_code(response)) == (422, "invalid_input")


def test_interactions_are_of_one_user(api: Api, engine: FakeEngine) -> None:
    engine.users["u2"] = User("u2")
    body = {"user_ids": ["u1", "u2"], "scope": "interactions", "before": 5, "dry_run": True}
    assert api.call("POST", "/v1/forget", json=body).status_code == 422


def test_a_removal_that_waits_is_acknowledged_and_listed(api: Api, engine: FakeEngine) -> None:
    assert api.call("GET", "/v1/forget?pending=true").json() == {"requests": []}
    engine.state = ForgetState.EFFECTIVE
    outcome = api.forget("u1").json()
    assert outcome["state"] == "effective"
    assert outcome["in_force"] == IN_FORCE[ForgetState.EFFECTIVE]
    assert outcome["to_do"] == "Run `rag-rec adapter retrain`."
    first = outcome["waits_for"][0]
    assert (first["layer"], first["until"], first["which"]) == (
        "adapter",
        "2100-01-01T00:00:00.000Z",
        ["old-adapter"],
    )
    status = api.call("GET", f"/v1/forget/{outcome['request_id']}").json()
    assert {name: status[name] for name in ("in_force", "waits_for", "to_do")} == {
        name: outcome[name] for name in ("in_force", "waits_for", "to_do")
    }
    (waiting,) = api.call("GET", "/v1/forget").json()["requests"]
    assert (waiting["request_id"], waiting["state"]) == (outcome["request_id"], "effective")
    assert api.call("GET", "/v1/forget?pending=true").json()["requests"] == [waiting]


def test_complete_requests_are_listed_too(api: Api, engine: FakeEngine) -> None:
    engine.users |= {name: User(name) for name in ("u2", "u3")}
    ids = [api.forget(name).json()["request_id"] for name in ("u1", "u2", "u3")]

    def listed(query: str) -> list[str]:
        return [each["request_id"] for each in api.call("GET", f"/v1/forget{query}").json()["requests"]]

    assert listed("") == listed("?pending=false") == listed("?limit=3") == ids
    assert listed("?limit=2") == ids[1:]
    assert listed("?pending=true") == []
    for query in ("?limit=0", "?limit=10001", "?limit=x", "?user_id=u1"):
        assert api.call("GET", f"/v1/forget{query}").status_code == 422


def test_none_that_waits_is_left_out_of_a_list_unasked() -> None:
    assert (RequestsQuery().newest, RequestsQuery(pending=True).newest) == (1_000, None)
    assert (RequestsQuery(limit=7).newest, RequestsQuery(pending=True, limit=7).newest) == (7, 7)


def test_the_requests_of_a_person_are_found_by_the_id_that_the_person_had(api: Api, engine: FakeEngine) -> None:
    engine.users["u2"] = User("u2")
    part = confirmed(api, {"user_id": "u1", "scope": "interactions", "item_ids": ["i0"]}).json()["request_id"]
    api.forget("u2")
    whole = api.forget("u1").json()["request_id"]
    answer = api.call("POST", "/v1/forget/find", "privacy", json={"user_id": "u1"})
    assert [record["request_id"] for record in answer.json()["requests"]] == [part, whole]
    assert "u1" not in answer.text
    assert api.call("POST", "/v1/forget/find", json={"user_id": "nobody"}).json() == {"requests": []}
    for body in ({}, {"user_id": ""}, {"user_id": "u1", "k": 1}):
        assert api.call("POST", "/v1/forget/find", json=body).status_code == 422


def test_a_removal_that_could_not_be_finished_says_so(api: Api, engine: FakeEngine) -> None:
    plan = engine.officer.plan(ForgetRequest.of("u1")).plan
    engine.failure = Unfinished("The request is in force, and will be taken up again.")
    response = api.call("DELETE", f"/v1/users/u1?confirm=u1&plan={plan}")
    assert (response.status_code, error_code(response)) == (503, "unfinished")
    assert api.service.metrics.registry.get_sample_value("ragrec_forget_failures_total", {"code": "unfinished"}) == 1


def test_a_defect_is_counted_as_one(api: Api, engine: FakeEngine) -> None:
    engine.failure = ValueError("u1")
    assert api.call("DELETE", "/v1/users/u1?confirm=u1&plan=p").status_code == 500
    assert api.service.metrics.registry.get_sample_value("ragrec_forget_failures_total", {"code": "internal"}) == 1


def test_the_receipt_is_given_byte_for_byte(api: Api, engine: FakeEngine) -> None:
    request = api.forget("u1").json()["request_id"]
    response = api.call("GET", f"/v1/forget/{request}/receipt")
    assert response.text == engine.records[request].receipt
    assert "  " in response.text  # written again it would not have two spaces
    unknown = api.call("GET", "/v1/forget/nothing/receipt")
    assert (unknown.status_code, error_code(unknown)) == (404, "unknown_request")


def test_the_key_of_the_receipts_is_for_everybody(api: Api) -> None:
    for role in ("recommend", "metrics"):
        assert api.call("GET", "/v1/receipts/key", role).json()["key"].startswith("-----BEGIN PUBLIC KEY-----")


def test_a_proof_holds_up_nothing(api: Api, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    request = api.forget("u1").json()["request_id"]
    proving, go_on = threading.Event(), threading.Event()
    prove = engine.officer.prove

    def slow(request_id: str, *_: Any) -> Any:
        proving.set()
        assert go_on.wait(30)
        return prove(request_id)

    monkeypatch.setattr(engine.officer, "prove", slow)
    proof = api.start("POST", f"/v1/forget/{request}/prove")
    assert proving.wait(30)
    engine.users["u2"] = User("u2")
    assert api.forget("u2").status_code == 200
    assert api.call("POST", "/v1/recommendations", json={"user_id": "u3"}).status_code == 200
    assert not proof.done()
    go_on.set()
    assert proof.result(30).json()["equal"] is True


def test_a_removal_under_way_holds_up_no_recommendation(api: Api, engine: FakeEngine) -> None:
    plan = engine.officer.plan(ForgetRequest.of("u1")).plan
    assert engine.entered.acquire(timeout=30)
    gate = engine.gate = threading.Event()
    removal = api.start("DELETE", f"/v1/users/u1?confirm=u1&plan={plan}")
    assert engine.entered.acquire(timeout=30)
    engine.gate = None
    assert api.call("POST", "/v1/recommendations", json={"user_id": "u2"}).status_code == 200
    assert api.call("POST", "/v1/users/u2/interactions", json={"item_id": "i1"}).status_code == 200
    assert api.call("GET", "/v1/items/i1/similar").status_code == 200
    assert api.call("GET", "/readyz").status_code == 200
    assert not removal.done()
    gate.set()
    assert removal.result(30).status_code == 200
