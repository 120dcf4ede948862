"""Checkpoints of a training that has not finished yet.

They hold what was learned from people, as an adapter does, and for a shorter time: an older one is overwritten and
removed as soon as the next is on the disk, and all of them when the training ends. A checkpoint from before a removal
must not be taken up again (:meth:`Checkpoints.clear`).

Where an adapter is made of several trainings, each of them that has finished leaves a *part*, which stays until the
adapter is published.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import orjson
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from rag_rec.artifacts.destruction import remove
from rag_rec.artifacts.private import make_private_folder, replace_durably

FORMAT: Final = 1
SUFFIX: Final = ".safetensors"
PART: Final = "part-"
"""Begins the names of files that hold what finished trainings came to."""

Arrays = Mapping[str, npt.NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class TrainingState:
    """Where a training stands: finished epochs, mean loss of the last one, and all arrays that the next depends on."""

    finished: int
    loss: float
    arrays: Arrays


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A state, and the change of the store up to which the people in it were read."""

    state: TrainingState
    epoch: int


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """The checkpoints in one folder.

    Attributes:
        folder: the folder; it is made when needed and belongs to the checkpoints alone.
        key: of the training: base and settings. A checkpoint of another training is not taken up.
    """

    folder: Path
    key: str

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint, and destroy the ones before it. A crash leaves the old one, the new one, or both."""
        target = self.folder / f"{checkpoint.state.finished:06d}{SUFFIX}"
        self._write(target, checkpoint)
        _destroy(path for path in self._unfinished() if path != target)

    def load(self) -> Checkpoint | None:
        """The newest checkpoint of this training; None if there is none that can be read."""
        newest_first = sorted((path for path in self._unfinished() if path.suffix == SUFFIX), reverse=True)
        return next((found for path in newest_first if (found := self._read(path)) is not None), None)

    def keep(self, part: Checkpoint) -> None:
        """Write what this training came to, and destroy its checkpoints."""
        self._write(self._part, part)
        _destroy(self._unfinished())

    def kept(self) -> Checkpoint | None:
        """What :meth:`keep` wrote; None if there is nothing that can be read."""
        return self._read(self._part)

    def leave(self, keys: Collection[str]) -> None:
        """Overwrite and remove what is not of the trainings with these keys."""
        _destroy(path for path in self.folder.glob("*") if _key_of(path) not in keys)

    def clear(self, before: int | None = None) -> None:
        """Overwrite and remove every checkpoint, whatever training it is of; also while one is running.

        Args:
            before: remove only those that are from before a removal at this change of the store.
        """
        if self.folder.is_symlink():
            self.folder.unlink()  # and nothing of what it leads to
            return
        _destroy(self.folder.glob("*") if before is None else from_before(self.folder, before))
        with suppress(OSError):  # It is not there, or a training has just written into it.
            self.folder.rmdir()

    @property
    def _part(self) -> Path:
        return self.folder / f"{PART}{self.key}{SUFFIX}"

    def _unfinished(self) -> list[Path]:
        """All files that are no parts, also those whose writing was cut short."""
        return [path for path in self.folder.glob("*") if not path.name.startswith(PART)]

    def _write(self, target: Path, checkpoint: Checkpoint) -> None:
        make_private_folder(self.folder)
        state = checkpoint.state
        fields = {"format": FORMAT, "key": self.key, "epoch": checkpoint.epoch}
        fields |= {"finished": state.finished, "loss": state.loss}
        replace_durably(target, save(dict(state.arrays), {"checkpoint": orjson.dumps(fields).decode()}))

    def _read(self, path: Path) -> Checkpoint | None:
        try:
            with safe_open(path, framework="numpy") as file:
                fields = orjson.loads((file.metadata() or {})["checkpoint"])
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        except (OSError, SafetensorError, ValueError, KeyError):
            return None
        return self._checkpoint(fields, arrays)

    def _checkpoint(self, fields: Mapping[str, Any], arrays: Arrays) -> Checkpoint | None:
        if fields["format"] != FORMAT or fields["key"] != self.key:
            return None
        return Checkpoint(TrainingState(fields["finished"], fields["loss"], arrays), fields["epoch"])


def from_before(folder: Path, epoch: int) -> list[Path]:
    """Files that may hold what was removed at an epoch of the store, sorted: checkpoints of people who were read
    before, and what cannot be read."""
    return sorted(path for path in folder.glob("*") if _epoch_of(path) < epoch)


def _epoch_of(path: Path) -> int:
    """Up to which change of the store the people of a checkpoint were read; -1 where that is unknown."""
    try:
        return int(_fields_of(path)["epoch"])
    except (ValueError, KeyError, TypeError):
        return -1


def _key_of(path: Path) -> str | None:
    """Of the training of a checkpoint; None where that is unknown."""
    key = _fields_of(path).get("key")
    return key if isinstance(key, str) else None


def _fields_of(path: Path) -> dict[str, Any]:
    """What a checkpoint says of itself; nothing where it cannot be read."""
    try:
        with safe_open(path, framework="numpy") as file:
            return dict(orjson.loads((file.metadata() or {})["checkpoint"]))
    except (OSError, SafetensorError, ValueError, KeyError, TypeError):
        return {}


def _destroy(paths: Iterable[Path]) -> None:
    for path in paths:
        with suppress(FileNotFoundError):  # The training was quicker.
            remove(path, below=path.parent.parent)
