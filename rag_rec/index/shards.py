"""What an index generation holds of people, in small files by user, so that forgetting one rewrites two of them.

User ``u`` is in ``profiles/NN.safetensors`` and ``interactions/NN.safetensors`` with ``NN = u % 64``. A profile file
holds vectors by user. An interaction file holds the rows of the users' histories, from which the statistics are built
again at every load, and the vectors of the interactions with a text of their own. Users are in ascending order and
nothing else is written: equal contents give equal bytes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rag_rec.artifacts.private import make_private_folder
from rag_rec.events.history import HISTORY_DTYPE, History
from rag_rec.index.people import People
from rag_rec.vectors.files import Arrays, damaged, read_arrays, read_some, write_arrays
from rag_rec.vectors.flat import FlatIndex
from rag_rec.vectors.interactions import InteractionIndex, ItemVectors
from rag_rec.vectors.protocol import Numbers

SHARDS = 64
PROFILES = "profiles"
INTERACTIONS = "interactions"

PROFILE_TYPES: dict[str, np.dtype[Any]] = {"users": np.dtype("<i8"), "codes": np.dtype("<f2")}
INTERACTION_TYPES: dict[str, np.dtype[Any]] = {
    "users": np.dtype("<i8"),  # [u], ascending
    "lengths": np.dtype("<i8"),  # [u], rows of each user, at least 1
    "own": np.dtype("<i8"),  # [m], interaction numbers of the own vectors, in the order of the rows
    "codes": np.dtype("<f2"),  # [m, d]
    **{f"row.{name}": HISTORY_DTYPE[name] for name in HISTORY_DTYPE.names or ()},  # [sum of lengths]
}


def shard_of(user: int) -> int:
    """The shard that a user belongs to."""
    return user % SHARDS


def shard_name(shard: int) -> str:
    """Name of a shard's file within its folder."""
    return f"{shard:02d}.safetensors"


def shard_files(user: int) -> list[str]:
    """The files, relative to a generation's folder, that may hold a user."""
    return [f"{folder}/{shard_name(shard_of(user))}" for folder in (PROFILES, INTERACTIONS)]


def write_shard(folder: Path, shard: int, people: People) -> None:
    """Write the two files of one shard into a generation's folder."""
    for name in (PROFILES, INTERACTIONS):
        make_private_folder(folder / name)
    profiles = people.profiles.numbers()
    profiles = profiles[profiles % SHARDS == shard]
    codes = people.profiles.vectors(profiles).astype(np.float16)
    write_arrays(folder / PROFILES / shard_name(shard), PROFILES, {"users": profiles, "codes": codes})
    write_arrays(folder / INTERACTIONS / shard_name(shard), INTERACTIONS, _interaction_arrays(shard, people))


def shard_paths(folder: Path, shard: int) -> list[Path]:
    """The two files of a shard in a generation's folder."""
    return [folder / name / shard_name(shard) for name in (PROFILES, INTERACTIONS)]


def read_shard(folder: Path, shard: int, items: ItemVectors) -> People:
    """Read one shard of a generation. Arguments and errors as for :func:`read_people`."""
    return _read_shards(folder, [shard], items)


def read_people(folder: Path, items: ItemVectors) -> People:
    """Read every shard of a generation.

    Args:
        folder: the generation's folder.
        items: where the vectors of items are looked up; they must be of the same dimension.

    Raises:
        CorruptIndex: a file is missing, truncated, foreign or inconsistent, or the vectors are of another dimension.
    """
    return _read_shards(folder, range(SHARDS), items)


def users_in(path: Path) -> Numbers:
    """Everybody that a shard file holds, ascending, int64 [u]. Reads nothing else. Raises ``CorruptIndex``."""
    return _some(path, ["users"])["users"]


def held_in(path: Path, users: Collection[int]) -> tuple[int, int]:
    """How many of these users a shard file holds, and their vectors (profiles) or rows (interactions).

    Raises:
        CorruptIndex: the file cannot be read.
    """
    arrays = _some(path, ["users", "lengths"])
    mine = _among(arrays, users)
    held = int(mine.sum())
    return held, int(arrays["lengths"][mine].sum()) if "lengths" in arrays else held


def rewrite_without(source: Path, target: Path, users: Collection[int]) -> int:
    """Write a shard file anew without some users: no byte of them is in ``target``, which is on the disk on return.

    Returns:
        How many vectors (profiles) or rows (interactions) were left out.

    Raises:
        CorruptIndex: ``source`` is not a sound shard file.
    """
    arrays = _read(source)
    kept = ~_among(arrays, users)
    if "lengths" not in arrays:
        write_arrays(target, PROFILES, {name: array[kept] for name, array in arrays.items()})
        return int((~kept).sum())
    rows = np.repeat(kept, arrays["lengths"])
    gone = arrays["row.interaction"][~rows]
    own = ~np.isin(arrays["own"], gone)
    masks = {"users": kept, "lengths": kept, "own": own, "codes": own}
    write_arrays(target, INTERACTIONS, {name: array[masks.get(name, rows)] for name, array in arrays.items()})
    return len(gone)


def _among(arrays: Arrays, users: Collection[int]) -> npt.NDArray[np.bool_]:
    """Which users of a file are among these, bool [u]."""
    return np.isin(arrays["users"], np.fromiter(users, dtype=np.int64))


