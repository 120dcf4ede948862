"""Whether the files of the current index generation hold the same people as the store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from rag_rec.errors import CorruptIndex, InvalidInput
from rag_rec.index.generation import Generation
from rag_rec.index.people import People
from rag_rec.index.shards import SHARDS, read_shard, shard_of
from rag_rec.layers.records import ForgetState
from rag_rec.proof.differences import Difference
from rag_rec.proof.twin import Twin
from rag_rec.store.records import ChangeKind


@dataclass(frozen=True, slots=True)
class Since:
    """Numbers of the users and items that changed since a generation was built; the process that loads it replays
    them."""

    users: set[int]
    items: list[int]


def files(twin: Twin) -> Iterator[Difference]:
    """Compares the files with the twin, a shard a step, user by user.

    Every row in a file has to be in the store, always. Whoever has not changed since the generation was built has to
    be there with the same history, vectors and profile; who has changed is replayed, and may be there or not.
    """
    for shard in range(SHARDS):
        yield _shard(twin, shard)


def _shard(twin: Twin, shard: int) -> Difference:
    """Compares one shard; again, if a removal replaces the generation meanwhile and something did not fit."""
    while True:
        name = twin.generations.current_id()
        try:
            compared, differing = _compare(twin, twin.generations.current(), shard)
        except (CorruptIndex, InvalidInput):
            if twin.generations.current_id() == name:
                raise
            continue
        differing -= _being_removed(twin)
        if not differing or twin.generations.current_id() == name:
            return Difference(compared, len(differing), float(bool(differing)))


def _compare(twin: Twin, generation: Generation, shard: int) -> tuple[int, set[int]]:
    """How many users of a shard were compared, and who differs."""
    held, people = read_shard(generation.folder, shard, twin.live.items.rows()), twin.live.people
    since = _since(twin, generation)
    users = set(held.profiles.numbers().tolist()) | {user for user, _ in held.histories()}
    users |= {user for user, _ in people.histories() if shard_of(user) == shard and user not in since.users}
    return len(users), {user for user in users if not _fits(held, people, user, since)}


def _fits(held: People, people: People, user: int, since: Since) -> bool:
    mine, theirs = held.history(user), people.history(user)
    if user in since.users:
        return len(theirs) > 0 and bool(np.isin(mine["interaction"], theirs["interaction"]).all())
    same_own = _own(held, user) == _own(people, user)
    if not same_own or mine.tobytes() != theirs.tobytes():
        return False
    return bool(np.isin(theirs["item"], since.items).any()) or _profile(held, user) == _profile(people, user)


def _since(twin: Twin, generation: Generation) -> Since:
    changes = twin.store.changes(generation.manifest.epoch)
    users = {change.number for change in changes if change.kind is not ChangeKind.ITEM}
    return Since(users, [change.number for change in changes if change.kind is ChangeKind.ITEM])


def _being_removed(twin: Twin) -> set[int | None]:
    """Users whose removal has been accepted and has not reached the files yet. Read after a comparison, not before."""
    pending = twin.store.forget_records(pending=True)
    return {record.user_number for record in pending if record.state is ForgetState.HIDDEN}


def _own(people: People, user: int) -> dict[int, bytes]:
    return {number: vector.tobytes() for number, vector in people.own_vectors(user).items()}


def _profile(people: People, user: int) -> bytes:
    profile = people.profile(user)
    return b"" if profile is None else profile.tobytes()
