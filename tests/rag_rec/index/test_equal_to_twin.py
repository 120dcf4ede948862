"""The main promise: after a forget, the system equals one that was built from scratch without the person.

The twin of these tests is a system of its own, with its own store, that was never told of the person; it is compared
by checks that share no code with the product's own proof. The product's proof has to come to the same verdict.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from rag_rec.domain import Interaction, RecommendationRequest, Strategy
from rag_rec.engine.engine import Engine
from rag_rec.proof.table import compare
from rag_rec.proof.twin import build_twin
from rag_rec.store.records import Selection
from tests.homes import ITEMS, running
from tests.rag_rec.forgetting.asking import forget

DAY = 86_400_000
START = 1_600_000_000_000

events = st.one_of(
    st.tuples(st.just("rating"), st.sampled_from([1.0, 3.0, 4.0, 5.0])),
    st.tuples(st.sampled_from(["like", "skip"]), st.none()),
)
rows = st.builds(
    lambda user, item, event, time, text: Interaction(
        f"user-{user}", ITEMS[item].id, START + time * DAY, event[0], event[1], text
    ),
    st.integers(0, 5),
    st.integers(0, len(ITEMS) - 1),
    events,
    st.integers(0, 90),
    st.none() | st.sampled_from(["loved the garden", "too much winter", "steel and stars"]),
)
logs = st.lists(rows, min_size=2, max_size=60, unique_by=lambda row: (row.user_id, row.item_id, row.event, row.time))


@dataclass
class Removal:
    """What a test forgets: a whole user, or the user's interactions with some items."""

    user_id: str
    items: frozenset[str] | None

    def carry_out(self, engine: Engine) -> None:
        forget(engine.officer, self.user_id, None if self.items is None else Selection(item_ids=self.items))

    def covers(self, row: Interaction) -> bool:
        return row.user_id == self.user_id and (self.items is None or row.item_id in self.items)


def removals(log: list[Interaction]) -> st.SearchStrategy[Removal]:
    users = sorted({row.user_id for row in log})
    some_items = st.frozensets(st.sampled_from([item.id for item in ITEMS]), min_size=1, max_size=6)
    return st.builds(Removal, st.sampled_from(users), st.none() | some_items)


def index_contents(engine: Engine) -> dict[str, dict[Any, bytes]]:
    """The three indices as sets of (id, vector), by ids that do not depend on internal numbers."""
    store, live = engine.store, engine.live
    profiles, interactions = {}, {}
    for number, history in live.people.histories():
        user = store.user_by_number(number)
        assert user is not None
        profile = live.people.profile(number)
        if profile is not None:
            profiles[user.id] = profile.tobytes()
        _, vectors = live.people.recall(number)
        stored = store.interactions(number, [int(n) for n in history["interaction"]])
        for row, vector in zip(stored, vectors, strict=True):
            key = (user.id, row.interaction.item_id, row.interaction.event, row.interaction.time)
            interactions[key] = vector.tobytes()
    items = {
        item_id: vector.tobytes()
        for item_id, vector in zip(live.items.catalogue.ids, live.items.vectors(), strict=True)
    }
    return {"items": items, "profiles": profiles, "interactions": interactions}


def candidate_lists(engine: Engine, users: set[str]) -> dict[tuple[str, str], list[tuple[str, float]]]:
    """Everybody's ranked list by every strategy, scores rounded to nine decimals."""
    return {
        (user, strategy.value): [
            (item.item_id, round(item.score, 9))
            for item in engine.recommend(RecommendationRequest(user, k=10, strategy=strategy)).items
        ]
        for user in users
        for strategy in Strategy
    }


def assert_equal_to_twin(engine: Engine, twin: Engine, users: set[str]) -> None:
    mine, theirs = engine.live.statistics, twin.live.statistics
    assert mine.equal(theirs)
    assert mine.inverse is not None
    assert theirs.inverse is not None
    assert relative_error(mine.inverse.matrix, theirs.inverse.matrix) < 1e-9
    assert index_contents(engine) == index_contents(twin)
    assert candidate_lists(engine, users) == candidate_lists(twin, users)


def assert_proven(engine: Engine) -> None:
    """The product's own comparison, with the twin that it builds from the store."""
    proof = compare(engine.live, build_twin(engine.live, engine.store, engine.settings, engine.embedder))
    assert [row for row in proof.rows if not row.equal] == []


def relative_error(mine: npt.NDArray[np.float64], theirs: npt.NDArray[np.float64]) -> float:
    return float(np.abs(mine - theirs).max() / np.abs(theirs).max())


@settings(
    max_examples=30,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # an example costs two builds: shrinking takes too long
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(data=st.data(), log=logs)
def test_a_system_that_forgot_equals_its_twin(data: st.DataObject, log: list[Interaction]) -> None:
    removal = data.draw(removals(log))
    built = data.draw(st.integers(0, len(log)))
    with tempfile.TemporaryDirectory() as folder:
        engine = running(Path(folder) / "live", log[:built])
        for row in log[built:]:
            engine.add_interactions(row.user_id, [row])
        if any(removal.covers(row) for row in log):
            removal.carry_out(engine)
        engine.live.statistics.flush()
        kept = [row for row in log if not removal.covers(row)]
        twin = running(Path(folder) / "twin", kept, reranker=engine.live.reranker)
        users = {row.user_id for row in kept} | {"stranger"}
        assert_equal_to_twin(engine, twin, users)
        assert_proven(engine)
        engine.close()
        twin.close()


@pytest.mark.parametrize("dense_items_limit", [0, 8000])
def test_a_reopened_system_equals_its_twin(tmp_path: Path, dense_items_limit: int) -> None:
    rng = np.random.default_rng(3)
    log = [
        Interaction(f"user-{u}", ITEMS[i].id, START + int(t) * DAY, "like")
        for u in range(8)
        for t, i in enumerate(rng.permutation(len(ITEMS))[: rng.integers(3, 9)])
    ]
    engine = running(tmp_path / "live", log, dense_items_limit=dense_items_limit)
    forget(engine.officer, "user-3")
    reranker = engine.live.reranker
    engine.close()
    reopened = Engine.open(engine.settings, embedder=engine.embedder)
    kept = [row for row in log if row.user_id != "user-3"]
    twin = running(tmp_path / "twin", kept, reranker=reranker, dense_items_limit=dense_items_limit)
    assert reopened.live.statistics.equal(twin.live.statistics)
    assert index_contents(reopened) == index_contents(twin)
    users = {row.user_id for row in kept}
    assert candidate_lists(reopened, users) == candidate_lists(twin, users)
    assert_proven(reopened)
    reopened.close()
    twin.close()
