from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from indexer.people_shards import forgotten_since
from rag_rec.artifacts.digests import MANIFEST
from rag_rec.artifacts.immutable import BUILDING, Folders, Publication
from rag_rec.domain import Interaction
from rag_rec.errors import CorruptIndex
from rag_rec.home.opening import store_of
from rag_rec.index.erasing import erase_from_files, left_in_files, vectors_in_files
from rag_rec.index.generation import Generation, Generations, verify_files
from rag_rec.index.shards import INTERACTIONS, PROFILES, shard_files, shard_name, users_in
from tests.homes import ITEMS, build, fill, settings_for
from tests.rag_rec.store.removing import delete_interactions, delete_user

DAY = 86_400_000
LATER = 10**9
USERS = 70  # so that two of the 64 shards hold more than one
LOG = [
    Interaction(f"user-{user}", ITEMS[(user + n) % len(ITEMS)].id, (100 + n) * DAY, "like", text=f"text {user}")
    for user in range(USERS)
    for n in range(3)
]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with two generations, the second one of a later epoch."""
    settings = settings_for(tmp_path_factory.mktemp("built") / "home")
    fill(settings, LOG)
    first = build(settings)
    fill(settings, [Interaction("user-0", ITEMS[5].id, 200 * DAY, "like")])
    build(settings, reranker=None)
    assert first.manifest.epoch < Generations(settings.generations).current().manifest.epoch
    return settings.home


@pytest.fixture
def generations(built: Path, tmp_path: Path) -> Iterator[Generations]:
    root = tmp_path / "generations"
    settings = settings_for(built)
    for source in sorted(settings.generations.rglob("*")):
        target = root / source.relative_to(settings.generations)
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_file():
            target.write_bytes(source.read_bytes())
    yield Generations(root)


def all_users(generation: Generation) -> set[int]:
    files = (generation.folder / INTERACTIONS / shard_name(shard) for shard in range(64))
    return {user for path in files for user in users_in(path).tolist()}


def as_unfinished_build(generations: Generations, name: str = "7-key") -> Path:
    """Another build of what the current generation holds that has got nearly as far."""
    folder = generations.root / f"{BUILDING}{name}"
    current = generations.current().folder
    for kind in (PROFILES, INTERACTIONS):
        (folder / kind).mkdir(parents=True)
        for path in (current / kind).iterdir():
            (folder / kind / path.name).write_bytes(path.read_bytes())
    return folder


def test_every_generation_and_build_that_holds_a_user_is_found(generations: Generations) -> None:
    folder = as_unfinished_build(generations)
    held = vectors_in_files(generations, [3])
    folders = [generations.root / name for name in generations.names()] + [folder]
    assert sorted(held) == sorted(each / name for each in folders for name in shard_files(3))
    assert len(vectors_in_files(generations, [3, 67])) == len(held)
    assert vectors_in_files(generations, [USERS + 5]) == []
    assert vectors_in_files(generations, []) == []


def test_a_group_is_erased_at_once(generations: Generations) -> None:
    erased = dict.fromkeys([0, 1, 64], LATER)
    assert len(left_in_files(generations, erased)) == 2 * 4
    assert erase_from_files(generations, erased) == 2 * 4
    assert left_in_files(generations, erased) == []
    for name in generations.names():
        generation = generations.open(name)
        verify_files(generation)
        assert all_users(generation) == set(range(USERS)) - set(erased)
        assert generation.manifest.counts["users"] == USERS - 3
    rows = generations.current().manifest.counts["interactions"]
    assert rows == len(LOG) + 1 - 3 * 3 - 1
    assert erase_from_files(generations, erased) == 0


def test_each_file_and_each_generation_is_rewritten_once(
    generations: Generations, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = []
    rewrite = Generations.rewrite

    def counted(self: Generations, name: str, files: object, removed: object) -> Generation:
        written.append(name)
        return rewrite(self, name, files, removed)  # type: ignore[arg-type]

    monkeypatch.setattr(Generations, "rewrite", counted)
    before = generations.names()
    assert erase_from_files(generations, dict.fromkeys(range(USERS), LATER)) == 2 * 128
    assert sorted(written) == before
    assert generations.current().manifest.counts["interactions"] == 0


def test_what_was_made_after_the_erasure_stays(generations: Generations) -> None:
    epochs = [generations.open(name).manifest.epoch for name in generations.names()]
    newer = generations.current()
    assert erase_from_files(generations, {0: epochs[1], 1: epochs[0], 2: LATER}) == 2 + 0 + 4
    assert newer.id not in generations.names()
    older, newer = (generations.open(name) for name in generations.names())
    assert all_users(older) == set(range(USERS)) - {0, 2}
    assert all_users(newer) == set(range(USERS)) - {2}
    assert left_in_files(generations, {0: epochs[1], 1: epochs[0], 2: LATER}) == []


def test_the_old_bytes_are_overwritten(generations: Generations) -> None:
    path = generations.current().folder / shard_files(9)[1]
    with path.open("rb") as old:
        erase_from_files(generations, {9: LATER})
        assert not any(old.read())


def test_an_unfinished_build_is_rewritten_in_place(generations: Generations) -> None:
    folder = as_unfinished_build(generations)
    (folder / shard_files(4)[0]).unlink()  # not written yet
    (folder / shard_files(6)[0]).unlink()
    (folder / shard_files(6)[0]).hardlink_to(generations.current().folder / shard_files(6)[0])
    with (folder / shard_files(5)[1]).open("rb") as old:
        assert erase_from_files(generations, dict.fromkeys([4, 5, 6], 8)) == 1 + 2 + 2
        assert not any(old.read())
    assert left_in_files(generations, dict.fromkeys([4, 5, 6], 8)) == []
    assert not folder.joinpath(shard_files(4)[0]).exists()
    assert not list(folder.rglob("*.rewritten"))
    verify_files(generations.current())
    assert 6 in users_in(generations.current().folder / shard_files(6)[0])  # 8 is before its epoch


def test_a_file_that_a_killed_build_cut_short_is_dropped(generations: Generations) -> None:
    folder = as_unfinished_build(generations)
    path = folder / shard_files(4)[1]
    path.write_bytes(path.read_bytes()[:-20])
    assert vectors_in_files(generations, [4])[-1] == path
    assert left_in_files(generations, {4: 8})[-1] == path
    with path.open("rb") as old:
        assert erase_from_files(generations, {4: 8}) == 2
        assert not any(old.read())
    assert not path.exists()
    assert left_in_files(generations, {4: 8}) == []


@pytest.mark.parametrize(("owner", "moment"), [(Generations, "_seal"), (Publication, "point_to"), (Folders, "destroy")])
def test_what_an_interrupted_removal_left_goes_with_the_next_one(
    generations: Generations, monkeypatch: pytest.MonkeyPatch, owner: type, moment: str
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(owner, moment, killed)
        with pytest.raises(KeyboardInterrupt):
            erase_from_files(generations, {9: LATER})
    assert left_in_files(generations, {9: LATER})
    erase_from_files(generations, {9: LATER})
    assert left_in_files(generations, {9: LATER}) == []
    assert generations.leftovers() == []
    assert 9 not in all_users(generations.current())
    verify_files(generations.current())


def test_a_leftover_counts_until_it_is_destroyed(generations: Generations, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("rag_rec.artifacts.destruction.shutil.rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            erase_from_files(generations, {9: LATER})
    (generations.leftovers()[0] / "manifest.json").write_bytes(b"")  # as a loss of power may leave it
    assert set(generations.leftovers()) <= set(left_in_files(generations, {70: LATER}))
    assert erase_from_files(generations, {70: LATER}) == 0  # of anybody else
    assert generations.leftovers() == left_in_files(generations, {70: LATER}) == []


def test_a_damaged_generation_in_use_is_named_and_counts_as_left(generations: Generations) -> None:
    current = generations.current().id
    path = generations.root / current / shard_files(9)[1]
    content = path.read_bytes()
    path.write_bytes(bytes(len(content)))
    assert path in left_in_files(generations, {9: LATER})
    with pytest.raises(CorruptIndex, match="rag-rec index rebuild"):
        erase_from_files(generations, {9: LATER})
    assert path in left_in_files(generations, {9: LATER})
    older = next(name for name in generations.names() if name != current)
    assert 9 not in all_users(generations.open(older))  # the others are cleaned all the same
    path.write_bytes(content)
    assert erase_from_files(generations, {9: LATER}) == 2
    assert left_in_files(generations, {9: LATER}) == []


@pytest.mark.parametrize(
    ("relative", "kept"), [(MANIFEST, 0), (shard_files(9)[0], -1), (shard_files(9)[1], 0), (shard_files(10)[0], -1)]
)
def test_a_damaged_generation_that_is_not_in_use_is_destroyed(
    generations: Generations, relative: str, kept: int
) -> None:
    older, current = generations.names()
    path = generations.root / older / relative
    content = path.read_bytes()
    path.write_bytes(content[:kept] or bytes(len(content)))  # cut short, or of the same size and all zeros
    assert any(found.is_relative_to(generations.root / older) for found in left_in_files(generations, {9: LATER}))
    with (generations.root / older / shard_files(11)[1]).open("rb") as old, capture_logs() as logs:
        assert erase_from_files(generations, {9: LATER}) == 2
        assert not any(old.read())
    assert logs == [{"event": "damaged_generation_destroyed", "generation": older, "log_level": "warning"}]
    assert len(generations.names()) == 1
    assert left_in_files(generations, {9: LATER}) == generations.building() == []
    verify_files(generations.current())
    assert current not in generations.names()


def test_a_damaged_generation_without_the_user_stays(generations: Generations) -> None:
    older, current = generations.names()
    for name in (older, current):
        (generations.root / name / MANIFEST).write_bytes(b"{")
    assert erase_from_files(generations, {USERS + 5: LATER}) == 0
    assert left_in_files(generations, {USERS + 5: LATER}) == []
    assert generations.names() == [older, current]


def test_without_an_index_there_is_nothing_to_do(tmp_path: Path) -> None:
    generations = Generations(tmp_path / "generations")
    assert vectors_in_files(generations, [1]) == []
    assert erase_from_files(generations, {1: LATER}) == 0
    assert left_in_files(generations, {1: LATER}) == []


def test_users_of_whom_something_was_forgotten_are_told_with_the_latest_epoch(tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "home")
    fill(settings, LOG[:9])
    store = store_of(settings)
    start = store.epoch()
    delete_interactions(store, 1, [3])
    delete_interactions(store, 1, [4])
    store.append([Interaction("user-2", ITEMS[8].id, 300 * DAY, "like")])
    delete_user(store, 0)
    assert forgotten_since(store, start) == {1: start + 2, 0: store.epoch()}
    assert forgotten_since(store, start + 2) == {0: store.epoch()}
    store.close()
