"""What every strategy has to keep to."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_rec.domain import Strategy
from rag_rec.evidence import Attention, Diversity, EvidenceStrategy, Memory, Preference, strategy
from tests.rag_rec.evidence.memories import NO_CANDIDATES, Row, memory_of, random_memory, rows, unit_vectors

STRATEGIES: list[EvidenceStrategy] = [Preference(), Diversity(), Attention()]
CANDIDATES = unit_vectors(5, seed=3)

every = pytest.mark.parametrize("chosen", STRATEGIES, ids=["preference", "diversity", "attention"])
histories = st.lists(rows, max_size=24)
budgets = st.integers(-1, 120)


@every
@given(history=histories, budget=budgets)
def test_rows_are_ascending_distinct_and_within_the_budget(
    chosen: EvidenceStrategy, history: list[Row], budget: int
) -> None:
    memory = memory_of(history)
    selected = chosen.select(memory, CANDIDATES, budget)
    assert selected.dtype == np.int64
    assert np.all(np.diff(selected) > 0)
    assert np.all((selected >= 0) & (selected < len(memory)))
    assert memory.tokens[selected].sum() <= max(budget, 0)
    assert np.all(memory.tokens[selected] <= budget)


@every
@given(history=histories, budget=budgets)
def test_the_same_memory_gives_the_same_rows(chosen: EvidenceStrategy, history: list[Row], budget: int) -> None:
    first = chosen.select(memory_of(history), CANDIDATES, budget)
    again = chosen.select(memory_of(history), CANDIDATES.copy(), budget)
    assert np.array_equal(first, again)


@every
@given(history=histories, budget=budgets, data=st.data())
def test_after_a_partial_forget_the_evidence_is_that_of_someone_who_only_had_the_rest(
    chosen: EvidenceStrategy, history: list[Row], budget: int, data: st.DataObject
) -> None:
    kept = np.array(data.draw(st.lists(st.booleans(), min_size=len(history), max_size=len(history))), dtype=np.bool_)
    whole = memory_of(history)
    chosen.select(whole, CANDIDATES, budget)
    rest = Memory(whole.vectors[kept], whole.weights[kept], whole.times[kept], whole.tokens[kept], whole.clusters[kept])
    remaining = [row for row, keep in zip(history, kept, strict=True) if keep]
    # Times are shifted by what was forgotten: only their order within the rest counts.
    twin = Memory(rest.vectors, rest.weights, rest.times + 1000, rest.tokens, memory_of(remaining).clusters)
    assert np.array_equal(chosen.select(rest, CANDIDATES, budget), chosen.select(twin, CANDIDATES, budget))


@every
def test_everything_is_shown_when_it_fits(chosen: EvidenceStrategy) -> None:
    memory = random_memory(20, seed=5)
    total = int(memory.tokens.sum())
    assert np.array_equal(chosen.select(memory, CANDIDATES, total), np.arange(20))
    assert len(chosen.select(memory, CANDIDATES, total - 1)) < 20


@every
@pytest.mark.parametrize("budget", [-5, 0, 3])
def test_nothing_is_shown_when_no_row_fits(chosen: EvidenceStrategy, budget: int) -> None:
    memory = memory_of([Row(0, 5, 1, 4, 0), Row(1, 5, 1, 9, 1)])
    assert chosen.select(memory, CANDIDATES, budget).tolist() == []


@every
def test_an_empty_history_gives_no_rows(chosen: EvidenceStrategy) -> None:
    assert chosen.select(memory_of([]), CANDIDATES, 100).tolist() == []
    assert chosen.select(memory_of([]), NO_CANDIDATES, 0).tolist() == []


@every
def test_inputs_are_left_alone(chosen: EvidenceStrategy) -> None:
    memory, candidates = random_memory(40, seed=9), CANDIDATES.copy()
    before = [array.copy() for array in (memory.vectors, memory.weights, memory.times, memory.tokens, memory.clusters)]
    chosen.select(memory, candidates, 60)
    after = [memory.vectors, memory.weights, memory.times, memory.tokens, memory.clusters]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))  # type: ignore[arg-type]
    assert np.array_equal(candidates, CANDIDATES)


@every
def test_a_long_history_is_handled(chosen: EvidenceStrategy) -> None:
    memory = random_memory(2500, seed=11)
    selected = chosen.select(memory, CANDIDATES, 1024)
    assert 900 < memory.tokens[selected].sum() <= 1024


@pytest.mark.parametrize(
    ("name", "kind"),
    [(Strategy.PREFERENCE, Preference), (Strategy.DIVERSITY, Diversity), (Strategy.ATTENTION, Attention)],
)
def test_each_name_has_its_strategy(name: Strategy, kind: type) -> None:
    assert type(strategy(name)) is kind
