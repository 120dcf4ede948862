"""The audit of a whole system's adapter. The people are so few, and so well remembered, that one audit tells."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import indexer.audit_commands
from indexer.auditing import AdapterAudit
from indexer.compact_build import alone
from rag_rec.adapters.folder import AdapterStore
from rag_rec.commands.audit import app
from rag_rec.errors import Busy, InvalidInput
from rag_rec.home.opening import store_of
from rag_rec.progress.protocol import Silent
from rag_rec.settings import Settings
from tests.embedders import HashEmbedder
from tests.indexer.compact_homes import Stopped, build_compact, trained
from tests.indexer.memorised_homes import BY_HEART, builder_of, memorised_home
from tests.rag_rec.commands.asking import printed
from tests.rag_rec.forgetting.asking import forget_in


class Killed(Silent):
    """Ends an audit: at the last step of the training that is named, or as the stage begins that is named."""

    def __init__(self, stage: str) -> None:
        self._stage, self._present, self._done = stage, "", 0

    def stage(self, name: str, total: int) -> None:
        self._present, self._done = name, 0
        if name == self._stage and not total:
            raise Stopped

    def advance(self, steps: int) -> None:
        self._done += steps
        if self._present == self._stage and self._done == 100:
            raise Stopped


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return memorised_home(tmp_path_factory.mktemp("audited") / "home")


@pytest.fixture(scope="module")
def report(settings: Settings) -> dict[str, Any]:
    with closing(store_of(settings)) as store:
        return AdapterAudit(builder_of(settings, store), 5, 30, 1e-3).report()


def test_the_audit_tells_a_training_from_the_adapter_that_saw_the_people(report: dict[str, Any]) -> None:
    assert report["sound"]
    kept_out, used = (report["results"][name] for name in ("retrained, kept out", "in use"))
    assert kept_out["passed"] and kept_out["outside"] == []
    assert not used["passed"] and any(name.startswith("attack") for name in used["outside"])
    assert used["attacks"]["rmia"]["auc"] > 0.65 > kept_out["attacks"]["rmia"]["auc"]
    assert kept_out["nearer_than_in_use"]["p"] < 0.2 < used["nearer_than_in_use"]["p"]


def test_it_says_what_a_removal_would_leave(report: dict[str, Any]) -> None:
    removed, used = report["results"]["influence"], report["results"]["in use"]
    assert removed["attacks"]["rmia"]["auc"] < used["attacks"]["rmia"]["auc"]
    assert list(removed["rmia_by_stratum"]) == ["least remembered", "middle", "most remembered"]
    figures = removed["figures"]["divergence, forgotten"]
    assert figures["low"] < figures["high"] and "deviations" in figures
    assert (report["stand_ins"], report["retained"], report["reserve"]) == (30, 55, 35)


def test_nothing_is_published(settings: Settings, report: dict[str, Any]) -> None:
    compact = AdapterStore(settings.compact)
    assert compact.adapter_digests() == [report["adapter"]]
    assert not compact.training.exists()
    assert not compact.auditing.exists()


def test_an_audit_that_is_interrupted_goes_on_and_says_the_same(tmp_path: Path, epochs: list[int]) -> None:
    settings = memorised_home(tmp_path / "home", trained(BY_HEART, epochs=3))
    compact = AdapterStore(settings.compact)
    with closing(store_of(settings)) as store:
        whole = AdapterAudit(builder_of(settings, store), 4, 0).report()
        for stage, left in (("training 2 of 4", [2, 0, 1, 2, 0, 1, 2]), ("removal", [])):
            with pytest.raises(Stopped):
                AdapterAudit(builder_of(settings, store, Killed(stage)), 4, 0).report()
            assert len(list(compact.auditing.iterdir())) == (2 if left else 4)
            epochs.clear()
            assert AdapterAudit(builder_of(settings, store), 4, 0).report() == whole
            assert epochs == left
            assert not compact.auditing.exists()


def test_an_erasure_destroys_what_an_audit_left(tmp_path: Path) -> None:
    settings = memorised_home(tmp_path / "home", trained(BY_HEART, epochs=1))
    with closing(store_of(settings)) as store, pytest.raises(Stopped):
        AdapterAudit(builder_of(settings, store, Killed("removal")), 4, 0).report()
    compact = AdapterStore(settings.compact)
    assert len(list(compact.auditing.iterdir())) == 4
    forget_in(settings, "user-2")
    assert list(compact.auditing.glob("*")) == []


def test_two_audits_do_not_run_beside_one_another(settings: Settings) -> None:
    busy = pytest.raises(Busy, match="Another audit")
    with closing(store_of(settings)) as store, alone(AdapterStore(settings.compact), "audit"), busy:
        AdapterAudit(builder_of(settings, store), 4, 0).report()


def test_too_few_trainings_tell_nothing(settings: Settings) -> None:
    with closing(store_of(settings)) as store, pytest.raises(InvalidInput, match="at least 4"):
        AdapterAudit(builder_of(settings, store), 3, 0).report()


def test_nobody_may_be_forgotten_meanwhile(tmp_path: Path) -> None:
    settings = memorised_home(tmp_path / "home", trained(BY_HEART, epochs=1))

    class Forgetting(Silent):
        def stage(self, name: str, total: int) -> None:  # noqa: ARG002 - the seam's signature
            if name == "removal":
                forget_in(settings, "user-2")

    with closing(store_of(settings)) as store, pytest.raises(Busy, match="run the same command again"):
        AdapterAudit(builder_of(settings, store, Forgetting()), 4, 0).report()


def test_the_command_prints_one_report_of_adapter_and_reranker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAGREC_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(indexer.audit_commands, "open_embedder", lambda name, threads: HashEmbedder())  # noqa: ARG005
    settings = memorised_home(tmp_path / "home", trained(BY_HEART, epochs=1))
    run = partial(printed, app, "audit", "adapter", "--trainings", "4", "--device", "cpu")
    found = run()
    assert found["results"].keys() == {"in use", "retrained, kept out", "influence"}
    assert found["reranker"] is None or "members" in found["reranker"]
    assert not found["sound"]  # one epoch remembers next to nothing
    build_compact(settings, trained(BY_HEART, epochs=1, reserve=0.0))
    assert "build --reserve" in run(code=1)["error"]["message"]
