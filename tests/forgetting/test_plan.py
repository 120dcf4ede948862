from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rag_rec.domain import Interaction
from rag_rec.engine import Engine
from rag_rec.errors import InvalidInput, UnknownUser
from rag_rec.forgetting.opening import open_saga
from rag_rec.forgetting.request import ForgetRequest
from rag_rec.store.protocol import Selection
from tests.forgetting.asking import forget
from tests.forgetting.homes import CANARY, DAY, log, number_of
from tests.homes import ITEMS, running


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = running(tmp_path / "home", log())
    yield engine
    engine.close()


def test_a_plan_counts_what_would_go_of_each_layer(engine: Engine) -> None:
    part = engine.plan(ForgetRequest.of(CANARY, Selection(item_ids=frozenset({ITEMS[0].id, ITEMS[1].id}))))
    assert (part.scope, part.users, part.interactions) == ("interactions", 1, 2)
    assert (part.profile_vectors, part.own_vectors, part.statistics) == (1, 1, 2)
    batch = engine.plan(ForgetRequest(("user-0", CANARY)))
    assert (batch.scope, batch.users, batch.interactions) == ("user", 2, 11)
    assert (batch.profile_vectors, batch.own_vectors, batch.statistics, batch.index_files) == (2, 3, 11, 4)


def test_a_plan_without_memory_says_so(engine: Engine) -> None:
    plan = open_saga(engine.settings, engine.store).plan(ForgetRequest.of(CANARY))
    assert plan.statistics is None
    assert (plan.profile_vectors, plan.own_vectors, plan.interactions, plan.index_files) == (0, 0, 6, 2)


def test_the_hash_depends_on_the_people_and_not_on_their_order(engine: Engine) -> None:
    two = engine.plan(ForgetRequest(("user-0", CANARY))).plan
    assert engine.plan(ForgetRequest((CANARY, "user-0"))).plan == two
    others = [ForgetRequest(("user-0", "user-1")), ForgetRequest.of(CANARY), ForgetRequest.of("user-0")]
    hashes = {two, *(engine.plan(request).plan for request in others)}
    assert len(hashes) == 4
    assert all(CANARY not in each for each in hashes)


def test_the_hash_of_a_new_identity_is_another_one(engine: Engine) -> None:
    before = engine.plan(ForgetRequest.of(CANARY)).plan
    forget(engine, CANARY)
    since = engine.consent(CANARY).consented
    assert since is not None
    engine.store.append([Interaction(CANARY, ITEMS[0].id, since, "like")])
    assert number_of(engine.store, CANARY) > 5
    assert engine.plan(ForgetRequest.of(CANARY)).plan != before


def test_the_expected_time_is_that_of_earlier_requests_of_the_same_scope(engine: Engine) -> None:
    assert engine.plan(ForgetRequest.of(CANARY)).expected_ms is None
    forget(engine, "user-0")
    assert (engine.plan(ForgetRequest.of(CANARY)).expected_ms or 0) > 0
    assert engine.plan(ForgetRequest.of(CANARY, Selection(after=203 * DAY))).expected_ms is None


def test_what_means_nothing_is_refused(engine: Engine) -> None:
    with pytest.raises(UnknownUser):
        engine.plan(ForgetRequest.of("nobody"))
    for request, reason in (
        (ForgetRequest(()), "nobody"),
        (ForgetRequest(("user-0", "user-0")), "twice"),
        (ForgetRequest(("user-0", "user-1"), Selection(before=1)), "one user at a time"),
        (ForgetRequest.of("user-0", Selection()), "names none"),
    ):
        with pytest.raises(InvalidInput, match=reason):
            engine.plan(request)
