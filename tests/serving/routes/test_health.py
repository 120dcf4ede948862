from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

from rag_rec.domain import Provenance, Recommendation, Source, Strategy
from rag_rec.generators.condition import Condition, Standing, in_words
from rag_rec.layers.records import ForgetState
from tests.serving.conftest import error_code
from tests.serving.fake_officer import subject_of

if TYPE_CHECKING:
    from tests.serving.conftest import Api
    from tests.serving.fake_engine import FakeEngine


def samples(api: Api) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    text = api.call("GET", "/metrics", "metrics").text
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(api: Api, name: str, **labels: str) -> float | None:
    return samples(api).get((name, frozenset(labels.items())))


def test_ready_only_when_the_engine_is(api: Api, engine: FakeEngine) -> None:
    assert api.call("GET", "/readyz", None).json()["status"] == "ready"
    engine.ready = False
    response = api.call("GET", "/readyz", None)
    assert (response.status_code, error_code(response)) == (503, "not_ready")
    assert response.json()["error"]["message"] == "Catching up with the store."
    assert api.call("GET", "/healthz", None).status_code == 200


def test_readiness_says_how_the_llm_is(api: Api, engine: FakeEngine) -> None:
    assert api.call("GET", "/readyz", None).json()["generator"]["state"] == "off"
    engine.generator = Condition(Standing.DOWN, "absent", 1_000, in_words("absent"))
    response = api.call("GET", "/readyz", None)
    assert response.status_code == 200
    assert response.json()["generator"] == {
        "state": "down",
        "reason": "absent",
        "since": "1970-01-01T00:00:01Z",
        "detail": in_words("absent"),
    }


def test_a_service_that_loads_is_alive_and_not_ready(api: Api) -> None:
    api.service.engine = None
    assert api.call("GET", "/healthz", None).status_code == 200
    assert api.call("GET", "/readyz", None).status_code == 503
    response = api.call("POST", "/v1/recommendations", json={"user_id": "u1"})
    assert (response.status_code, error_code(response)) == (503, "not_ready")
    assert value(api, "ragrec_ready") == 0


def test_requests_are_counted_by_template_and_status(api: Api) -> None:
    for user in ("u1", "u2", "u3"):
        api.call("GET", f"/v1/users/{user}/export")
    api.call("GET", "/no/such/address")
    route = "/v1/users/{user_id}/export"
    assert value(api, "ragrec_http_requests_total", method="GET", route=route, status="200") == 1
    assert value(api, "ragrec_http_requests_total", method="GET", route=route, status="404") == 2
    assert value(api, "ragrec_http_requests_total", method="GET", route="unmatched", status="404") == 1
    assert value(api, "ragrec_http_request_seconds_count", method="GET", route=route) == 3
    assert value(api, "ragrec_http_requests_in_flight") == 1  # the one that reads the metrics


def test_recommendations_are_counted_by_source(api: Api) -> None:
    for user in ("u1", "u2"):
        api.call("POST", "/v1/recommendations", json={"user_id": user})
    labels = {"strategy": "preference"}
    assert value(api, "ragrec_recommendations_total", source="candidates", known_user="true", **labels) == 1
    assert value(api, "ragrec_recommendations_total", source="popularity", known_user="false", **labels) == 1


def test_removals_are_timed_and_dry_runs_are_not(api: Api, engine: FakeEngine) -> None:
    api.call("DELETE", "/v1/users/u1?dry_run=true")
    assert value(api, "ragrec_forget_seconds_count", scope="user") is None
    api.forget("u1")
    assert value(api, "ragrec_forget_seconds_count", scope="user") == 1
    (plan,) = engine.outcomes
    assert api.call("DELETE", f"/v1/users/u1?confirm=u1&plan={plan}").json()["repeated"]
    assert value(api, "ragrec_forget_seconds_count", scope="user") == 1


def test_removals_show_their_states_and_what_was_refused_since(api: Api, engine: FakeEngine) -> None:
    assert value(api, "ragrec_forget_pending", state="effective") == 0
    assert value(api, "ragrec_erasure_epoch") == 0
    engine.state = ForgetState.EFFECTIVE
    api.forget("u1")
    api.call("POST", "/v1/users/u1/interactions", json=[{"item_id": "i1"}, {"item_id": "i2"}])
    assert value(api, "ragrec_forget_pending", state="effective") == 1
    assert value(api, "ragrec_forget_overdue") == 1
    assert value(api, "ragrec_suppressed_events_total") == 2
    assert value(api, "ragrec_removal_process_losses_total") == 0
    engine.losses = 3
    assert value(api, "ragrec_removal_process_losses_total") == 3
    assert value(api, "ragrec_erasure_epoch") == 1


def test_the_state_of_the_engine_is_shown(api: Api) -> None:
    api.call("POST", "/v1/users/u2/interactions", json={"item_id": "i1"})
    shown = {name: value(api, f"ragrec_{name}") for name in ("ready", "epoch", "lag", "users", "items", "interactions")}
    assert shown == {"ready": 1, "epoch": 1, "lag": 0, "users": 2, "items": 5, "interactions": 3}
    assert value(api, "ragrec_generation_info", generation="first") == 1


def test_no_identifier_appears_in_the_metrics(api: Api) -> None:
    api.call("GET", "/v1/users/person-77/export")
    api.call("GET", "/person-77")
    api.call("POST", "/v1/recommendations", json={"user_id": "person-77"})
    api.call("PUT", "/v1/users/person-77", json={})
    api.forget("person-77")
    text = api.call("GET", "/metrics").text
    assert "person-77" not in text
    assert subject_of("person-77") not in text


def test_answers_without_the_llm_are_counted_by_their_reason(api: Api) -> None:
    provenance = Provenance(1, "g", Strategy.PREFERENCE, Source.CANDIDATES, True, 0, fallback="late")
    api.service.metrics.count_recommendation(Recommendation((), provenance))
    assert value(api, "ragrec_generator_fallbacks_total", reason="late") == 1
