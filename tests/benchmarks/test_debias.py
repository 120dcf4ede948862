"""The comparison of ways of debiasing, on a small system."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.debias import Trainings, rows_of
from benchmarks.methods.debias_field import Field
from benchmarks.methods.debias_retraining import retrained
from indexer.learned import Learned
from rag_rec.compact.adapter import Deltas
from rag_rec.store import open_store
from tests.indexer.biased_homes import biased_home
from tests.indexer.memorised_homes import builder_of


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Field]:
    settings = biased_home(tmp_path_factory.mktemp("biased") / "home")
    with closing(open_store(settings.database_url)) as store:
        yield Field(builder_of(settings, store), budget=0.1, most=0.3)


def test_every_way_has_a_row_beside_doing_nothing(field: Field) -> None:
    rows = {row["name"]: row for row in rows_of(field, "popularity", Trainings(Path(), [], 1))}
    assert list(rows) == ["nothing", "control", "fudlr", "fudlr+control", "greedy-influence", "random-mask"]
    assert rows["nothing"]["gap_reduction"] == 0.0
    assert rows["fudlr"]["llm gap_reduction"] > rows["random-mask"]["llm gap_reduction"]
    assert (
        rows["fudlr"]["llm reduction low"] <= rows["fudlr"]["llm gap_reduction"] <= rows["fudlr"]["llm reduction high"]
    )
    assert rows["fudlr"]["choices"] == rows["random-mask"]["choices"] > 0
    assert rows["control"]["gap_after"] < rows["nothing"]["gap_after"]
    assert "llm gap_after" not in rows["control"]


def test_a_training_that_leaves_nothing_out_is_that_of_the_adapter(field: Field) -> None:
    learned, people = field.learned, field.people
    choices = sum(len(each.items) for each in people)
    again = retrained(learned, people, np.zeros(choices, dtype=np.bool_), learned.settings.seed)
    kept = learned.deltas()
    assert all(torch.allclose(again[name], kept[name], atol=1e-4) for name in kept)


def test_what_is_left_out_is_not_learned(field: Field) -> None:
    learned, people = field.learned, field.people
    first = learned.base.vocabulary.first_item
    items = torch.cat([batch.targets for batch in learned.samples(people)]).numpy() - first
    without = retrained(learned, people, items < 9, learned.settings.seed)
    likely = [_likely(learned, deltas) for deltas in (learned.deltas(), without)]
    assert likely[1] < 0.1 * likely[0]


def _likely(learned: Learned, deltas: Deltas) -> float:
    """How likely the hits are on the mean."""
    first = learned.base.vocabulary.first_item
    with torch.no_grad():
        logits = torch.cat([batch.logits(deltas) for batch in learned.samples(learned.learned())])
    return float(torch.softmax(logits, dim=1)[:, first : first + 9].sum(dim=1).mean())
