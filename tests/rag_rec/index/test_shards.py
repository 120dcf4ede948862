"""The files that hold people, and the removal of one person from them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from rag_rec.errors import CorruptIndex
from rag_rec.events.history import HISTORY_DTYPE, History
from rag_rec.index.people import People
from rag_rec.index.shards import (
    INTERACTION_TYPES,
    INTERACTIONS,
    PROFILES,
    SHARDS,
    held_in,
    read_people,
    rewrite_without,
    shard_files,
    shard_of,
    users_in,
    write_shard,
)
from rag_rec.vectors.files import read_arrays, write_arrays
from rag_rec.vectors.flat import FlatIndex
from rag_rec.vectors.interactions import InteractionIndex

DIMENSION = 16
USERS = (0, 1, 5, 64, 65, 128, 900)


def item_index(dimension: int = DIMENSION) -> FlatIndex:
    items = FlatIndex(dimension)
    items.put(np.arange(20), np.random.default_rng(0).standard_normal((20, dimension)).astype(np.float32))
    return items


def history_of(user: int) -> History:
    """A user's history with recognisable values; every third row has a text of its own."""
    rng = np.random.default_rng(user)
    history = np.zeros(3 + user % 7, dtype=HISTORY_DTYPE)
    history["interaction"] = 1_000_000_007 * (user + 1) + np.arange(len(history))
    history["item"] = rng.integers(0, 20, len(history))
    history["value"] = rng.choice([1.0, 4.5, np.nan], len(history))
    history["time"] = 1_500_000_000_000 + 7919 * user + np.arange(len(history))
    history["own_text"][::3] = user % 2 == 0
    return history


def people_of(users: Sequence[int]) -> People:
    people = People(InteractionIndex(item_index()), FlatIndex(DIMENSION))
    for user in users:
        history = history_of(user)
        numbers = history["interaction"][history["own_text"]].tolist()
        rng = np.random.default_rng(user + 1)
        own = {number: rng.standard_normal(DIMENSION).astype(np.float32) for number in numbers}
        positive = np.ones(len(history), dtype=np.bool_)
        people.put(user, history, positive if user != 5 else ~positive, own)  # user 5 has no profile
    return people


def write_people(folder: Path, people: People) -> None:
    for shard in range(SHARDS):
        write_shard(folder, shard, people)


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.safetensors")}


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    people = people_of(USERS)
    write_people(tmp_path, people)
    again = read_people(tmp_path, item_index())
    assert len(again) == len(USERS) and list(again.interactions.users()) == list(USERS)
    np.testing.assert_array_equal(again.profiles.numbers(), people.profiles.numbers())
    assert 5 not in again.profiles.numbers()
    held = people.profiles.numbers()
    np.testing.assert_array_equal(again.profiles.vectors(held), people.profiles.vectors(held))
    for user in USERS:
        assert again.history(user).tobytes() == history_of(user).tobytes()
        np.testing.assert_array_equal(again.interactions.vectors(user), people.interactions.vectors(user))


def test_equal_contents_are_equal_bytes_whatever_the_order(tmp_path: Path) -> None:
    write_people(tmp_path / "one", people_of(USERS))
    write_people(tmp_path / "other", people_of(USERS[::-1]))
    write_people(tmp_path / "again", read_people(tmp_path / "one", item_index()))
    assert files_of(tmp_path / "one") == files_of(tmp_path / "other") == files_of(tmp_path / "again")
    assert len(files_of(tmp_path / "one")) == 2 * SHARDS


def test_nobody_at_all_can_be_written_and_read(tmp_path: Path) -> None:
    write_people(tmp_path, people_of(()))
    people = read_people(tmp_path, item_index())
    assert len(people) == 0 and people.profiles.dimension == DIMENSION


class TestRemoval:
    @pytest.mark.parametrize("user", USERS)
    def test_a_file_without_a_user_is_the_file_that_never_had_them(self, tmp_path: Path, user: int) -> None:
        write_people(tmp_path / "all", people_of(USERS))
        write_people(tmp_path / "twin", people_of([other for other in USERS if other != user]))
        for name in shard_files(user):
            rewrite_without(tmp_path / "all" / name, tmp_path / "rewritten", {user})
            assert (tmp_path / "rewritten").read_bytes() == (tmp_path / "twin" / name).read_bytes()

    @pytest.mark.parametrize("user", [0, 64, 128])
    def test_no_byte_of_the_user_is_in_the_new_file(self, tmp_path: Path, user: int) -> None:
        people = people_of(USERS)
        write_people(tmp_path, people)
        numbers = history_of(user)["interaction"]
        traces = [number.tobytes() for number in numbers] + [time.tobytes() for time in history_of(user)["time"]]
        vectors = [*people.own_vectors(user).values(), people.profile(user)]
        traces += [vector.astype(np.float16).tobytes() for vector in vectors if vector is not None]
        for trace in traces:
            assert any(trace in (tmp_path / name).read_bytes() for name in shard_files(user))
        for name in shard_files(user):
            rewrite_without(tmp_path / name, tmp_path / "rewritten", {user})
            content = (tmp_path / "rewritten").read_bytes()
            assert not any(trace in content for trace in traces)

    def test_it_counts_what_went(self, tmp_path: Path) -> None:
        write_people(tmp_path, people_of(USERS))
        profiles, interactions = (tmp_path / name for name in shard_files(65))
        assert rewrite_without(profiles, tmp_path / "rewritten", {65}) == 1
        assert rewrite_without(interactions, tmp_path / "rewritten", {65}) == len(history_of(65))
        assert rewrite_without(interactions, tmp_path / "rewritten", {129}) == 0

    def test_several_users_go_at_once(self, tmp_path: Path) -> None:
        write_people(tmp_path / "all", people_of(USERS))
        write_people(tmp_path / "twin", people_of([1, 5, 64, 65, 900]))
        profiles, interactions = shard_files(0)
        for name, count in ((profiles, 2), (interactions, len(history_of(0)) + len(history_of(128)))):
            gone = rewrite_without(tmp_path / "all" / name, tmp_path / "rewritten", [128, 0, 192])
            assert gone == count
            assert (tmp_path / "rewritten").read_bytes() == (tmp_path / "twin" / name).read_bytes()

    def test_only_the_users_own_files_hold_them(self, tmp_path: Path) -> None:
        write_people(tmp_path, people_of(USERS))
        for name in files_of(tmp_path):
            assert (65 in users_in(tmp_path / name)) == (name in shard_files(65))
        profiles, interactions = shard_files(0)
        assert users_in(tmp_path / interactions).tolist() == [0, 64, 128]
        assert held_in(tmp_path / profiles, {0, 64, 192}) == (2, 2)
        assert held_in(tmp_path / interactions, {0, 64, 192}) == (2, len(history_of(0)) + len(history_of(64)))
        assert held_in(tmp_path / shard_files(5)[0], {5}) == (0, 0)  # no profile


