"""Removes people's vectors and histories from the index files, physically."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import structlog

from rag_rec.artifacts.destruction import destroy, overwrite, remove
from rag_rec.errors import CorruptIndex
from rag_rec.index.generation import Generations
from rag_rec.index.shards import INTERACTIONS, held_in, rewrite_without, shard_files, users_in

Erased = Mapping[int, int]
"""User numbers, and for each the epoch at which the store removed the person or some of their interactions."""

log = structlog.get_logger()


def vectors_in_files(generations: Generations, users: Collection[int]) -> list[Path]:
    """The index files, of every generation and unfinished build, that hold any of these users."""
    with generations.writing():
        return [path for folder in _folders(generations) for path in _holding(folder, users)]


def left_in_files(generations: Generations, erased: Erased) -> list[Path]:
    """What :func:`erase_from_files` has not done: files made before an erasure that hold the user, and leftovers.

    Only the lists of users are read. A file that cannot be read counts, for nobody can say what is in it.
    """
    with generations.writing():
        folders = _affected(generations, erased)
        return [path for folder, users in folders for path in _holding(folder, users)] + generations.leftovers()


def erase_from_files(generations: Generations, erased: Erased) -> int:
    """Rewrite the index files that hold these users without them. Returns how many files were rewritten.

    Published generations are replaced by successors, each once for all users; the files of an unfinished build are
    replaced in place. What was made from the store at or after a user's erasure holds only what that user has kept and
    stays as it is: nobody would replay it. What an interrupted rewriting left is destroyed. So is a generation that
    holds the person, is damaged and not in use: what cannot be read cannot be rewritten.

    Raises:
        CorruptIndex: the generation in use is damaged. Everything else is done.
    """
    with generations.writing():
        _destroy_leftovers(generations)
        with ThreadPoolExecutor() as disk:  # most of the time is spent waiting for it
            tasks = [disk.submit(_clean, generations, *affected) for affected in _affected(generations, erased)]
        rewritten = sum(task.result() for task in tasks)
        _destroy_leftovers(generations)  # what had been made of a damaged generation before that was found out
        return rewritten


def _destroy_leftovers(generations: Generations) -> None:
    for leftover in generations.leftovers():
        destroy(leftover)


def _clean(generations: Generations, folder: Path, users: Collection[int]) -> int:
    """Rewrite what a folder holds of users, or destroy it. Returns how many files were rewritten."""
    try:
        return _erase_from(generations, folder, users)
    except CorruptIndex:
        if folder.name == generations.current_id():
            raise
        generations.discard(folder.name)
        log.warning("damaged_generation_destroyed", generation=folder.name)
        return 0


def _folders(generations: Generations) -> list[Path]:
    """Published generations and unfinished builds."""
    leftovers = generations.leftovers()
    builds = [folder for folder in generations.building() if folder not in leftovers]
    return [generations.root / name for name in generations.names()] + builds


def _affected(generations: Generations, erased: Erased) -> Iterator[tuple[Path, list[int]]]:
    """Generations and builds that are older than an erasure, and whose erasures those are."""
    for folder in _folders(generations):
        made = _epoch_of(generations, folder)
        yield folder, [user for user, epoch in erased.items() if made < epoch]


def _epoch_of(generations: Generations, folder: Path) -> int:
    try:
        return generations.epoch_of(folder)
    except CorruptIndex:
        return -1  # made before everything, for all that can be told


def _holding(folder: Path, users: Collection[int]) -> Iterator[Path]:
    """The files of a folder that hold any of these users, or cannot be read."""
    for name, sought in _by_file(users).items():
        path = folder / name
        if path.is_file() and _holds(path, sought):
            yield path


def _holds(path: Path, users: set[int]) -> bool:
    try:
        return not users.isdisjoint(users_in(path).tolist())
    except CorruptIndex:
        return True


def _by_file(users: Collection[int]) -> dict[str, set[int]]:
    """The shard files in which users may be, relative to a folder, and who of them may be there."""
    files: dict[str, set[int]] = {}
    for user in users:
        for name in shard_files(user):
            files.setdefault(name, set()).add(user)
    return files


def _erase_from(generations: Generations, folder: Path, users: Collection[int]) -> int:
    paths = list(_holding(folder, users))
    files = _by_file(users)
    meant = {name: files[name] for name in (path.relative_to(folder).as_posix() for path in paths)}
    if folder in generations.building():
        if any(_is_linked(folder, name) for name in meant):
            raise CorruptIndex(f"The unfinished build {folder.name} holds links: it is destroyed, not what they name.")
        for name, sought in meant.items():
            _replace(folder / name, sought)
    elif meant:
        rewritten = {name: partial(rewrite_without, users=sought) for name, sought in meant.items()}
        generations.rewrite(folder.name, rewritten, _counted(folder, meant))
    return len(meant)


def _counted(folder: Path, files: Mapping[str, set[int]]) -> dict[str, int]:
    """How many users and interactions of a generation go."""
    held = [held_in(folder / name, users) for name, users in files.items() if name.startswith(INTERACTIONS)]
    return {"users": sum(users for users, _ in held), "interactions": sum(rows for _, rows in held)}


def _replace(path: Path, users: Collection[int]) -> None:
    """Rewrite a file of an unfinished build; one that was cut short is dropped, and will be written again."""
    successor = path.with_suffix(".rewritten")
    try:
        rewrite_without(path, successor, users)
    except CorruptIndex:
        remove(path)
        return
    overwrite(path)
    successor.replace(path)


def _is_linked(folder: Path, name: str) -> bool:
    """Whether a file of a folder is a link, or behind one."""
    path = folder / name
    return any(part.is_symlink() for part in (folder, path.parent, path))
