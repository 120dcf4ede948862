from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import torch

from indexer.epochs import Epochs
from indexer.remainder import Remainder
from rag_rec.adapters.checkpoint import Checkpoints
from rag_rec.adapters.folder import AdapterStore
from rag_rec.adapters.publishing import Publisher
from rag_rec.compact.adapter import Deltas, merged
from rag_rec.compact.sequences import Windows
from rag_rec.compact.training import AdapterTraining
from rag_rec.compact.vocabulary import PAD
from rag_rec.engine.tending import occupied
from rag_rec.errors import Busy
from rag_rec.home.opening import store_of
from rag_rec.progress.protocol import SILENT, Progress
from rag_rec.settings import Settings
from rag_rec.store import SqlStore
from tests.indexer.compact_homes import StopAfter, Stopped, trained
from tests.indexer.memorised_homes import BY_HEART, builder_of, copied, memorised_home
from tests.rag_rec.forgetting.asking import forget_in

EPOCHS = 4


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return memorised_home(tmp_path_factory.mktemp("made") / "home", trained(BY_HEART, epochs=1))


@pytest.fixture
def settings(made: Settings, tmp_path: Path) -> Settings:
    return copied(made, tmp_path / "home")


@pytest.fixture
def store(settings: Settings) -> Iterator[SqlStore]:
    with closing(store_of(settings)) as store:
        yield store


@pytest.fixture
def publisher(settings: Settings, store: SqlStore) -> Iterator[Publisher]:
    with occupied(settings, store) as place:
        yield builder_of(settings, store).publisher(place)


def run(settings: Settings, store: SqlStore, publisher: Publisher, progress: Progress = SILENT) -> Deltas:
    """A training of :data:`EPOCHS` epochs on everybody."""
    remainder = Remainder.read(builder_of(settings, store))
    windows = Windows(remainder.learned(), remainder.settings.context, remainder.settings.batch, PAD, 7)
    model = merged(remainder.base.model, {})
    model.requires_grad_(True)
    training = AdapterTraining(model, windows, remainder.known, remainder.settings, torch.device("cpu"))
    to = Checkpoints(publisher.adapters.training, "key")
    epochs = Epochs(publisher, remainder.people.epoch, progress)
    made = epochs.finish(training, EPOCHS, to, "training").deltas()
    epochs.keep(training, to)
    return made


def equal(one: Deltas, other: Deltas) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_a_training_goes_on_after_the_last_epoch_that_it_finished(
    settings: Settings, store: SqlStore, publisher: Publisher, epochs: list[int]
) -> None:
    with pytest.raises(Stopped):
        run(settings, store, publisher, StopAfter("training", 60))
    epochs.clear()
    found = run(settings, store, publisher)
    assert epochs == [2, 3]  # the third had begun
    publisher.adapters.discard_training()
    assert equal(run(settings, store, publisher), found)


def test_what_it_came_to_takes_the_place_of_its_checkpoints(
    settings: Settings, store: SqlStore, publisher: Publisher
) -> None:
    found = run(settings, store, publisher)
    part = Checkpoints(publisher.adapters.training, "key").kept()
    assert part is not None and part.state.finished == EPOCHS
    assert equal({name: torch.from_numpy(each) for name, each in part.state.arrays.items()}, found)
    assert len(list(publisher.adapters.training.glob("*"))) == 1


def test_a_person_who_is_forgotten_meanwhile_is_in_no_checkpoint(
    settings: Settings, store: SqlStore, publisher: Publisher
) -> None:
    class Forgetting(StopAfter):
        def advance(self, steps: int) -> None:
            before, self._done = self._done, self._done + steps
            if before < 60 <= self._done:
                forget_in(settings, "user-8")

    with pytest.raises(Busy, match="run the same command again"):
        run(settings, store, publisher, Forgetting("training", 0))
    assert list(AdapterStore(settings.compact).training.glob("*")) == []
