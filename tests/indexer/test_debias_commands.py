"""``rag-rec debias`` as a person or a schedule runs it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import orjson
import pytest

import indexer.debias_commands
from indexer.commands import app
from indexer.debias_page import page
from rag_rec.adapters.folder import AdapterStore
from rag_rec.debias.search import Search
from rag_rec.settings import Settings
from tests.embedders import HashEmbedder
from tests.indexer.biased_homes import PEOPLE, biased_home
from tests.indexer.memorised_homes import copied
from tests.rag_rec.commands.asking import printed

ENOUGH = ("--budget-ndcg", "10%", "--most", "0.3")
run = partial(printed, app, "debias")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return biased_home(tmp_path_factory.mktemp("biased") / "home")


@pytest.fixture
def settings(made: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    monkeypatch.setenv("RAGREC_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RAGREC_CANDIDATES", "30")
    monkeypatch.setattr(indexer.debias_commands, "open_embedder", lambda name, threads: HashEmbedder())  # noqa: ARG005
    yield copied(made, tmp_path / "home")


def test_it_publishes_and_writes_a_report_without_a_person(settings: Settings, tmp_path: Path) -> None:
    found = run(*ENOUGH, "--metric", "popularity", "--report", str(tmp_path / "report.html"))
    used = AdapterStore(settings.compact).current()
    assert used is not None
    assert found["adapter"] == used.adapter
    written = orjson.loads((tmp_path / "report.json").read_bytes())
    assert written == found
    html = (tmp_path / "report.html").read_text()
    assert html.count("<svg") == 4
    assert "Published as" in html
    assert "<script" not in html
    ids = {f"u{user}" for user in range(PEOPLE)}
    for text in (html, (tmp_path / "report.json").read_text()):
        assert not ids & set(re.findall(r"\bu\d+\b", text))


def test_what_is_refused_is_an_error_with_a_report(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = AdapterStore(settings.compact).current()
    monkeypatch.setattr(Search, "_longest", lambda self, deltas, *_: (0.0, dict(deltas)))  # noqa: ARG005
    error = run(*ENOUGH, "--report", str(tmp_path / "report"), code=1)["error"]
    assert "nothing has changed: no figure comes nearer to fair" in error["message"]
    assert "Nothing is published, because" in (tmp_path / "report.html").read_text()
    assert AdapterStore(settings.compact).current() == before
    tried = run(*ENOUGH, "--dry-run")
    assert tried["against"] and tried["adapter"] is None


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--metric", "beauty"), "choose from popularity"),
        (("--metric", "popularity@0"), "a number above 0"),
        (("--metric", "popularity@x"), "a number above 0"),
        (("--metric", "popularity", "--metric", "popularity@2"), "named twice"),
        (("--budget-ndcg", "much"), "a share such as 1%"),
        (("--budget-ndcg", "100%"), "below 100%"),
        (("--budget-ndcg", "nan"), "below 100%"),
        (("--most", "0"), "above 0"),
        (("--sparsity", "-1"), "at least 0"),
        (("--protect", "gender"), "--protect gender=F"),
        (("--report", "/nowhere/report"), "make it first"),
    ],
)
def test_what_makes_no_sense_is_refused_at_once(
    options: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexer.debias_commands, "open_embedder", None)
    assert message in run(*options, code=1)["error"]["message"]


def test_names_in_a_report_are_escaped() -> None:
    change = {"figures": {"<b>": (0.0, 0.0, 0.0)}, "gaps": {"<b>": [0.1, 0.1]}, "ndcg": [0.1, 0.1], "loss": 0.0}
    change |= {"loss_interval": [0.0, 0.0]}
    point = {"share": 0.1, "count": 1, "unfairness": -0.1, "loss": 0.0}
    done = {"count": 1, "length": 1.0, "gaps": {"<b>": 0.1}, "accuracy": 0.1, "path": [point], "predicted": {}}
    counts = {"choices": 1, "of": 2, "people": 1, "of_people": 2, "by": {"<i>": {"<u>": {"masked": 1, "all": 2}}}}
    html = page(
        {
            "adapter_before": "<a>",
            "adapter": None,
            "against": ["<s>"],
            "served": change,
            "llm": change,
            "predicted": {"<b>": 0.0},
            "budget": 0.01,
            "masked": counts,
            "rounds": [done],
            "gate": {"decision": "<em>"},
        }
    )
    for tag in ("<a>", "<b>", "<i>", "<u>", "<s>", "<em>"):
        assert tag not in html
        assert tag.replace("<", "&lt;").replace(">", "&gt;") in html
