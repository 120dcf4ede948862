"""Figures of fairness of a whole system whose LLM favours what many like."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import indexer.fairness_commands
from indexer.fairness import FairnessReport
from indexer.gate import Asked, GateMeasurement, Sample
from rag_rec.candidates.reranker import Reranker
from rag_rec.commands.audit import app
from rag_rec.domain import Interaction, User
from rag_rec.engine.engine import Engine
from rag_rec.errors import InvalidInput
from rag_rec.fairness.served import NO_ITEM
from rag_rec.progress.protocol import Silent
from rag_rec.recommend.fusion import Trials
from rag_rec.recommend.gate import Gate
from rag_rec.settings import Settings
from tests.embedders import HashEmbedder
from tests.homes import ITEMS, build, fill, running, settings_for
from tests.rag_rec.commands.asking import printed

PEOPLE = 80
OPEN = Gate(use=True, weight=0.0)


def interactions() -> list[Interaction]:
    """Everybody likes the first items, and some of the others."""
    draws = np.random.default_rng(0)
    chosen = [[0, 1, *(2 + draws.permutation(len(ITEMS) - 2)[:4])] for _ in range(PEOPLE)]
    return [
        Interaction(f"u{user}", ITEMS[item].id, 1000 * place + user, "like")
        for user, items in enumerate(chosen)
        for place, item in enumerate(draws.permutation(items).tolist())
    ]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = running(tmp_path_factory.mktemp("home"), interactions(), reranker=Reranker.default())
    engine.store.put_users([User(f"u{user}", {"gender": "mw"[user % 2]}) for user in range(PEOPLE)])
    engine.refresh()
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def asked(engine: Engine) -> Asked:
    return GateMeasurement(engine.live, engine.store, engine.settings, None, Silent()).ask(Sample())


def measured(engine: Engine, asked: Asked, *names: str, gate: Gate | None = None) -> dict[str, Any]:
    return FairnessReport(engine.live, asked, gate, 5, 0).of(names)


def test_without_an_llm_the_candidates_order_is_measured(engine: Engine, asked: Asked) -> None:
    found = measured(engine, asked, "popularity", "gini", "gender:ndcg")
    assert (found["people"], found["served"], found["length"]) == (PEOPLE, "candidates", 5)
    assert list(found["figures"]) == ["popularity", "gini", "gender:ndcg"]
    for orders in found["figures"].values():
        assert list(orders) == ["candidates"]
        each = orders["candidates"]
        assert each["interval"][0] <= each["value"] <= each["interval"][1]
        assert each["least"] <= each["value"] <= each["greatest"]


def test_no_list_has_what_a_person_knows_and_answers_are_those_that_were_hidden(engine: Engine, asked: Asked) -> None:
    for question, row in zip(asked.questions, asked.items, strict=True):
        assert not set(row[row != NO_ITEM].tolist()) & set(question.positives["item"].tolist())
        assert question.answer not in question.positives["item"]
    found = measured(engine, asked, "popularity")["accuracy"]["candidates"]
    by_hand = []
    for question, row in zip(asked.questions, asked.items, strict=True):
        place = row[:5].tolist().index(question.answer) if question.answer in row[:5] else None
        by_hand.append(0.0 if place is None else 1.0 / np.log2(place + 2.0))
    assert found == pytest.approx(np.mean(by_hand), abs=1e-4)


def test_an_llm_that_favours_what_many_like_shows(engine: Engine, asked: Asked) -> None:
    popularity = engine.live.statistics.popularity.total.astype(np.float64)
    opinion = np.where(asked.items == NO_ITEM, -np.inf, popularity[asked.items])
    bent = replace(asked, trials=Trials(asked.trials.candidates, opinion, asked.trials.answers))
    found = measured(engine, bent, "arp", gate=OPEN)
    assert found["served"] == "fused"
    arp = {name: each["value"] for name, each in found["figures"]["arp"].items()}
    assert arp["fused"] == arp["llm"] > arp["candidates"]
    shut = measured(engine, bent, "arp", gate=Gate(use=False, weight=0.0))
    assert shut["served"] == "candidates"


def test_a_figure_that_there_is_not_and_none_at_all_are_refused(engine: Engine, asked: Asked) -> None:
    with pytest.raises(InvalidInput, match="No person has an attribute 'height': choose from activity, gender"):
        measured(engine, asked, "height:ndcg")
    with pytest.raises(InvalidInput, match="--metric popularity"):
        measured(engine, asked)


def test_the_command_prints_every_figure_of_every_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAGREC_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(indexer.fairness_commands, "open_embedder", lambda name, threads: HashEmbedder())  # noqa: ARG005
    settings: Settings = settings_for(tmp_path / "home")
    fill(settings, interactions())
    build(settings)
    run = partial(printed, app, "audit", "fairness")
    assert list(run()["figures"]) == ["popularity", "gini", "activity:ndcg"]
    found = run("--metric", "mgu", "--metric", "coverage", "--k", "3")
    assert (list(found["figures"]), found["length"], found["served"]) == (["mgu", "coverage"], 3, "candidates")
    monkeypatch.setattr(indexer.fairness_commands, "open_embedder", None)  # a wrong name is refused at once
    assert "choose from popularity" in run("--metric", "beauty", code=1)["error"]["message"]
