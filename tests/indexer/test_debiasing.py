"""A debiasing of a whole system whose adapter learned a bias towards hits."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import indexer.debiasing
from indexer.debiasing import Debiasing, Request
from indexer.learned import Learned
from rag_rec.adapters.folder import AdapterStore, InUse
from rag_rec.adapters.lineage import adapters_that_saw
from rag_rec.adapters.publishing import Publisher, activate
from rag_rec.compact.adapter import Deltas
from rag_rec.compact.stop import read_stop, windows_of
from rag_rec.debias.search import Found, Limits, Search
from rag_rec.debias.verdict import Verdict
from rag_rec.domain import RecommendationRequest, Source
from rag_rec.errors import Busy, InvalidInput, NotReady, RagRecError
from rag_rec.fairness.groups import head
from rag_rec.influence.curvature import GaussNewton, total_gradient
from rag_rec.influence.vectors import scaled
from rag_rec.recommend.gate import Gate, gate_path
from rag_rec.settings import Settings
from rag_rec.store import open_store
from tests.homes import engine_of
from tests.indexer.biased_homes import HOW, PEOPLE, biased_home
from tests.indexer.memorised_homes import builder_of, copied
from tests.rag_rec.forgetting.asking import forget_in

LIMITS = Limits(most=0.3, budget=0.1)
POPULARITY = Request(["popularity"], [1.0], LIMITS)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return biased_home(tmp_path_factory.mktemp("biased") / "home")


@pytest.fixture
def settings(made: Settings, tmp_path: Path) -> Settings:
    return copied(made, tmp_path / "home")


def debias(settings: Settings, request: Request = POPULARITY, *, publish: bool = True) -> dict[str, Any]:
    with closing(open_store(settings.database_url)) as store:
        return Debiasing(builder_of(settings, store), request).run(publish=publish)


def in_use(settings: Settings) -> InUse:
    used = AdapterStore(settings.compact).current()
    assert used is not None
    return used


def shown(settings: Settings) -> tuple[list[list[str]], float, set[tuple[Source, str | None]]]:
    """The lists of everybody, the share of the hits in them, and who made them."""
    with closing(engine_of(settings)) as engine:
        answers = [engine.recommend(RecommendationRequest(f"u{user}", 10)) for user in range(PEOPLE)]
        groups = head(engine.live.statistics.popularity.total)
        numbers = engine.live.items.catalogue.numbers_of(item.item_id for each in answers for item in each.items)
    lists = [[item.item_id for item in each.items] for each in answers]
    made_by = {(each.provenance.source, each.provenance.adapter) for each in answers}
    return lists, float((groups.of[numbers] == 0).mean()), made_by


def test_the_served_lists_become_fairer_through_the_gate_and_it_can_be_taken_back(settings: Settings) -> None:
    before = in_use(settings)
    debias_gate(settings)
    old_lists, old_share, _ = shown(settings)
    found = debias(settings)
    after = in_use(settings)
    assert (found["against"], found["adapter"], found["adapter_before"]) == ([], after.adapter, before.adapter)
    assert after.adapter != before.adapter
    assert after.base == before.base
    change, low, high = found["served"]["figures"]["popularity"]
    assert low <= change <= high < 0.0
    assert found["predicted"]["popularity"] < 0.0
    assert found["served"]["loss_interval"][1] <= 0.1
    new_lists, new_share, made_by = shown(settings)
    assert made_by == {(Source.FUSED, after.adapter)}
    assert new_share < old_share
    assert new_lists != old_lists
    with closing(open_store(settings.database_url)) as store:
        activate(store, AdapterStore(settings.compact), before)
    assert shown(settings)[0] == old_lists


def debias_gate(settings: Settings) -> None:
    """Measure the gate of the adapter in use, as a build does."""
    used = in_use(settings)
    Gate(True, 5.0, used.base, used.adapter, 160, 0.8, 0.9, 0.95, (0.01, 0.1)).save(
        gate_path(settings.gates, used.base, used.adapter)
    )


def test_a_running_service_takes_the_new_adapter_up(settings: Settings) -> None:
    debias_gate(settings)
    with closing(engine_of(settings)) as engine:
        before = engine.recommend(RecommendationRequest("u0", 10)).provenance
        debias(settings)
        engine.refresh()
        after = engine.recommend(RecommendationRequest("u0", 10)).provenance
    assert (before.source, after.source) == (Source.FUSED, Source.FUSED)
    assert before.adapter != after.adapter == in_use(settings).adapter


def test_those_who_were_masked_stay_in_the_lineage_and_can_be_forgotten(settings: Settings) -> None:
    found = debias(settings)
    assert found["masked"]["people"] > 0
    with closing(open_store(settings.database_url)) as store:
        compact = AdapterStore(settings.compact)
        for user in range(PEOPLE):
            known = store.user(f"u{user}")
            assert known is not None
            assert in_use(settings).adapter in adapters_that_saw(store, compact, known[0])
    forget_in(settings, "u3")
    with pytest.raises(InvalidInput, match="rag-rec adapter unlearn"):
        debias(settings)


def test_several_figures_at_once_and_the_protected_stay(settings: Settings) -> None:
    request = Request(["popularity", "gender:dp"], [1.0, 0.5], LIMITS, [("gender", "F")])
    found = debias(settings, request, publish=False)
    assert found["masked"]["by"]["gender"]["F"]["masked"] == 0
    assert found["masked"]["by"]["gender"]["M"]["masked"] == found["masked"]["choices"] > 0
    assert set(found["served"]["figures"]) == set(found["predicted"]) == {"popularity", "gender:dp"}


def test_people_go_whole_where_that_is_asked(settings: Settings) -> None:
    request = replace(POPULARITY, limits=replace(LIMITS, tied=True))
    found = debias(settings, request, publish=False)
    with closing(open_store(settings.database_url)) as store:
        learned = Learned.in_use(builder_of(settings, store)).learned()
    lengths = {len(each.items) for each in learned}
    masked = found["masked"]
    assert masked["people"] * min(lengths) <= masked["choices"] <= masked["people"] * max(lengths)


def unchanged(settings: Settings, before: InUse) -> bool:
    return in_use(settings) == before and AdapterStore(settings.compact).adapter_digests() == [before.adapter]


def test_a_dry_run_changes_nothing(settings: Settings) -> None:
    before = in_use(settings)
    found = debias(settings, publish=False)
    assert (found["adapter"], found["against"]) == (None, [])
    assert unchanged(settings, before)


def test_a_harmful_mask_is_refused(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    before, search = in_use(settings), Search.run

    def harmful(self: Search, at: Any, deltas: Deltas) -> Found:
        return replace(search(self, at, deltas), deltas=scaled(deltas, -1.0))

    monkeypatch.setattr(Search, "run", harmful)
    found = debias(settings)
    assert any("NDCG may have lost" in each for each in found["against"])
    assert found["adapter"] is None
    assert unchanged(settings, before)


def test_a_mask_that_does_nothing_is_refused(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    before, search = in_use(settings), Search.run
    monkeypatch.setattr(Search, "run", lambda self, at, deltas: replace(search(self, at, deltas), deltas=deltas))
    found = debias(settings)
    assert any("no figure comes nearer to fair" in each for each in found["against"])
    assert unchanged(settings, before)


def no_figure(_: pytest.MonkeyPatch) -> Request:
    return replace(POPULARITY, figures=["height:ndcg"])


def one_group(_: pytest.MonkeyPatch) -> Request:
    return replace(POPULARITY, figures=["exposure:colour"])


def nobody(_: pytest.MonkeyPatch) -> Request:
    return replace(POPULARITY, protect=[("gender", "X")])


def too_few(patch: pytest.MonkeyPatch) -> Request:
    patch.setattr("indexer.gate.LEAST_USERS", PEOPLE + 1)
    return POPULARITY


def diverging(patch: pytest.MonkeyPatch) -> Request:
    patch.setattr(GaussNewton, "product", lambda self, vector: scaled(vector, -1e9))  # noqa: ARG005
    return POPULARITY


CANNOT: Sequence[tuple[Callable[[pytest.MonkeyPatch], Request], type[RagRecError], str]] = [
    (no_figure, InvalidInput, "choose from activity, gender"),
    (one_group, InvalidInput, "choose from genre, provider"),
    (nobody, InvalidInput, "the rule would protect none"),
    (too_few, NotReady, "people can be asked"),
    (diverging, InvalidInput, "diverged"),
]


@pytest.mark.parametrize(("spoil", "kind", "message"), CANNOT, ids=lambda each: getattr(each, "__name__", None))
def test_what_cannot_be_done_is_told_and_changes_nothing(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    spoil: Callable[[pytest.MonkeyPatch], Request],
    kind: type[RagRecError],
    message: str,
) -> None:
    before = in_use(settings)
    with pytest.raises(kind, match=message):
        debias(settings, spoil(monkeypatch))
    assert unchanged(settings, before)


def test_an_attribute_with_one_group_is_told(settings: Settings) -> None:
    with closing(open_store(settings.database_url)) as store:
        store.put_users([replace(user, attributes={"gender": "F"}) for user in list(everybody(store))])
    with pytest.raises(InvalidInput, match="makes no two groups"):
        debias(settings, replace(POPULARITY, figures=["gender:dp"]))


def everybody(store: Any) -> Iterator[Any]:
    for user in range(PEOPLE):
        yield store.user(f"u{user}")[1]


@pytest.mark.parametrize("step", ["indexer.learned.write_adapter", "rag_rec.recommend.gate.replace_durably"])
def test_a_full_disk_leaves_the_adapter_in_use(settings: Settings, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    before = in_use(settings)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(step, full)
        with pytest.raises(OSError, match="No space left"):
            debias(settings)
    assert in_use(settings) == before
    assert not AdapterStore(settings.compact).unfinished_adapters()
    assert debias(settings)["adapter"] == in_use(settings).adapter


def test_a_person_who_is_forgotten_meanwhile_stops_it(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    before, search = in_use(settings), Search.run

    def forgetting(self: Search, at: Any, deltas: Deltas) -> Found:
        found = search(self, at, deltas)
        forget_in(settings, "u5")
        return found

    monkeypatch.setattr(Search, "run", forgetting)
    with pytest.raises(Busy, match="forgotten"):
        debias(settings)
    assert in_use(settings) == before


def test_an_adapter_whose_llm_takes_no_part_is_not_debiased(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = Gate(False, 1.0, gain=(-0.1, 0.1))
    monkeypatch.setattr(indexer.debiasing, "fit_gate", lambda *_: closed)
    with pytest.raises(InvalidInput, match="takes no part"):
        debias(settings)


def test_a_base_alone_cannot_be_debiased(settings: Settings) -> None:
    compact = AdapterStore(settings.compact)
    compact.set_current(in_use(settings).base)
    with pytest.raises(InvalidInput, match="rag-rec compact build"):
        debias(settings)


def test_what_removals_need_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gradient of those who remain, at the new weights, where the training kept one."""
    settings = biased_home(tmp_path / "home", replace(HOW, adapter=replace(HOW.adapter, reserve=0.15)))
    monkeypatch.setattr(Verdict, "of", lambda judged, *_: Verdict((), judged))
    debias(settings)
    adapter = AdapterStore(settings.compact).open_current()[1]
    assert adapter is not None
    assert "debiased" in adapter.manifest.settings
    stop = read_stop(adapter.folder)
    assert stop is not None
    with closing(open_store(settings.database_url)) as store:
        learned = Learned.in_use(builder_of(settings, store))
        samples = learned.samples(learned.learned())
        mean = scaled(total_gradient(learned.deltas(), samples), 1.0 / windows_of(samples))
    assert all(torch.allclose(stop.gradient[name], mean[name], atol=1e-5) for name in mean)


def test_the_same_system_gives_the_same_adapter(made: Settings, tmp_path: Path) -> None:
    digests = {debias(copied(made, tmp_path / name))["adapter"] for name in ("one", "other")}
    assert len(digests) == 1 and None not in digests
    shutil.rmtree(tmp_path / "other")


def test_a_crash_before_it_is_in_use_leaves_the_old_one(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    before = in_use(settings)
    with monkeypatch.context() as patched:
        patched.setattr(Publisher, "put_to_use", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            debias(settings)
    assert in_use(settings) == before
    assert shown(settings)[2] <= {(Source.FUSED, before.adapter), (Source.CANDIDATES, None)}
    assert np.isfinite(debias(settings)["served"]["loss"])
