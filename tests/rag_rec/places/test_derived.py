from __future__ import annotations

from pathlib import Path

from rag_rec.adapters.checkpoint import Checkpoint, Checkpoints, TrainingState
from rag_rec.adapters.folder import AdapterStore
from rag_rec.artifacts.immutable import POINTER
from rag_rec.index.generation import Generations
from rag_rec.places.derived import discard_derived
from rag_rec.settings import Settings
from tests.homes import settings_for


def write(folder: Path) -> None:
    (folder / "weights").write_bytes(b"learned")


def discard(settings: Settings) -> None:
    generations = Generations(settings.generations)
    with generations.writing():
        discard_derived(settings, generations)


def test_everything_that_holds_people_goes_and_bases_stay(tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "home")
    for name in ("20260101-e5", "building-5-unfinished", "building-successor-5"):
        (settings.generations / name).mkdir(parents=True)
        (settings.generations / name / "shard").write_bytes(b"a person")
    (settings.generations / POINTER).write_text("20260101-e5")
    compact = AdapterStore(settings.compact)
    base = compact.publish_base(write, epoch=1, settings={}, counts={})
    adapter = compact.publish_adapter(write, base=base.digest, epoch=1, settings={}, counts={})
    compact.set_current(base.digest, adapter.digest)
    for folder in (compact.training, compact.auditing):
        Checkpoints(folder, "key").save(Checkpoint(TrainingState(1, 0.5, {}), 3))
    settings.gates.mkdir()
    (settings.gates / "gate.json").write_text("{}")
    discard(settings)
    assert [path for path in settings.generations.iterdir() if path.is_dir()] == []
    assert Generations(settings.generations).current_id() is None
    assert (compact.current(), compact.adapter_digests()) == (None, [])
    assert compact.base_digests() == [base.digest]
    assert not compact.training.exists()
    assert not compact.auditing.exists()
    assert not settings.gates.exists()


def test_where_nothing_was_made_nothing_is_missed(tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "home")
    discard(settings)
    assert Generations(settings.generations).names() == []
