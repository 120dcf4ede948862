from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from indexer.gradient_sums import GradientSums
from indexer.influencing import REST, Influence
from indexer.remainder import Remainder
from indexer.trainer import KEPT
from rag_rec.adapters.folder import AdapterStore
from rag_rec.adapters.removal import waiting
from rag_rec.compact.adapter import WEIGHTS
from rag_rec.compact.stop import FEW, FILE
from rag_rec.engine.tending import occupied
from rag_rec.errors import Busy
from rag_rec.home.opening import store_of
from rag_rec.influence.curvature import Samples, total_gradient
from rag_rec.progress.protocol import SILENT, Progress
from rag_rec.settings import Settings
from rag_rec.store import SqlStore
from tests.indexer.compact_homes import StopAfter, Stopped
from tests.indexer.memorised_homes import builder_of, copied, memorised_home
from tests.rag_rec.forgetting.asking import forget_in

STAGE = "a sum"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Made once; every test has a copy."""
    return memorised_home(tmp_path_factory.mktemp("made") / "home")


@pytest.fixture
def settings(made: Settings, tmp_path: Path) -> Settings:
    return copied(made, tmp_path / "home")


@pytest.fixture
def store(settings: Settings) -> Iterator[SqlStore]:
    with closing(store_of(settings)) as store:
        yield store


@pytest.fixture
def gradients(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The targets of each batch whose gradient is taken."""
    taken, gradient = list[int](), Samples.gradient

    def counted(self: Samples, weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        taken.append(len(self.targets))
        return gradient(self, weights)

    monkeypatch.setattr(Samples, "gradient", counted)
    return taken


def read(settings: Settings, store: SqlStore) -> Remainder:
    return Remainder.read(builder_of(settings, store))


def summed(
    settings: Settings, store: SqlStore, remainder: Remainder, progress: Progress = SILENT, seconds: float = 0.0
) -> dict[str, torch.Tensor]:
    """The sum over everybody who remains, in small batches."""
    builder, people = builder_of(settings, store), remainder.learned()
    with occupied(settings, store) as place:
        sums = replace(remainder.sums(builder.publisher(place), progress), seconds=seconds)
        return sums.total(STAGE, remainder.deltas(), people, remainder.samples(people, FEW))


def files(settings: Settings) -> list[Path]:
    return sorted(AdapterStore(settings.compact).training.glob("*"))


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_the_sum_is_that_of_all_batches_and_a_quick_one_is_not_written(settings: Settings, store: SqlStore) -> None:
    remainder = read(settings, store)
    expected = total_gradient(remainder.deltas(), remainder.samples(remainder.learned(), FEW))
    assert equal(summed(settings, store, remainder, seconds=1e9), expected)
    assert files(settings) == []


def test_an_interrupted_sum_goes_on_where_it_was(settings: Settings, store: SqlStore, gradients: list[int]) -> None:
    remainder = read(settings, store)
    batches = len(remainder.samples(remainder.learned(), FEW))
    expected = summed(settings, store, remainder, seconds=1e9)
    gradients.clear()
    with pytest.raises(Stopped):
        summed(settings, store, remainder, StopAfter(STAGE, 5))
    assert len(gradients) == 5
    assert len(files(settings)) == 1
    assert equal(summed(settings, store, remainder), expected)
    assert len(gradients) == batches + 1  # the fifth was not written yet
    assert equal(summed(settings, store, remainder), expected)
    assert len(gradients) == batches + 1  # the whole is kept


def test_it_tells_how_far_it_has_come_also_where_it_goes_on(settings: Settings, store: SqlStore) -> None:
    remainder, heard = read(settings, store), Heard()
    with pytest.raises(Stopped):
        summed(settings, store, remainder, StopAfter(STAGE, 5))
    summed(settings, store, remainder, heard)
    assert heard.steps[STAGE][0] == 4  # the fifth was not written yet
    assert sum(heard.steps[STAGE]) == len(remainder.samples(remainder.learned(), FEW))


def test_the_sum_of_another_adapter_or_of_other_people_is_not_taken(
    settings: Settings, store: SqlStore, gradients: list[int]
) -> None:
    remainder = read(settings, store)
    summed(settings, store, remainder)
    sums = remainder.sums(builder_of(settings, store).publisher(Nowhere()), SILENT)
    whole, gone = remainder.learned(), remainder.learned()[1:]
    moved = {name: delta + 1.0 for name, delta in remainder.deltas().items()}
    for deltas, people in ((moved, whole), (remainder.deltas(), gone)):
        gradients.clear()
        samples = remainder.samples(people, FEW)
        assert equal(sums.total(STAGE, deltas, people, samples), total_gradient(deltas, samples))
        assert len(gradients) == 2 * len(samples)


def test_a_person_who_is_forgotten_meanwhile_is_in_no_file(settings: Settings, store: SqlStore) -> None:
    class Forgetting(StopAfter):
        def advance(self, steps: int) -> None:
            self._done += steps
            if self._done == 5:
                forget_in(settings, "user-8")

    remainder = read(settings, store)
    with pytest.raises(Busy, match="run the same command again"):
        summed(settings, store, remainder, Forgetting(STAGE, 0))
    assert files(settings) == []


def test_an_erasure_destroys_what_was_summed_before_it(settings: Settings, store: SqlStore) -> None:
    with pytest.raises(Stopped):
        summed(settings, store, read(settings, store), StopAfter(STAGE, 5))
    assert len(files(settings)) == 1
    forget_in(settings, "user-8")
    assert files(settings) == []


class Heard(StopAfter):
    """Remembers the steps of each stage."""

    def __init__(self, stage: str = "", percent: int = 1) -> None:
        super().__init__(stage, percent)
        self.steps: dict[str, list[int]] = {}

    def stage(self, name: str, total: int) -> None:
        super().stage(name, total)
        self.steps.setdefault(name, [])

    def advance(self, steps: int) -> None:
        self.steps[self._present].append(steps)
        super().advance(steps)


@pytest.mark.parametrize("stage", ["curvature", "trial", "remove", KEPT])
def test_a_removal_that_is_killed_does_not_read_those_who_remain_again(
    settings: Settings, store: SqlStore, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    monkeypatch.setattr("indexer.learned.GradientSums", partial(GradientSums, seconds=0.0))
    forget_in(settings, "user-2")
    compact = AdapterStore(settings.compact)
    requests = waiting(compact, store)
    killed, again = Heard(stage), Heard()
    with pytest.raises(Stopped):
        Influence(builder_of(settings, store, killed)).remove(requests)
    batches = sum(killed.steps[REST])
    assert batches > 1
    assert len(files(settings)) == 1
    made = Influence(builder_of(settings, store, again)).remove(requests)
    assert again.steps[REST] == [batches]  # all at once: they are summed already
    assert sum(again.steps[KEPT]) == batches
    assert files(settings) == []
    assert all((compact.adapters / made / name).is_file() for name in (WEIGHTS, FILE))


class Nowhere:
    """A place of which nothing is said."""

    id = "nowhere"

    def say(self) -> None:
        """Nothing."""
