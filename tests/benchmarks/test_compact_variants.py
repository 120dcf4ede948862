from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from benchmarks import compact_variants
from benchmarks.compact_variants import BASE, BUCKETS, NAMES, READER, SEMANTIC, Variant, rows_of, variant_rows
from benchmarks.data import Benchmark
from benchmarks.methods.bucket_prompt import BucketSettings
from benchmarks.methods.validation import Validation
from rag_rec.events.history import HISTORY_DTYPE, History

ITEMS, USERS = 80, 90


def history_of(user: int) -> History:
    history = np.zeros(7 + user % 4, dtype=HISTORY_DTYPE)
    history["item"] = (11 * user + np.arange(len(history))) % ITEMS
    history["interaction"] = 100 * user + np.arange(len(history))
    return history


@pytest.fixture(scope="module")
def validation() -> Validation:
    """People who walk along a ring of items with arbitrary texts."""
    histories = [(user, history_of(user)) for user in range(USERS)]
    vectors = np.random.default_rng(0).normal(size=(ITEMS, 24)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return Validation(Benchmark("ring", histories, [f"item {item}" for item in range(ITEMS)], least=5), vectors)


def test_the_last_positive_is_never_looked_at(validation: Validation) -> None:
    for user, (_, whole) in enumerate(validation.benchmark.histories):
        assert validation.histories[user].tolist() == whole["item"][:-2].tolist()
        assert validation.questions.answers[user] == whole["item"][-2]


@pytest.mark.parametrize("name", [BASE, READER, BUCKETS, SEMANTIC])
def test_rows_tell_accuracy_and_memory(validation: Validation, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    small = partial(BucketSettings, width=8, layers=1, heads=1, epochs=1)
    monkeypatch.setattr(compact_variants, "BucketSettings", small)
    (row,) = rows_of(name, validation, epochs=1)
    assert row["name"] == name
    for field in ("ndcg@10 of 50", "ndcg@10 fused", "membership auc, threshold", "membership auc, calibrated"):
        assert 0.0 <= float(str(row[field])) <= 1.0
    assert ("membership auc, other half" in row) == (name == READER)
    assert (row["parameters"] == 0) == (name == BASE)


def test_a_cut_adapter_is_a_row_of_its_own(validation: Validation) -> None:
    small = Variant("small", width=64, layers=1, ranks=(None, 4))
    whole, cut = variant_rows(small, validation, epochs=2)
    assert (whole["name"], cut["name"]) == ("small", "small, rank 4")
    assert int(str(whole["parameters"])) == 16 * int(str(cut["parameters"]))
    assert whole["epochs"] == 2


def test_names_are_distinct() -> None:
    assert len(set(NAMES)) == len(NAMES)
