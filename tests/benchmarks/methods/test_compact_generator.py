"""The compact generator of a benchmark set: what it is trained on, what is kept, and when it is made again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from benchmarks.data import Benchmark
from benchmarks.methods import compact_generator, compact_model
from benchmarks.methods.compact_generator import Recipe, Trained, generator, prompt_of, trained
from benchmarks.methods.ranking import Questions, questions
from rag_rec.compact.base import BaseSettings
from rag_rec.compact.sequences import Windows
from rag_rec.compact.training import AdapterSettings, AdapterTraining
from rag_rec.compact.vocabulary import BOS, Vocabulary
from tests.benchmarks.methods.conftest import ITEMS, history_of
from tests.embedders import HashEmbedder

RECIPE = Recipe(
    BaseSettings(width=16, layers=1, heads=1, epochs=1), AdapterSettings(epochs=1, batch=4, context=8, dropout=0.0)
)
HISTORIES = [(user, history_of(user, [(user + step) % ITEMS for step in range(4 + user % 3)])) for user in range(8)]
RING = Benchmark("ring", HISTORIES, [f"item {item}" for item in range(ITEMS)], least=4)
VECTORS = HashEmbedder().embed(RING.texts)


@pytest.fixture(autouse=True)
def windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Windows]:
    """What each training read, one entry for each."""
    begun: list[Windows] = []

    class Noted(AdapterTraining):
        def __init__(self, *arguments: Any) -> None:
            begun.append(arguments[1])
            super().__init__(*arguments)

    monkeypatch.setattr(compact_generator, "BENCH", tmp_path)
    monkeypatch.setattr(compact_model, "open_embedder", lambda name, threads: HashEmbedder())  # noqa: ARG005
    monkeypatch.setattr(compact_model, "AdapterTraining", Noted)
    return begun


def train(asked: Questions, vectors: Any = VECTORS, recipe: Recipe = RECIPE) -> Trained:
    return trained(RING, vectors, asked, recipe)


@pytest.mark.parametrize("hidden", [1, 2])
def test_no_answer_is_learned(windows: list[Windows], hidden: int) -> None:
    asked = questions(RING, hidden, 1000)
    vocabulary = Vocabulary.load(train(asked).base.folder)
    read = [[vocabulary.items[token - vocabulary.first_item] for token in each.items] for each in windows[0].sequences]
    assert read == [[str(item) for item in history["item"][:-hidden].tolist()] for _, history in HISTORIES]
    assert all(each.prefix.tolist() == [BOS] for each in windows[0].sequences)


def test_what_is_kept_is_taken_while_nothing_has_changed(
    windows: list[Windows], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = questions(RING, 1, 1000)
    first = train(asked)
    assert train(asked) == first
    assert len(windows) == 1
    train(questions(RING, 2, 1000))
    train(asked, recipe=Recipe(RECIPE.base, AdapterSettings(epochs=1, batch=8, context=8, dropout=0.0)))
    assert len(windows) == 3
    train(asked, VECTORS[::-1])
    assert len(windows) == 4
    monkeypatch.setattr(compact_generator, "COMPACT", tmp_path)
    for name in compact_generator.TRAINERS:
        (tmp_path / f"{name}.py").write_text("other code")
    train(asked)
    assert len(windows) == 5


def test_a_note_that_does_not_say_its_source_is_taken_with_a_warning(
    windows: list[Windows], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = questions(RING, 1, 1000)
    first = train(asked)
    [note] = (tmp_path / "compact" / "ring").glob("*.json")
    fields = orjson.loads(note.read_bytes())
    del fields["source"]
    note.write_bytes(orjson.dumps(fields))
    capsys.readouterr()
    assert train(asked) == first
    assert len(windows) == 1
    assert "remove it to train again" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_the_generator_ranks_from_the_history() -> None:
    asked = questions(RING, 1, 1000)
    model = generator(train(asked), evidence=8)
    try:
        history = asked.known[0]
        prompt = prompt_of(history, np.array([5, 6, 7]), np.array([-1.0, -2.0, -3.0]))
        assert [line.item_id for line in prompt.evidence] == [str(item) for item in history["item"].tolist()]
        ranking = model.rank(prompt)
        assert np.exp(ranking.log_probabilities).sum() == pytest.approx(1.0)
        other = model.rank(prompt_of(history[:1], np.array([5, 6, 7]), np.array([-1.0, -2.0, -3.0])))
        assert not np.allclose(ranking.log_probabilities, other.log_probabilities)
    finally:
        model.close()
