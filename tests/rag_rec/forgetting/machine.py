"""Random sequences of everything that can be done to a system, against the model of what it should then hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from benchmarks.methods.crash_cases import StopAmongPeople, Stopped
from benchmarks.methods.interruptions import HALVES, PLACES, Point
from indexer.build import Builder
from rag_rec.candidates.reranker import Reranker
from rag_rec.domain import Interaction, Item, RecommendationRequest, Strategy, User
from rag_rec.errors import Forgotten, UnknownUser
from rag_rec.forgetting.request import ForgetRequest
from rag_rec.home.opening import store_of
from rag_rec.store.records import Selection
from tests.embedders import HashEmbedder
from tests.homes import ITEMS
from tests.rag_rec.forgetting.model import key_of
from tests.rag_rec.forgetting.pair import DAY, PEOPLE, HistoryLine, Pair, Tally, first_rows

TWIN_EVERY = 30
"""After so many steps the whole state is compared with a twin's."""

Thing = TypeVar("Thing")

users = st.sampled_from(PEOPLE)
some = st.integers(0, 10_000)
"""Chooses one of what there is, whatever it is."""
item_ids = st.frozensets(st.sampled_from([item.id for item in ITEMS]), min_size=1, max_size=6)
events: st.SearchStrategy[HistoryLine] = st.tuples(
    st.sampled_from(ITEMS), st.sampled_from(["like", "skip", "rating"]), st.integers(0, 9), st.booleans(), st.booleans()
)
points = st.builds(
    Point, st.sampled_from(PLACES), st.integers(1, 3), st.sampled_from(["before", "halfway", "after"])
).map(lambda point: point if point.place in HALVES or point.when != "halfway" else replace(point, when="after"))

somebody = precondition(lambda self: self.model.users)


def one_of(things: Sequence[Thing], chosen: int) -> Thing:
    return things[chosen % len(things)]


