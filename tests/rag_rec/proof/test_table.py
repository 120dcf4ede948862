from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pytest

from rag_rec.candidates.features import FINE
from rag_rec.candidates.reranker import Reranker
from rag_rec.domain import Interaction
from rag_rec.engine.engine import Engine
from rag_rec.proof import table
from rag_rec.proof.table import Proof, Row, compare, proof_table
from rag_rec.proof.twin import Twin, build_twin
from tests.homes import ITEMS, build, engine_of, running
from tests.rag_rec.forgetting.asking import forget
from tests.rag_rec.forgetting.homes import CANARY, DAY, log, number_of
from tests.rag_rec.proof.comparing import some_user, unequal
from tests.rag_rec.store.removing import delete_user

CHECKS = [
    "counts: together",
    *(f"counts: {name}" for name in ("followed", "preceded", "next", "previous", "after", "before")),
    "counts: popularity",
    "counted sequences",
    "inverse P (relative)",
    "item vectors",
    "histories",
    "interaction vectors",
    "profile vectors",
    "index files",
    "recommendation lists",
]


def test_a_system_that_forgot_equals_its_twin(engine: Engine, twin: Twin) -> None:
    found = compare(engine.live, twin)
    assert [row.check for row in found.rows] == CHECKS
    assert found.equal
    assert all(row.compared > 0 and row.different == 0 and row.worst < 1e-9 for row in found.rows)
    assert (found.users, found.listed, found.reranker) == (8, 8, engine.live.reranker.digest)
    assert found.rows[-1].compared == 9 * 3  # eight users and a stranger, by three strategies


def test_a_sparse_system_equals_its_twin(tmp_path: Path) -> None:
    engine = running(tmp_path, log(), dense_items_limit=0, reranker=Reranker.default())
    forget(engine.officer, CANARY)
    found = compare(engine.live, build_twin(engine.live, engine.store, engine.settings, engine.embedder))
    assert found.equal
    assert [row.check for row in found.rows] == [check for check in CHECKS if not check.startswith("inverse")]
    engine.close()


def test_the_table_is_plain_json(engine: Engine, twin: Twin) -> None:
    table = proof_table(compare(engine.live, twin))
    assert orjson.loads(orjson.dumps(table)) == table
    assert (table["equal"], table["mode"], table["users"], table["users_listed"]) == (True, "exact", 8, 8)
    assert table["epoch"] == engine.store.epoch()
    first = {"check": "counts: together", "compared": table["rows"][0]["compared"], "different": 0, "equal": True}
    assert table["rows"][0] == first | {"worst": 0.0}


def test_an_unequal_row_makes_an_unequal_proof() -> None:
    rows = (Row("a", 3, 0, 0.0), Row("b", 3, 1, 0.5))
    table = proof_table(Proof(rows, 7, 3, 2, "reader"))
    assert (table["equal"], table["mode"]) == (False, "sampled")
    assert [row["equal"] for row in table["rows"]] == [True, False]


def test_lists_of_a_sample(engine: Engine, twin: Twin, monkeypatch: pytest.MonkeyPatch) -> None:
    assert compare(engine.live, twin, sample=2).listed == 2
    monkeypatch.setattr(table, "EXACT_USERS", 4)
    monkeypatch.setattr(table, "SAMPLE", 3)
    found = compare(engine.live, twin)
    assert (found.users, found.listed) == (8, 3)
    assert found.rows[-1].compared == 4 * 3


def one_count(engine: Engine) -> set[str]:
    one = np.array([1])
    engine.live.statistics.together.add(one, one + 1, one)
    return {"counts: together"}


def one_transition(name: str) -> Callable[[Engine], set[str]]:
    def change(engine: Engine) -> set[str]:
        one = np.array([1])
        engine.live.statistics.transitions[name].add(one, one + 3, one)
        return {f"counts: {name}"}

    return change


def one_choice(engine: Engine) -> set[str]:
    positives = engine.live.positives(engine.live.people.history(some_user(engine)))
    engine.live.statistics.popularity.change(positives[:1], 1)
    return {"counts: popularity"}


def one_sequence(engine: Engine) -> set[str]:
    positives = engine.live.positives(engine.live.people.history(some_user(engine)))
    engine.live.statistics.sequences.replace(positives, positives[:-1])
    return {"counted sequences"}


def one_leftover_sequence(engine: Engine) -> set[str]:
    positives = engine.live.positives(engine.live.people.history(some_user(engine))).copy()
    positives["interaction"] += 10_000
    engine.live.statistics.sequences.replace(positives[:0], positives)
    return {"counted sequences"}


def one_entry_of_the_inverse(engine: Engine) -> set[str]:
    inverse = engine.live.statistics.inverse
    assert inverse is not None
    inverse.matrix[2, 3] += 1e-9
    return {"inverse P (relative)"}


def one_item_vector(engine: Engine) -> set[str]:
    engine.live.items.vectors()[4, 0] += np.float32(1e-6)
    return {"item vectors", "interaction vectors"}


def one_cluster(engine: Engine) -> set[str]:
    engine.live.items.clusters()[4] += 1
    return {"item vectors"}


def one_history(engine: Engine) -> set[str]:
    engine.live.people.history(some_user(engine))["value"][0] = 0.5
    return {"histories"}


def one_own_vector(engine: Engine) -> set[str]:
    number = number_of(engine.store, "more-1")
    history, vectors = engine.live.people.recall(number)
    changed = {int(history["interaction"][0]): -vectors[0]}
    engine.live.people.interactions.put(number, history["interaction"], history["item"], changed)
    return {"interaction vectors"}


def one_missing_own_vector(engine: Engine) -> set[str]:
    number = number_of(engine.store, "more-1")
    history = engine.live.people.history(number)
    engine.live.people.interactions.put(number, history["interaction"], history["item"], {})
    return {"interaction vectors"}


