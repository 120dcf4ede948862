from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from rag_rec.domain import Interaction, RecommendationRequest
from rag_rec.engine.engine import Engine
from rag_rec.fairness.control import POPULARITY, PROVIDER, Control, Grouping, Strengths
from rag_rec.recommend.exposure import groups_of, held_back
from tests.homes import ITEMS, running

LOG = [Interaction(f"u{user}", ITEMS[item].id, 1000 * item, "like") for user in range(6) for item in range(user + 1)]
EVERY = np.arange(len(ITEMS))


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = running(tmp_path_factory.mktemp("home"), LOG)
    yield engine
    engine.close()


def test_groups_are_those_of_the_present(engine: Engine) -> None:
    live = engine.live
    popularity = live.statistics.popularity.total
    limit = 2.5 / float(popularity.mean())
    by_popularity = groups_of(Grouping(POPULARITY, ("head", "tail"), (limit,)), EVERY, live)
    assert by_popularity.tolist() == [0 if count >= 2.5 else 1 for count in popularity]
    by_provider = groups_of(Grouping(PROVIDER, ("provider-0", "provider-2")), EVERY, live)
    assert by_provider.tolist() == [{0: 0, 1: -1, 2: 1}[number % 3] for number in EVERY.tolist()]
    by_genre = groups_of(Grouping("genre", ("mystery",)), EVERY, live)
    assert by_genre.tolist() == [0 if item.attributes["genre"] == "mystery" else -1 for item in ITEMS]


def test_several_kinds_of_groups_add_up_and_each_order_has_its_own_strengths(engine: Engine) -> None:
    provider = Strengths(Grouping(PROVIDER, ("provider-0",)), (1.0,), (0.5,))
    genre = Strengths(Grouping("genre", ("mystery",)), (0.25,), (0.0,))
    control = Control(("exposure:provider",), 0.01, (provider, genre), {})
    fused = held_back(control, EVERY, engine.live, fused=True)
    alone = held_back(control, EVERY, engine.live, fused=False)
    for item, both, one in zip(ITEMS, fused.tolist(), alone.tolist(), strict=True):
        first = item.provider == "provider-0"
        assert both == first * 1.0 + (item.attributes["genre"] == "mystery") * 0.25
        assert one == first * 0.5


def test_without_a_control_an_answer_is_as_it_was(engine: Engine) -> None:
    answer = engine.recommend(RecommendationRequest("u3", 5))
    assert answer.provenance.held_back is None