def test_shards_are_named_by_the_user_number_modulo_64() -> None:
    assert shard_of(130) == 2
    assert shard_files(130) == ["profiles/02.safetensors", "interactions/02.safetensors"]


class TestBadFiles:
    @pytest.mark.parametrize("folder", [PROFILES, INTERACTIONS])
    @pytest.mark.parametrize("share", [0.0, 0.2, 0.6, 0.98])
    def test_a_truncated_file_is_refused(self, tmp_path: Path, folder: str, share: float) -> None:
        write_people(tmp_path, people_of(USERS))
        path = tmp_path / folder / "00.safetensors"
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
        self._refused(tmp_path, path)
        with pytest.raises(CorruptIndex):
            users_in(path)
        with pytest.raises(CorruptIndex):
            held_in(path, {0})

    @pytest.mark.parametrize("place", ["profiles/one.safetensors", "elsewhere/00.safetensors"])
    def test_a_file_in_another_place_is_refused(self, tmp_path: Path, place: str) -> None:
        write_people(tmp_path, people_of(USERS))
        path = tmp_path / place
        path.parent.mkdir(exist_ok=True)
        path.write_bytes((tmp_path / PROFILES / "00.safetensors").read_bytes())
        with pytest.raises(CorruptIndex):
            users_in(path)
        with pytest.raises(CorruptIndex):
            rewrite_without(path, tmp_path / "rewritten", {0})

    def test_a_missing_file_is_refused(self, tmp_path: Path) -> None:
        write_people(tmp_path, people_of(USERS))
        (tmp_path / PROFILES / "17.safetensors").unlink()
        with pytest.raises(CorruptIndex):
            read_people(tmp_path, item_index())

    def test_a_file_of_another_shard_is_refused(self, tmp_path: Path) -> None:
        write_people(tmp_path, people_of(USERS))
        for folder in (PROFILES, INTERACTIONS):
            path = tmp_path / folder / "02.safetensors"
            path.write_bytes((tmp_path / folder / "01.safetensors").read_bytes())
            self._refused(tmp_path, path)

    def test_a_file_of_another_kind_is_refused(self, tmp_path: Path) -> None:
        write_people(tmp_path, people_of(USERS))
        path = tmp_path / PROFILES / "00.safetensors"
        path.write_bytes((tmp_path / INTERACTIONS / "00.safetensors").read_bytes())
        self._refused(tmp_path, path)

    def test_items_of_another_dimension_are_refused(self, tmp_path: Path) -> None:
        write_people(tmp_path, people_of(USERS))
        with pytest.raises(CorruptIndex, match="dimension"):
            read_people(tmp_path, item_index(DIMENSION + 1))

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("users", np.array([64, 0, 128])),
            ("users", np.array([0, 64])),
            ("users", np.array([0, 0, 64])),
            ("users", np.array([0, 64, 129])),
            ("lengths", np.array([1, 1, 1])),
            ("lengths", np.array([0, 7, 8])),
            ("lengths", np.array([-1, 8, 8])),
            ("own", np.array([1, 2, 3, 4, 5])),
            ("row.time", np.zeros(3, dtype=np.int64)),
            ("row.interaction", np.zeros(14, dtype=np.int64)),
            ("row.item", np.full(14, -1, dtype=np.int32)),
            ("row.item", np.zeros(14, dtype=np.int64)),
            ("codes", np.full((5, DIMENSION), np.nan, dtype=np.float16)),
            ("codes", np.zeros(5, dtype=np.float16)),
        ],
    )
    def test_inconsistent_arrays_are_refused(self, tmp_path: Path, name: str, value: np.ndarray) -> None:
        write_people(tmp_path, people_of(USERS))
        path = tmp_path / INTERACTIONS / "00.safetensors"
        arrays = read_arrays(path, INTERACTIONS, INTERACTION_TYPES)
        write_arrays(path, INTERACTIONS, {**arrays, name: value})
        self._refused(tmp_path, path)

    def _refused(self, folder: Path, path: Path) -> None:
        with pytest.raises(CorruptIndex):
            read_people(folder, item_index())
        with pytest.raises(CorruptIndex):
            rewrite_without(path, folder / "rewritten", {0})
        assert not (folder / "rewritten").exists()
