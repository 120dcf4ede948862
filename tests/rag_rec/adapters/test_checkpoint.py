from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from rag_rec.adapters.checkpoint import Checkpoint, Checkpoints, TrainingState, from_before


def checkpoint(finished: int, epoch: int = 40) -> Checkpoint:
    arrays = {"a": np.full((2, 3), finished, dtype=np.float32), "step": np.array(1.5, dtype=np.float32)}
    return Checkpoint(TrainingState(finished, 0.1 + finished / 3, arrays), epoch)


@pytest.fixture
def checkpoints(tmp_path: Path) -> Checkpoints:
    return Checkpoints(tmp_path / "training", "a key")


def test_the_newest_checkpoint_comes_back_exactly_and_is_the_only_one(checkpoints: Checkpoints) -> None:
    for finished in (1, 2, 10):
        checkpoints.save(checkpoint(finished))
    found = checkpoints.load()
    assert found is not None
    assert (found.state.finished, found.state.loss, found.epoch) == (10, 0.1 + 10 / 3, 40)
    assert {name: array.tolist() for name, array in found.state.arrays.items()} == {"a": [[10.0] * 3] * 2, "step": 1.5}
    assert len(list(checkpoints.folder.iterdir())) == 1


def test_another_training_finds_nothing(checkpoints: Checkpoints) -> None:
    assert checkpoints.load() is None
    checkpoints.save(checkpoint(3))
    assert Checkpoints(checkpoints.folder, "another key").load() is None


def test_a_crash_while_writing_leaves_the_one_before(checkpoints: Checkpoints) -> None:
    checkpoints.save(checkpoint(1))
    (checkpoints.folder / "000002.unfinished").write_bytes(b"half")
    (checkpoints.folder / "000003.safetensors").write_bytes(b"\0" * 100)
    found = checkpoints.load()
    assert found is not None
    assert found.state.finished == 1


def test_old_checkpoints_are_overwritten_before_they_are_removed(
    checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    overwritten: list[str] = []

    def noted(name: str, _: int) -> None:
        overwritten.append(name)

    monkeypatch.setattr("rag_rec.artifacts.destruction._overwrite", noted)
    checkpoints.save(checkpoint(1))
    checkpoints.save(checkpoint(2))
    assert overwritten == ["000001.safetensors"]
    checkpoints.clear()
    assert overwritten == ["000001.safetensors", "000002.safetensors"]
    assert not checkpoints.folder.exists()
    checkpoints.clear()


def test_checkpoints_from_before_an_epoch_are_told_from_newer_ones(checkpoints: Checkpoints) -> None:
    checkpoints.save(checkpoint(3, epoch=40))
    (saved,) = checkpoints.folder.iterdir()
    assert from_before(checkpoints.folder, 40) == []
    assert from_before(checkpoints.folder, 41) == [saved]
    assert from_before(checkpoints.folder / "nowhere", 41) == []


@pytest.mark.parametrize("metadata", [None, {}, {"checkpoint": "{"}, {"checkpoint": "[]"}, {"checkpoint": "{}"}])
def test_one_that_does_not_say_when_its_people_were_read_is_from_before(
    checkpoints: Checkpoints, metadata: dict[str, str] | None
) -> None:
    checkpoints.folder.mkdir()
    named = checkpoints.folder / "000001.safetensors"
    named.write_bytes(save({"a": np.zeros(1, dtype=np.float32)}, metadata))
    half = checkpoints.folder / "000002.unfinished"
    half.write_bytes(b"half")
    assert from_before(checkpoints.folder, 0) == [named, half]


def test_a_newer_checkpoint_outlives_the_sweep_of_older_ones(checkpoints: Checkpoints) -> None:
    checkpoints.save(checkpoint(2, epoch=40))
    half = checkpoints.folder / "000003.unfinished"
    half.write_bytes(b"half")
    checkpoints.clear(before=40)
    assert not half.exists()
    found = checkpoints.load()
    assert found is not None and found.epoch == 40
    checkpoints.clear(before=41)
    assert not checkpoints.folder.exists()


def test_a_part_stays_while_the_next_training_goes_on_and_is_no_checkpoint_of_it(checkpoints: Checkpoints) -> None:
    following = Checkpoints(checkpoints.folder, "the next")
    checkpoints.save(checkpoint(2))
    checkpoints.keep(checkpoint(3))
    assert checkpoints.load() is None
    following.save(checkpoint(1))
    following.save(checkpoint(2))
    found, last = checkpoints.kept(), following.load()
    assert found is not None and last is not None
    assert (found.state.finished, last.state.finished, following.kept()) == (3, 2, None)
    assert len(list(checkpoints.folder.iterdir())) == 2


def test_what_is_of_other_trainings_goes(checkpoints: Checkpoints) -> None:
    others = [Checkpoints(checkpoints.folder, key) for key in ("one", "two")]
    for each in (checkpoints, *others):
        each.keep(checkpoint(1))
    others[0].save(checkpoint(1))
    (checkpoints.folder / "part-half.safetensors").write_bytes(b"half")
    checkpoints.leave(["a key", "two"])
    assert checkpoints.kept() is not None and others[1].kept() is not None
    assert len(list(checkpoints.folder.iterdir())) == 2


def test_parts_are_as_old_as_their_people(checkpoints: Checkpoints) -> None:
    checkpoints.keep(checkpoint(1, epoch=40))
    (part,) = checkpoints.folder.iterdir()
    assert (from_before(checkpoints.folder, 40), from_before(checkpoints.folder, 41)) == ([], [part])
    checkpoints.clear(41)
    assert not checkpoints.folder.exists()
