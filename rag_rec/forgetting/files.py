"""Removes a person's vectors and history from the index files, physically."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from rag_rec.generation import Generations, overwrite
from rag_rec.shards import INTERACTIONS, rewrite_without, rows_of, shard_files, users_in
from rag_rec.store.protocol import ChangeKind, Store


def vectors_in_files(generations: Generations, user: int) -> list[Path]:
    """The index files, of every generation and unfinished build, that hold this user."""
    return [folder / name for folder in _folders(generations) for name in _rows(folder, user)]


def erase_from_files(generations: Generations, user: int, epoch: int) -> int:
    """Rewrite the index files that hold this user without them. Returns how many files were rewritten.

    Published generations are replaced by successors; the files of an unfinished build are replaced in place. What was
    made from the store at or after ``epoch``, the removal's own, holds only what the user has kept and stays as it is:
    nobody would replay it.
    """
    with generations.writing():
        older = [folder for folder in _folders(generations) if generations.epoch_of(folder) < epoch]
        return sum(_erase_from(generations, folder, user) for folder in older)


def sweep(store: Store, generations: Generations) -> None:
    """Finish removals that a crash cut short between the store and the files.

    Every removal that the change log holds and that is newer than a generation is carried out on its files again.
    """
    folders = _folders(generations)
    oldest = min((generations.epoch_of(folder) for folder in folders), default=0)
    forgotten = [change for change in store.changes(oldest) if change.kind is ChangeKind.FORGET] if folders else []
    held = set().union(*(users_in(folder) for folder in folders)) if forgotten else set()
    for change in forgotten:
        if change.number in held:
            erase_from_files(generations, change.number, change.epoch)


def _folders(generations: Generations) -> list[Path]:
    return [generations.root / name for name in generations.names()] + generations.building()


def _rows(folder: Path, user: int) -> dict[str, int]:
    """The files of a folder that hold the user, and how many rows of them."""
    rows = {name: rows_of(folder / name, user) for name in shard_files(user) if (folder / name).is_file()}
    return {name: count for name, count in rows.items() if count}


def _erase_from(generations: Generations, folder: Path, user: int) -> int:
    rows = _rows(folder, user)
    if folder in generations.building():
        for name in rows:
            _replace(folder / name, user)
    elif rows:
        interactions = sum(count for name, count in rows.items() if name.startswith(INTERACTIONS))
        removed = {"users": 1 if interactions else 0, "interactions": interactions}
        generations.rewrite(folder.name, {name: partial(rewrite_without, user=user) for name in rows}, removed)
    return len(rows)


def _replace(path: Path, user: int) -> None:
    successor = path.with_suffix(".rewritten")
    rewrite_without(path, successor, user=user)
    if path.stat().st_nlink == 1:
        overwrite(path)
    successor.replace(path)
