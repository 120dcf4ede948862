from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rag_rec.domain import Interaction
from rag_rec.engine.engine import Engine
from rag_rec.engine.tending import open_saga
from rag_rec.errors import InvalidInput, LegalHold, UnknownUser
from rag_rec.forgetting import plan
from rag_rec.forgetting.request import ForgetRequest
from rag_rec.store.records import Selection
from tests.homes import ITEMS, running
from tests.rag_rec.forgetting.asking import forget
from tests.rag_rec.forgetting.homes import CANARY, DAY, log, number_of


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = running(tmp_path / "home", log())
    yield engine
    engine.close()


def test_a_plan_counts_what_would_go_of_each_layer(engine: Engine) -> None:
    part = engine.officer.plan(ForgetRequest.of(CANARY, Selection(item_ids=frozenset({ITEMS[0].id, ITEMS[1].id}))))
    assert (part.scope, part.users, part.interactions) == ("interactions", 1, 2)
    assert (part.profile_vectors, part.own_vectors, part.statistics) == (1, 1, 2)
    batch = engine.officer.plan(ForgetRequest(("user-0", CANARY)))
    assert (batch.scope, batch.users, batch.interactions) == ("user", 2, 11)
    assert (batch.profile_vectors, batch.own_vectors, batch.statistics, batch.index_files) == (2, 3, 11, 4)


def test_a_plan_without_memory_says_so(engine: Engine) -> None:
    planned = open_saga(engine.settings, engine.store).plan(ForgetRequest.of(CANARY))
    assert planned.statistics is planned.profile_vectors is planned.own_vectors is None
    assert (planned.interactions, planned.index_files) == (6, 2)


def test_the_hash_depends_on_the_people_and_not_on_their_order(engine: Engine) -> None:
    two = engine.officer.plan(ForgetRequest(("user-0", CANARY))).plan
    assert engine.officer.plan(ForgetRequest((CANARY, "user-0"))).plan == two
    others = [ForgetRequest(("user-0", "user-1")), ForgetRequest.of(CANARY), ForgetRequest.of("user-0")]
    hashes = {two, *(engine.officer.plan(request).plan for request in others)}
    assert len(hashes) == 4
    assert all(CANARY not in each for each in hashes)


def test_the_hash_of_a_new_identity_is_another_one(engine: Engine) -> None:
    before = engine.officer.plan(ForgetRequest.of(CANARY)).plan
    forget(engine.officer, CANARY)
    since = engine.officer.consent(CANARY).consented
    assert since is not None
    engine.store.append([Interaction(CANARY, ITEMS[0].id, since, "like")])
    assert number_of(engine.store, CANARY) > 5
    assert engine.officer.plan(ForgetRequest.of(CANARY)).plan != before


def test_the_expected_time_is_that_of_earlier_requests_of_the_same_scope(engine: Engine) -> None:
    assert engine.officer.plan(ForgetRequest.of(CANARY)).expected_ms is None
    forget(engine.officer, "user-0")
    assert (engine.officer.plan(ForgetRequest.of(CANARY)).expected_ms or 0) > 0
    assert engine.officer.plan(ForgetRequest.of(CANARY, Selection(after=203 * DAY))).expected_ms is None


def test_what_means_nothing_is_refused(engine: Engine) -> None:
    with pytest.raises(UnknownUser):
        engine.officer.plan(ForgetRequest.of("nobody"))
    for request, reason in (
        (ForgetRequest(()), "names no person"),
        (ForgetRequest(("user-0", "user-0")), "^Position 1 of user_ids names a user who is named before"),
        (ForgetRequest(("user-0", "user-1"), Selection(before=1)), "one user at a time"),
        (ForgetRequest.of("user-0", Selection()), "names none"),
        (ForgetRequest.of("user-0", Selection(before=1)), "no interaction that is meant"),
    ):
        with pytest.raises(InvalidInput, match=reason):
            engine.officer.plan(request)


