"""The exposure control of a whole system whose candidates favour what many like, and the gate's rule of fairness."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import indexer.fairness_commands
import indexer.generator_commands
from indexer.commands import app
from indexer.fair_gate import FairGate
from indexer.gate import Asked, GateMeasurement, Sample
from rag_rec.candidates.reranker import Reranker
from rag_rec.commands.audit import app as audit
from rag_rec.domain import Interaction, Item, Recommendation, RecommendationRequest, Source
from rag_rec.engine.engine import Engine
from rag_rec.errors import InvalidInput
from rag_rec.fairness.groups import head
from rag_rec.fairness.served import NO_ITEM
from rag_rec.progress.protocol import Silent
from rag_rec.recommend.fusion import Trials
from rag_rec.recommend.gate import NOTHING, Gate, gate_path
from rag_rec.settings import Settings
from tests.embedders import HashEmbedder
from tests.homes import build, engine_of, fill, settings_for
from tests.rag_rec.commands.asking import printed

PEOPLE, COUNT = 150, 60
THINGS = tuple(
    Item(f"item-{n}", f"thing {n} of {n % 7}", {"genre": "AB"[n % 2], "year": 1950 + n}, f"shop-{n % 3}")
    for n in range(COUNT)
)
FIGURES = json.dumps(["popularity"])


def interactions() -> list[Interaction]:
    """What people liked is mostly in the head; what each of them likes next may be anything."""
    draws = np.random.default_rng(0)
    odds = 1.0 / np.arange(1, COUNT + 1)
    rows = []
    for user in range(PEOPLE):
        items = draws.choice(COUNT, 8, replace=False, p=odds / odds.sum())
        others = np.setdiff1d(np.arange(COUNT), items)
        for place, item in enumerate([*items.tolist(), int(draws.choice(others))]):
            rows.append(Interaction(f"u{user}", THINGS[item].id, 1000 * place + user, "like"))
    return rows


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("RAGREC_HOME", str(tmp_path / "home"))
    for module in (indexer.generator_commands, indexer.fairness_commands):
        monkeypatch.setattr(module, "open_embedder", lambda name, threads: HashEmbedder())  # noqa: ARG005
    settings = settings_for(tmp_path / "home", candidates=40)
    fill(settings, interactions(), THINGS)
    build(settings, reranker=Reranker.default())
    return settings


def measured(monkeypatch: pytest.MonkeyPatch, code: int = 0, figures: str = FIGURES, budget: float = 0.3) -> Any:
    monkeypatch.setenv("RAGREC_CANDIDATES", "40")
    monkeypatch.setenv("RAGREC_EXPOSURE_FIGURES", figures)
    monkeypatch.setenv("RAGREC_EXPOSURE_BUDGET", str(budget))
    return printed(app, "generator", "gate", code=code)


def lists(engine: Engine) -> list[Recommendation]:
    return [engine.recommend(RecommendationRequest(f"u{user}", 10)) for user in range(PEOPLE)]


def head_share(engine: Engine, answers: list[Recommendation]) -> float:
    groups = head(engine.live.statistics.popularity.total)
    catalogue = engine.live.items.catalogue
    shown = [catalogue.numbers_of([item.item_id])[0] for answer in answers for item in answer.items]
    return float((groups.of[shown] == 0).mean())


def test_one_command_makes_the_served_lists_fairer_without_an_llm(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = engine_of(settings)
    plain = lists(before)
    share = head_share(before, plain)
    assert all(answer.provenance.held_back is None for answer in plain)
    before.close()

    control = measured(monkeypatch)["control"]
    judged = control["judged"]["candidates"]
    assert judged["kept"]
    assert judged["figures"]["popularity"][2] < 0.0
    assert judged["loss"] <= 0.3

    served = engine_of(settings.model_copy(update={"exposure_figures": ["popularity"]}))
    answers = lists(served)
    assert head_share(served, answers) < share - 0.05
    strength = control["strengths"][0]["candidates"][0]
    for answer in answers:
        assert answer.provenance.source is Source.CANDIDATES
        assert answer.provenance.held_back == {"popularity=head": strength}
        scores = [item.score for item in answer.items]
        assert scores == sorted(scores, reverse=True)
    stranger = served.recommend(RecommendationRequest("stranger", 10))
    assert (stranger.provenance.source, stranger.provenance.held_back) == (Source.POPULARITY, None)
    served.close()

    found = printed(audit, "audit", "fairness", "--metric", "popularity")
    assert found["served"] == "controlled"
    gaps = {name: each["gap"] for name, each in found["figures"]["popularity"].items()}
    assert gaps["controlled"] < gaps["candidates"]


def test_a_running_service_takes_a_control_up_and_lets_it_go(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_of(settings.model_copy(update={"exposure_figures": ["popularity"]}))
    assert engine.recommend(RecommendationRequest("u0", 10)).provenance.held_back is None
    measured(monkeypatch)
    engine.refresh()
    assert engine.recommend(RecommendationRequest("u0", 10)).provenance.held_back
    gate_path(settings.gates, NOTHING, None).unlink()
    engine.refresh()
    assert engine.recommend(RecommendationRequest("u0", 10)).provenance.held_back is None
    engine.close()


def test_nothing_is_held_back_where_it_would_cost_more_than_the_budget(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    control = measured(monkeypatch, budget=0.0)["control"]
    judged = control["judged"]["candidates"]
    held = any(control["strengths"][0]["candidates"])
    assert held == judged["kept"]
    assert judged["loss"] <= 0.0 or not held
    assert gate_path(settings.gates, NOTHING, None).exists()


def test_what_cannot_be_controlled_is_told_and_changes_nothing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for figures, message in (
        ('["beauty"]', "choose from popularity"),
        ('["exposure:colour"]', "choose from genre, provider, year"),
        ('["exposure:year"]', "values are numbers"),
    ):
        assert message in measured(monkeypatch, code=1, figures=figures)["error"]["message"]
    assert not settings.gates.exists() or not list(settings.gates.iterdir())


@pytest.mark.usefixtures("settings")
def test_providers_are_held_back_each_by_a_strength_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    [by] = measured(monkeypatch, figures='["exposure:provider", "popularity"]')["control"]["strengths"][:1]
    assert by["grouping"] == {"by": "provider", "names": ["shop-0", "shop-1", "shop-2"], "limits": []}


class TestTheLlm:
    """An LLM that is right about what people choose, and favours what many like."""

    @pytest.fixture
    def engine(self, settings: Settings) -> Engine:
        return engine_of(settings)

    @pytest.fixture
    def asked(self, engine: Engine) -> Asked:
        measurement = GateMeasurement(engine.live, engine.store, engine.settings, None, Silent())
        found = measurement.ask(Sample())
        popularity = engine.live.statistics.popularity.total.astype(np.float64)
        opinion = np.where(found.items == NO_ITEM, -np.inf, 0.3 * popularity[found.items])
        known = found.trials.answers >= 0
        opinion[np.flatnonzero(known), found.trials.answers[known]] += 50.0
        engine.close()
        return replace(found, trials=Trials(found.trials.candidates, opinion, found.trials.answers))

    def judged(self, engine: Engine, asked: Asked, *figures: str, exposure: tuple[str, ...] = ()) -> Gate:
        changes = {"fairness_figures": list(figures), "exposure_figures": list(exposure), "exposure_budget": 0.3}
        settings = engine.settings.model_copy(update=changes)
        gate = Gate(True, 0.1, "m", None, len(asked.questions), 0.1, 0.2, 0.2, (0.01, 0.1))
        return FairGate(engine.live, asked, settings, Silent()).of(gate)

    def test_is_left_out_where_by_a_named_figure_it_is_less_fair(self, engine: Engine, asked: Asked) -> None:
        gate = self.judged(engine, asked, "popularity", "gini")
        assert not gate.use
        assert "popularity" in gate.unfair
        assert gate.fairness["popularity"][0] == pytest.approx(np.mean(gate.fairness["popularity"][1:]), abs=0.05)

    def test_takes_part_where_no_figure_is_named(self, engine: Engine, asked: Asked) -> None:
        gate = self.judged(engine, asked)
        assert (gate.use, gate.fairness, gate.control) == (True, {}, None)

    def test_may_take_part_once_its_order_is_controlled(self, engine: Engine, asked: Asked) -> None:
        gate = self.judged(engine, asked, "popularity", exposure=("popularity",))
        control = gate.control
        assert control is not None
        assert control.judged["fused"]["kept"]
        [by] = control.strengths
        assert by.fused[0] > 0.0
        plain = self.judged(engine, asked, "popularity")
        assert gate.fairness["popularity"][0] < plain.fairness["popularity"][0]

    def test_by_a_figure_that_does_not_exist_is_not_judged(self, engine: Engine, asked: Asked) -> None:
        with pytest.raises(InvalidInput, match="No person has an attribute"):
            self.judged(engine, asked, "gender:ndcg")