def _read_shards(folder: Path, shards: Iterable[int], items: ItemVectors) -> People:
    shards = list(shards)
    profiles = [_read_profiles(folder / PROFILES / shard_name(shard), shard, items) for shard in shards]
    numbers = np.concatenate([arrays["users"] for arrays in profiles])
    codes = np.concatenate([arrays["codes"] for arrays in profiles])
    order = np.argsort(numbers)
    index = FlatIndex(items.dimension)
    if len(numbers):
        index = FlatIndex.from_codes(numbers[order], codes[order], folder / PROFILES)
    people = People(InteractionIndex(items), index)
    for shard in shards:
        _adopt(people, _read_interactions(folder / INTERACTIONS / shard_name(shard), shard, items.dimension))
    return people


def _interaction_arrays(shard: int, people: People) -> Mapping[str, np.ndarray[Any, Any]]:
    held = [(user, history) for user, history in people.histories() if shard_of(user) == shard]
    rows = np.concatenate([np.empty(0, dtype=HISTORY_DTYPE), *(history for _, history in held)])
    own = {number: vector for user, _ in held for number, vector in people.own_vectors(user).items()}
    dimension = people.profiles.dimension
    return {
        "users": np.array([user for user, _ in held], dtype=np.int64),
        "lengths": np.array([len(history) for _, history in held], dtype=np.int64),
        "own": np.array(list(own), dtype=np.int64),
        "codes": np.array(list(own.values()), dtype=np.float16).reshape(len(own), dimension),
        **{f"row.{name}": rows[name] for name in HISTORY_DTYPE.names or ()},
    }


def _adopt(people: People, arrays: Arrays) -> None:
    """Give each user of an interaction file their list and their history."""
    rows = np.empty(len(arrays["row.item"]), dtype=HISTORY_DTYPE)
    for name in HISTORY_DTYPE.names or ():
        rows[name] = arrays[f"row.{name}"]
    vectors = arrays["codes"].astype(np.float32)
    place = {number: row for row, number in enumerate(arrays["own"].tolist())}
    stops = np.cumsum(arrays["lengths"])
    for user, start, stop in zip(arrays["users"].tolist(), stops - arrays["lengths"], stops, strict=True):
        history: History = rows[start:stop].copy()  # not a view: each user's memory is overwritten by itself
        numbers: Numbers = history["interaction"]
        own = {number: vectors[place[number]] for number in numbers[history["own_text"]].tolist() if number in place}
        people.interactions.put(user, numbers, history["item"], own)
        people.adopt(user, history)


def _read(path: Path) -> Arrays:
    """Read a shard file of either kind; its folder says which."""
    check = _sound_profiles if _kind(path) == PROFILES else _sound_interactions
    return check(path, int(path.stem))


def _some(path: Path, names: Iterable[str]) -> Arrays:
    """Read some arrays of a shard file, those that files of its kind have."""
    kind = _kind(path)
    types = PROFILE_TYPES if kind == PROFILES else INTERACTION_TYPES
    return read_some(path, kind, types, [name for name in names if name in types])


def _kind(path: Path) -> str:
    if not path.stem.isdigit():
        raise damaged(path, "is not named like a shard")
    if path.parent.name not in (PROFILES, INTERACTIONS):
        raise damaged(path, "is not in a folder of shards")
    return path.parent.name


def _sound_profiles(path: Path, shard: int) -> Arrays:
    arrays = read_arrays(path, PROFILES, PROFILE_TYPES)
    users, codes = arrays["users"], arrays["codes"]
    _demand(path, users.ndim == 1 and codes.ndim == 2 and len(users) == len(codes), "has lengths that differ")
    _demand(path, _ascending(users, shard), "holds users that are not its own")
    _demand(path, bool(np.isfinite(codes).all()), "holds vectors that are not finite")
    return arrays


def _sound_interactions(path: Path, shard: int) -> Arrays:
    arrays = read_arrays(path, INTERACTIONS, INTERACTION_TYPES)
    users, lengths, own, codes = (arrays[name] for name in ("users", "lengths", "own", "codes"))
    rows = [arrays[f"row.{name}"] for name in HISTORY_DTYPE.names or ()]
    flat = all(array.ndim == 1 for array in (users, lengths, own, *rows)) and codes.ndim == 2
    _demand(path, flat and len(users) == len(lengths) and len(own) == len(codes), "has lengths that differ")
    _demand(path, bool((lengths > 0).all()), "has a user without interactions")
    _demand(path, {len(array) for array in rows} == {int(lengths.sum())}, "has lengths that differ")
    _demand(path, _ascending(users, shard), "holds users that are not its own")
    interactions = arrays["row.interaction"]
    _demand(path, len(np.unique(interactions)) == len(interactions), "holds an interaction twice")
    expected = interactions[np.isin(interactions, own) & arrays["row.own_text"]]
    _demand(path, np.array_equal(expected, own), "has vectors that do not fit their interactions")
    _demand(path, bool((arrays["row.item"] >= 0).all() and np.isfinite(codes).all()), "holds values out of range")
    return arrays


def _read_profiles(path: Path, shard: int, items: ItemVectors) -> Arrays:
    arrays = _sound_profiles(path, shard)
    _demand(path, arrays["codes"].shape[1] == items.dimension, "has vectors of another dimension than the items")
    return arrays


def _read_interactions(path: Path, shard: int, dimension: int) -> Arrays:
    arrays = _sound_interactions(path, shard)
    _demand(path, arrays["codes"].shape[1] == dimension, "has vectors of another dimension than the items")
    return arrays


def _ascending(users: Numbers, shard: int) -> bool:
    return bool((np.diff(users) > 0).all() and (users >= 0).all() and (users % SHARDS == shard).all())


def _demand(path: Path, met: bool, fault: str) -> None:
    if not met:
        raise damaged(path, fault)
