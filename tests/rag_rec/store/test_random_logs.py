"""Any order of writes and deletions leaves every store in the state of the reference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from rag_rec.domain import Interaction, Item, User
from rag_rec.errors import Forgotten
from rag_rec.layers.records import ForgetRecord
from rag_rec.store import SqlStore
from rag_rec.store.protocol import Store
from rag_rec.store.records import Selection
from tests.rag_rec.store.erasing import chained, consented, erasure_of
from tests.rag_rec.store.reference import ReferenceStore
from tests.rag_rec.store.reference_privacy import PSEUDONYMS
from tests.rag_rec.store.removing import delete_interactions, delete_user

ITEM_IDS = [f"i{n}" for n in range(4)]
USER_IDS = [f"u{n}" for n in range(4)]
attributes = st.dictionaries(
    st.sampled_from("ab"), st.one_of(st.integers(-3, 3), st.booleans(), st.sampled_from([0.5, 1.0]), st.just(("x",)))
)
items = st.builds(Item, st.sampled_from(ITEM_IDS), st.sampled_from(["s", "t"]), attributes, st.none() | st.just("p"))
users = st.builds(User, st.sampled_from(USER_IDS), attributes)
interactions = st.builds(
    Interaction,
    st.sampled_from(USER_IDS),
    st.sampled_from(ITEM_IDS),
    st.integers(0, 3),
    st.sampled_from(["rating", "view", "interaction"]),
    st.none() | st.sampled_from([1.0, 4.5]),
    st.none() | st.just("words"),
)


class RandomLog(RuleBasedStateMachine):
    """Does the same to a store and to the reference."""

    make: Callable[[], SqlStore]

    def __init__(self) -> None:
        super().__init__()
        self.store: Store = type(self).make()
        self.truth = ReferenceStore()

    @initialize()
    def catalogue(self) -> None:
        self.both(lambda store: store.put_items([Item(name, "t") for name in ITEM_IDS]))

    @rule(batch=st.lists(items, max_size=3))
    def put_items(self, batch: list[Item]) -> None:
        self.both(lambda store: store.put_items(batch))

    @rule(batch=st.lists(users, max_size=3))
    def put_users(self, batch: list[User]) -> None:
        self.both(lambda store: _or_forgotten(lambda: store.put_users(batch)))

    @rule(batch=st.lists(interactions, max_size=8))
    def append(self, batch: list[Interaction]) -> None:
        self.both(lambda store: store.append(batch))

    @rule(number=st.integers(0, 8))
    def delete_user(self, number: int) -> None:
        self.both(lambda store: delete_user(store, number))

    @rule(number=st.integers(0, 8), item=st.sampled_from(ITEM_IDS), before=st.integers(0, 4))
    def delete_some(self, number: int, item: str, before: int) -> None:
        chosen = self.both(lambda store: store.select(number, Selection(frozenset({item}), before)))
        assert isinstance(chosen, list)
        self.both(lambda store: delete_interactions(store, number, chosen))

    @rule(name=st.sampled_from(USER_IDS), some=st.booleans())
    def accept(self, name: str, some: bool) -> None:
        found = self.store.user(name)
        if found is not None:
            numbers = self.store.history(found[0])["interaction"].tolist()[:2] if some else None
            erasure = erasure_of(self.store, name, numbers, f"r{self.store.epoch()}")
            self.both(lambda store: [_timeless(record) for record in store.accept([erasure], chained)])

    @rule(name=st.sampled_from(USER_IDS), time=st.integers(0, 3))
    def consent(self, name: str, time: int) -> None:
        subject = PSEUDONYMS.user(name)
        if any(entry.digest == subject for entry in self.store.suppressions([subject])):
            self.both(lambda store: store.consent(subject, time, consented))

    @rule()
    def scrub(self) -> None:
        self.both(lambda store: store.scrub())

    @invariant()
    def the_same_state(self) -> None:
        self.both(lambda store: (store.epoch(), store.counts(), list(store.events()), store.changes(0)))
        self.both(lambda store: (store.erasure_epoch(), store.suppressed_events(), store.ledger()))
        self.both(lambda store: store.suppressions([PSEUDONYMS.user(name) for name in USER_IDS]))
        self.both(lambda store: list(store.items()))
        self.both(lambda store: [store.user(name) for name in USER_IDS])
        self.both(lambda store: [(user, history.tobytes()) for user, history in store.histories()])
        self.both(lambda store: [store.interactions(number) for number in range(8)])

    def both(self, action: Callable[[Store], object]) -> object:
        done = action(self.store)
        assert done == action(self.truth)
        return done

    def teardown(self) -> None:
        self.store.close()


def _or_forgotten(write: Callable[[], int]) -> int | None:
    try:
        return write()
    except Forgotten:
        return None


def _timeless(record: ForgetRecord) -> ForgetRecord:
    return replace(record, times={})


def test_random_logs(make_store: Callable[[], SqlStore]) -> None:
    machine = type("Machine", (RandomLog,), {"make": staticmethod(make_store)})
    checks = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
    phases = [Phase.explicit, Phase.reuse, Phase.generate]  # shrinking would open thousands of databases
    budget = settings(
        max_examples=25, stateful_step_count=20, deadline=None, suppress_health_check=checks, phases=phases
    )
    run_state_machine_as_test(machine, settings=budget)
