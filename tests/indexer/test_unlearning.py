from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from indexer.unlearning import Method, Plan
from rag_rec.adapters.folder import AdapterStore
from rag_rec.adapters.measured import FILE, Measured, write_measured
from rag_rec.errors import InvalidInput
from tests.rag_rec.adapters.places import put_base

ONE = Measured("influence", 1, 100, 20, 30, "likelihood", (0.8, 0.7, 0.9), (0.5, 0.4, 0.6), 0.3, 0.1, (0.0, 0.0, 0.1))


@pytest.fixture
def compact(tmp_path: Path) -> AdapterStore:
    return AdapterStore(tmp_path / "compact")


def put_in_use(compact: AdapterStore, removed: Mapping[str, Measured], **counts: int) -> Path:
    """An adapter that some requests have left already."""
    base = put_base(compact)
    made = compact.publish_adapter(
        lambda folder: write_measured(folder, removed), base=base, epoch=1, settings={}, counts=counts
    )
    compact.set_current(base, made.digest)
    return made.folder


def planned(compact: AdapterStore, waiting: int, asked: Method = Method.INFLUENCE, budget: float = 0.03) -> Plan:
    return Plan.of(compact, [f"r{number}" for number in range(waiting)], asked, budget)


def test_without_a_request_there_is_nothing_to_do(compact: AdapterStore) -> None:
    with pytest.raises(InvalidInput, match="No forget request waits"):
        planned(compact, 0)


def test_a_removal_that_is_not_exact_keeps_within_its_budget(compact: AdapterStore) -> None:
    put_in_use(compact, {"earlier": ONE}, users=90, learned=100)
    assert planned(compact, 2).method is Method.INFLUENCE
    beyond = planned(compact, 3)
    assert beyond.method is Method.RETRAIN
    assert beyond.why is not None and "1 requests left" in beyond.why and "3 wait, and 3 may" in beyond.why
    assert planned(compact, 3, budget=0.04) == Plan(["r0", "r1", "r2"], Method.INFLUENCE)
    assert planned(compact, 3, Method.RETRAIN) == Plan(["r0", "r1", "r2"], Method.RETRAIN)


def test_after_a_training_the_budget_is_whole(compact: AdapterStore) -> None:
    base = put_base(compact)
    made = compact.publish_adapter(
        lambda folder: (folder / "weights").touch(), base=base, epoch=1, settings={}, counts={"users": 100}
    )
    compact.set_current(base, made.digest)
    assert planned(compact, 3).method is Method.INFLUENCE
    assert planned(compact, 4).method is Method.RETRAIN
    compact.set_current(base)
    assert planned(compact, 1).method is Method.RETRAIN


def test_where_it_is_not_known_how_much_is_spent_nothing_is_left(compact: AdapterStore) -> None:
    base = put_base(compact)

    def damaged(folder: Path) -> None:
        (folder / FILE).parent.mkdir()
        (folder / FILE).write_text("{")

    made = compact.publish_adapter(damaged, base=base, epoch=1, settings={}, counts={"users": 100})
    compact.set_current(base, made.digest)
    assert planned(compact, 1).method is Method.RETRAIN


def test_an_exact_removal_spends_nothing_of_the_budget(compact: AdapterStore) -> None:
    put_in_use(compact, {"earlier": ONE}, users=90, learned=100)
    for asked in (Method.RETRAIN, Method.SHARDS):
        assert asked.exact
        assert planned(compact, 50, asked) == Plan([f"r{number}" for number in range(50)], asked)
    assert not Method.INFLUENCE.exact