def one_profile(engine: Engine) -> set[str]:
    number = some_user(engine)
    profile = engine.live.people.profile(number)
    assert profile is not None
    engine.live.people.profiles.put(np.array([number]), -profile[None])
    return {"profile vectors"}


def one_missing_profile(engine: Engine) -> set[str]:
    engine.live.people.profiles.remove(np.array([some_user(engine)]))
    return {"profile vectors"}


def one_leftover_profile(engine: Engine) -> set[str]:
    engine.live.people.profiles.put(np.array([9_999]), np.ones((1, 32), dtype=np.float32))
    return {"profile vectors"}


def another_reader(engine: Engine) -> set[str]:
    """What a list depends on beside the layers: a single weight."""
    reranker = engine.live.reranker
    weights = reranker.fine_weights.copy()
    weights[0] += 0.5
    engine.live.model.reranker = Reranker(
        reranker.coarse_standard, reranker.coarse_weights, reranker.fine_standard, weights
    )
    return {"recommendation lists"}


PLANTED = {
    "count": one_count,
    **{name: one_transition(name) for name in ("followed", "preceded", "next", "previous", "after", "before")},
    "choice": one_choice,
    "sequence": one_sequence,
    "leftover sequence": one_leftover_sequence,
    "inverse": one_entry_of_the_inverse,
    "item vector": one_item_vector,
    "cluster": one_cluster,
    "history": one_history,
    "own vector": one_own_vector,
    "missing own vector": one_missing_own_vector,
    "profile": one_profile,
    "missing profile": one_missing_profile,
    "leftover profile": one_leftover_profile,
    "reader": another_reader,
}


@pytest.mark.parametrize("plant", PLANTED.values(), ids=PLANTED)
def test_every_planted_difference_is_found(engine: Engine, twin: Twin, plant: Callable[[Engine], set[str]]) -> None:
    expected = plant(engine)
    found = compare(engine.live, twin)
    assert unequal(found) - {"recommendation lists"} == expected - {"recommendation lists"}
    assert expected <= unequal(found)
    assert all(row.worst > 0 for row in found.rows if row.check in expected - {"recommendation lists"})


def test_what_p_does_to_lists_is_judged_as_p(engine: Engine, twin: Twin) -> None:
    inverse = engine.live.statistics.inverse
    assert inverse is not None
    inverse.matrix[:] *= np.random.default_rng(0).uniform(0.5, 1.5, size=inverse.matrix.shape)
    found = compare(engine.live, twin)
    assert unequal(found) == {"inverse P (relative)"}
    assert found.rows[-1].worst > 1e-3  # the lists are others, and would not be with the right P


def test_lists_that_differ_without_p(tmp_path: Path) -> None:
    engine = running(tmp_path, log(), dense_items_limit=0, reranker=Reranker.default())
    twin = build_twin(engine.live, engine.store, engine.settings, engine.embedder)
    assert unequal(compare(engine.live, twin)) == set()
    another_reader(engine)
    assert unequal(compare(engine.live, twin)) == {"recommendation lists"}
    engine.close()


def test_lists_by_neighbours_equal_the_twin_s(engine: Engine, twin: Twin) -> None:
    """With a reranker that asks for neighbours; P is off, so that each list is read twice."""
    inverse = engine.live.statistics.inverse
    assert inverse is not None
    inverse.matrix[:] *= np.random.default_rng(0).uniform(0.5, 1.5, size=inverse.matrix.shape)
    weights = engine.live.reranker.fine_weights.copy()
    weights[FINE.index("neighbours")] = 3.0
    for each in (engine.live, twin.live):
        each.model.reranker = replace(each.reranker, neighbours=True, fine_weights=weights)
    assert unequal(compare(engine.live, twin)) == {"inverse P (relative)"}


def test_a_person_who_was_not_taken_out_of_memory_is_found(engine: Engine, twin: Twin) -> None:
    """As if a removal had deleted the person from the store only."""
    number = number_of(engine.store, "user-4")
    delete_user(engine.store, number)
    twin.live.follow()
    engine.live.epoch = twin.live.epoch  # the state believes that it has followed
    found = unequal(compare(engine.live, twin))
    assert {"counts: together", "counted sequences", "histories", "profile vectors", "index files"} <= found


def test_a_rebuilt_index_equals_the_twin(engine: Engine) -> None:
    build(engine.settings, reranker=engine.live.reranker)
    reopened = engine_of(engine.settings)
    twin = build_twin(reopened.live, reopened.store, reopened.settings, reopened.embedder)
    assert compare(reopened.live, twin).equal
    reopened.close()


def test_a_comparison_gives_way(engine: Engine, twin: Twin, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a standstill of no length, every step is one of its own, and events come in between."""
    monkeypatch.setattr(table, "STANDSTILL", 0.0)
    events = [Interaction("more-0", item.id, (400 + n) * DAY, "like") for n, item in enumerate(ITEMS)]
    breaths: list[float] = []

    def event(seconds: float) -> None:
        breaths.append(seconds)
        if events:
            engine.add_interactions("more-0", [events.pop()])

    monkeypatch.setattr("rag_rec.proof.table.time.sleep", event)
    assert compare(engine.live, twin).equal
    assert not events
    assert len(breaths) > 100
    assert twin.live.epoch == engine.store.epoch()


def test_many_events_meanwhile_replace_the_statistics(
    engine: Engine, twin: Twin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rag_rec.index.serving_state.MANY", 1)
    monkeypatch.setattr("rag_rec.index.serving_state.MANY_SHARE", 0.0)
    before = engine.live.statistics
    test_a_comparison_gives_way(engine, twin, monkeypatch)
    assert engine.live.statistics is not before