class ForgetMachine(RuleBasedStateMachine):
    """Every rule is a command on the real system, and the same on the model."""

    def __init__(self, template: Path, tally: Tally) -> None:
        super().__init__()
        self.pair = Pair(template, tally)
        self.model = self.pair.model
        self.steps = -1  # the invariants are looked at once before the first

    def teardown(self) -> None:
        self.pair.close()

    @rule(user_id=users, told=st.lists(events, min_size=1, max_size=4))
    def ingest(self, user_id: str, told: list[HistoryLine]) -> None:
        self.pair.add([self.pair.event(user_id, each) for each in told])

    @rule(chosen=some)
    def ingest_again(self, chosen: int) -> None:
        """Events that are there, or were: late copies of what another system still has."""
        known = [*first_rows(), *(row for rows in self.model.users.values() for row in rows.values())]
        self.pair.add([one_of(known, chosen)])

    @precondition(lambda self: self.model.refused)
    @rule(chosen=some)
    def send_what_was_forgotten(self, chosen: int) -> None:
        user_id, (item_id, event, moment) = one_of(sorted(self.model.refused), chosen)
        value = 3.0 if event == "rating" else None  # a rating without one is refused for another reason
        self.pair.add([Interaction(user_id, item_id, moment, event, value, text="late words")])
        assert (item_id, event, moment) not in self.model.users.get(user_id, {})

    @rule(user_id=users)
    def put_user(self, user_id: str) -> None:
        user = User(user_id, {"age": 30})
        if self.model.is_gone(user_id):
            with pytest.raises(Forgotten):
                self.pair.engine.put_user(user)
            return
        self.pair.engine.put_user(user)
        self.model.users.setdefault(user_id, {})

    @rule(user_id=users, strategy=st.sampled_from(Strategy))
    def recommend(self, user_id: str, strategy: Strategy) -> None:
        answer = self.pair.engine.recommend(RecommendationRequest(user_id, k=4, strategy=strategy))
        rows = self.model.users.get(user_id)
        assert answer.provenance.epoch == self.pair.engine.store.epoch()
        assert answer.provenance.known_user == (rows is not None)
        cited = {(reason.item_id, reason.event, reason.time) for item in answer.items for reason in item.reasons}
        assert cited <= set(rows or ())

    @rule(item=st.sampled_from(ITEMS))
    def similar(self, item: Item) -> None:
        assert len(self.pair.engine.similar(item.id, 3)) == 3

    @rule(user_id=users)
    def export(self, user_id: str) -> None:
        if user_id not in self.model.users:
            with pytest.raises(UnknownUser):
                self.pair.engine.officer.export(user_id)
            return
        user, rows = self.pair.engine.officer.export(user_id)
        assert user.id == user_id
        assert {key_of(row.interaction): row.interaction for row in rows} == self.model.users[user_id]

    @rule(user_id=users)
    def forget_anybody(self, user_id: str) -> None:
        """Also people who are not there."""
        self.pair.forget(ForgetRequest.of(user_id))

    @somebody
    @rule(chosen=some)
    def forget_user(self, chosen: int) -> None:
        self.pair.forget(ForgetRequest.of(self._present(chosen)))

    @precondition(lambda self: len(self.model.users) > 1)
    @rule(chosen=some, size=st.integers(2, 3))
    def forget_batch(self, chosen: int, size: int) -> None:
        people = sorted(self.model.users)
        first = chosen % len(people)
        self.pair.forget(ForgetRequest(tuple([*people[first:], *people[:first]][:size])))

    @somebody
    @rule(chosen=some, items=item_ids)
    def forget_items(self, chosen: int, items: frozenset[str]) -> None:
        self.pair.forget(ForgetRequest.of(self._present(chosen), Selection(item_ids=items)))

    @somebody
    @rule(chosen=some, first=st.integers(0, 9), days=st.integers(1, 60))
    def forget_days(self, chosen: int, first: int, days: int) -> None:
        selection = Selection(after=first * DAY, before=(first + days) * DAY)
        self.pair.forget(ForgetRequest.of(self._present(chosen), selection))

    @somebody
    @rule(chosen=some, place=some)
    def forget_interaction(self, chosen: int, place: int) -> None:
        user_id = self._present(chosen)
        _, rows = self.pair.engine.officer.export(user_id)
        if rows:
            number = one_of(rows, place).number
            self.pair.forget(ForgetRequest.of(user_id, Selection(numbers=frozenset({number}))))

    @somebody
    @rule(point=points, chosen=some, items=st.none() | item_ids)
    def crash(self, point: Point, chosen: int, items: frozenset[str] | None) -> None:
        selection = None if items is None else Selection(item_ids=items)
        self.pair.crash(ForgetRequest.of(self._present(chosen), selection), point)

    @rule(user_id=users)
    def consent_of_anybody(self, user_id: str) -> None:
        """Also of people who were never forgotten."""
        if user_id in self.model.forgotten:
            self.pair.consent(user_id)
            return
        with pytest.raises(UnknownUser):
            self.pair.engine.officer.consent(user_id)

    @precondition(lambda self: self.model.gone())
    @rule(chosen=some)
    def come_back(self, chosen: int) -> None:
        """A forgotten person consents to a new identity, and is active again."""
        user_id = one_of(self.model.gone(), chosen)
        self.pair.consent(user_id)
        self.pair.add([self.pair.event(user_id, (one_of(ITEMS, chosen), "like", 0, True, True))])

    @rule(user_id=users)
    def hold_or_release(self, user_id: str) -> None:
        if user_id in self.model.held:
            self.pair.engine.officer.release(user_id)
            self.model.held.remove(user_id)
        elif user_id in self.model.users and len(self.model.held) < 2:
            self.pair.engine.officer.hold(user_id, "case 7")
            self.model.held.add(user_id)

    @rule(fresh=st.booleans())
    def rebuild(self, fresh: bool) -> None:
        self.pair.rebuild(fresh=fresh)

    @rule()
    def interrupt_a_rebuild(self) -> None:
        store, generations = store_of(self.pair.settings), self.pair.engine.current.generations
        stop, reranker = StopAmongPeople(), Reranker.default()
        with suppress(Stopped):
            Builder(store, generations, self.pair.settings, HashEmbedder(), stop, reranker).build(fresh=True)
        store.close()

    @rule(chosen=some)
    def activate_another(self, chosen: int) -> None:
        generations = self.pair.engine.current.generations
        others = [name for name in generations.names() if name != generations.current_id()]
        if others:
            generations.activate(one_of(others, chosen))
            assert self.pair.engine.refresh()

    @precondition(lambda self: len(self.pair.backups) < 3)
    @rule()
    def back_up(self) -> None:
        self.pair.back_up()

    @precondition(lambda self: self.pair.backups)
    @rule(chosen=some)
    def restore_a_backup(self, chosen: int) -> None:
        self.pair.restore(*one_of(self.pair.backups, chosen))

    @rule()
    def reopen(self) -> None:
        self.pair.reopen()

    @rule()
    def refresh(self) -> None:
        self.pair.engine.refresh()

    @precondition(lambda self: self.pair.requests)
    @rule()
    def prove(self) -> None:
        request_id = self.pair.requests[-1]
        assert self.pair.engine.officer.prove(request_id)["equal"]
        assert self.pair.is_complete(request_id)

    @invariant()
    def everything_is_as_it_should_be(self) -> None:
        self.steps += 1
        self.pair.tally.steps += self.steps > 0
        assert self.pair.stored() == self.model.users
        assert self.pair.engine.officer.pending() == []
        if self.steps % TWIN_EVERY == TWIN_EVERY - 1:
            self.pair.equals_its_twin()
            self.pair.nothing_is_back()

    def _present(self, chosen: int) -> str:
        return one_of(sorted(self.model.users), chosen)


def machines(template: Path, tally: Tally) -> Callable[[], ForgetMachine]:
    """Makes machines that start from copies of a system."""
    return lambda: ForgetMachine(template, tally)
