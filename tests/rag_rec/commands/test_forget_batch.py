from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from rag_rec.commands.forget_batch import forget_batch, report_in_words
from rag_rec.commands.printing import in_words
from rag_rec.domain import Interaction
from rag_rec.engine.tending import open_saga
from rag_rec.errors import NotReady
from rag_rec.forgetting.request import ForgetRequest
from rag_rec.home.opening import store_of
from rag_rec.settings import Settings
from tests.embedders import HashEmbedder
from tests.homes import ITEMS, build, fill, settings_for
from tests.rag_rec.forgetting.homes import DAY

BATCH = ("user-3", "user-7", "user-20")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = settings_for(tmp_path / "home")
    rows = [
        Interaction(f"user-{u}", ITEMS[(u * 5 + n * (1 + u % 3)) % len(ITEMS)].id, (100 + n) * DAY, "like")
        for u in range(30)
        for n in range(5)
    ]
    fill(settings, rows)
    return settings


def confirmed(settings: Settings) -> ForgetRequest:
    store = store_of(settings)
    try:
        plan = open_saga(settings, store).plan(ForgetRequest(BATCH)).plan
    finally:
        store.close()
    return ForgetRequest(BATCH, confirm="3", plan=plan)


def test_a_batch_reports_what_it_does_to_others(settings: Settings) -> None:
    build(settings)
    request = confirmed(settings)
    done = forget_batch(settings, request, HashEmbedder())
    assert (done["state"], done["removed"]["users"]) == ("complete", 3)
    report = done["report"]
    assert report["as_twin"]
    assert report["rows"]
    assert not any(user_id in str(report) for user_id in BATCH)
    words = in_words(report_in_words(done))
    assert "no difference" in words
    assert "rag_rec" not in words
    assert all(part in words for part in ("NDCG", "nearest to the forgotten", report["notes"][0]))
    differing = report_in_words({**done, "report": report | {"as_twin": False}})
    assert "differ" in differing["Against the twin"]
    again = forget_batch(settings, request, HashEmbedder())
    assert again == {**{key: value for key, value in done.items() if key != "report"}, "repeated": True}
    assert report_in_words(again) == again


def test_a_batch_needs_an_index_to_report_by(settings: Settings) -> None:
    request = confirmed(settings)
    with pytest.raises(NotReady):
        forget_batch(settings, replace(request), HashEmbedder())
    store = store_of(settings)
    assert store.counts().users == 30
    store.close()