def test_unknown_people_are_told_by_where_they_are_named(engine: Engine) -> None:
    people = ("user-0", "nobody", "user-1", "no one")
    with pytest.raises(UnknownUser, match=r"^Positions 1 and 3 of user_ids name no user of the store; nothing was"):
        engine.officer.plan(ForgetRequest(people))
    with pytest.raises(UnknownUser, match=r"^Lines 4 and 9 name no user of the store; nothing was") as refused:
        engine.officer.plan(ForgetRequest(people, lines=(2, 4, 7, 9)))
    assert "nobody" not in str(refused.value)
    with pytest.raises(UnknownUser, match=r"^Line 3 names no user"):
        engine.officer.plan(ForgetRequest(("nobody",), lines=(3,)))
    with pytest.raises(UnknownUser, match=r"^There is no user with this id"):
        engine.officer.plan(ForgetRequest.of("nobody"))


def test_all_that_is_wrong_with_a_batch_is_told_at_once(engine: Engine) -> None:
    people = ("user-0", "nobody", "user-0", "no one")
    with pytest.raises(InvalidInput) as refused:
        engine.officer.plan(ForgetRequest(people, lines=(1, 3, 4, 8)))
    assert str(refused.value) == (
        "Line 4 names a user who is named before: name each once. Lines 3 and 8 name no user of the store; nothing was "
        "changed."
    )
    with pytest.raises(InvalidInput, match=r"^Position 1 of user_ids names a user who is named before: name each once"):
        engine.officer.plan(ForgetRequest(("user-0", "user-0")))


def test_a_plan_lists_the_interactions_that_would_go(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = [row.number for row in engine.store.interactions(number_of(engine.store, CANARY))]
    some = ForgetRequest.of(CANARY, Selection(after=202 * DAY))
    assert engine.officer.plan(some).interaction_ids == tuple(numbers[2:])
    assert engine.officer.plan(ForgetRequest.of(CANARY)).interaction_ids == ()
    monkeypatch.setattr(plan, "LISTED", 3)
    short = engine.officer.plan(some)
    assert (short.interaction_ids, short.interactions) == (tuple(numbers[2:5]), 4)


def test_interactions_of_somebody_else_are_refused_by_id(engine: Engine) -> None:
    own = [row.number for row in engine.store.interactions(number_of(engine.store, CANARY))]
    other = engine.store.interactions(number_of(engine.store, "user-1"))[0].number
    right = engine.officer.plan(ForgetRequest.of(CANARY, Selection(numbers=frozenset(own[:1])))).plan
    wrong = Selection(numbers=frozenset({own[0], other}))
    with pytest.raises(InvalidInput, match=f"^Id {other} is no interaction of this user"):
        engine.officer.plan(ForgetRequest.of(CANARY, wrong))
    with pytest.raises(InvalidInput, match=f"^Id {other} is no interaction of this user"):
        engine.officer.forget(ForgetRequest.of(CANARY, wrong, CANARY, right))
    several = ForgetRequest.of(CANARY, Selection(numbers=frozenset({own[0], other, 90_001})))
    with pytest.raises(InvalidInput, match=f"^Ids {other} and 90001 are no interactions of this user"):
        engine.officer.plan(several)
    assert len(engine.store.interactions(number_of(engine.store, CANARY))) == len(own)
    narrowed = Selection(numbers=frozenset(own), item_ids=frozenset({ITEMS[0].id}))
    assert engine.officer.plan(ForgetRequest.of(CANARY, narrowed)).interactions == 1


def test_people_on_hold_are_told_by_where_they_are_named(engine: Engine) -> None:
    engine.officer.hold("user-1", "case 7")
    planned = engine.officer.plan(ForgetRequest(("user-0", "user-1"), lines=(2, 5)))
    assert (planned.held, planned.held_at) == (("case 7",), (5,))
    assert engine.officer.plan(ForgetRequest.of("user-1")).held_at == (0,)
    with pytest.raises(
        LegalHold, match=r"^Line 5 names a person who may not be forgotten: case 7\. Nothing was removed"
    ):
        engine.officer.forget(ForgetRequest(("user-0", "user-1"), None, "2", planned.plan, (2, 5)))
    with pytest.raises(LegalHold, match=r"^This person may not be forgotten: case 7"):
        forget(engine.officer, "user-1")


def test_a_dry_run_that_confirms_is_refused(engine: Engine) -> None:
    with pytest.raises(InvalidInput, match="nothing to confirm"):
        engine.officer.plan(ForgetRequest.of(CANARY, confirm=CANARY))
