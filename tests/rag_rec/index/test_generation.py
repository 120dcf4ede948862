from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from rag_rec.artifacts.digests import digest_files
from rag_rec.artifacts.immutable import BUILDING
from rag_rec.errors import CorruptIndex, InvalidInput, NotReady
from rag_rec.index.generation import Generation, Generations, Manifest, new_id, utc_now, verify_files


def publish(generations: Generations, content: dict[str, bytes], epoch: int = 1) -> Generation:
    folder = generations.root / f"{BUILDING}test"
    for relative, data in content.items():
        path = folder / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    name = new_id(epoch)
    manifest = Manifest(name, name, utc_now(), epoch, "model", {}, {"items": 1}, digest_files(folder))
    return generations.publish(folder, manifest)


@pytest.fixture
def generations(tmp_path: Path) -> Generations:
    return Generations(tmp_path / "generations")


def without(source: Path, target: Path, word: bytes) -> None:
    target.write_bytes(source.read_bytes().replace(word, b""))


def test_without_a_generation_the_message_says_how_to_build_one(generations: Generations) -> None:
    with pytest.raises(NotReady, match="rag-rec index build"):
        generations.current()


def test_the_newest_published_generation_is_current(generations: Generations) -> None:
    first = publish(generations, {"a/x": b"1"})
    second = publish(generations, {"a/x": b"2"})
    assert generations.names() == [first.id, second.id]
    assert generations.current().id == second.id
    generations.activate(first.id)
    assert generations.current().manifest == first.manifest
    assert generations.building() == []


@pytest.mark.parametrize("name", ["nothing", "../generations", ".lock", f"{BUILDING}test"])
def test_only_published_generations_can_be_activated(generations: Generations, name: str) -> None:
    current = publish(generations, {"x": b"1"})
    (generations.root / f"{BUILDING}test").mkdir()
    with pytest.raises(InvalidInput):
        generations.activate(name)
    assert generations.current_id() == current.id


def test_a_generation_can_be_destroyed_unread_unless_it_is_in_use(generations: Generations) -> None:
    first, second = publish(generations, {"x": b"1"}), publish(generations, {"x": b"2"})
    for generation in (first, second):
        (generation.folder / "manifest.json").write_bytes(b"{")
    with pytest.raises(InvalidInput, match="is in use"):
        generations.discard(second.id)
    with (first.folder / "x").open("rb") as old:
        generations.discard(first.id)
        assert old.read() == b"\0"
    assert generations.names() == [second.id]
    assert generations.building() == []


def test_a_truncated_file_is_noticed_on_opening(generations: Generations) -> None:
    generation = publish(generations, {"x": b"12345"})
    (generation.folder / "x").write_bytes(b"1234")
    with pytest.raises(CorruptIndex, match="x does not match"):
        generations.current()


def test_a_changed_byte_and_a_foreign_file_are_noticed_by_verify(generations: Generations) -> None:
    generation = publish(generations, {"x": b"12345"})
    verify_files(generation)
    (generation.folder / "x").write_bytes(b"12346")
    with pytest.raises(CorruptIndex):
        verify_files(generation)
    (generation.folder / "x").write_bytes(b"12345")
    (generation.folder / "y").write_bytes(b"")
    with pytest.raises(CorruptIndex, match="not its own"):
        verify_files(generation)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"files": {"x": 3}}', b"\xff"])
def test_a_damaged_manifest_is_noticed(generations: Generations, content: bytes) -> None:
    generation = publish(generations, {"x": b"1"})
    (generation.folder / "manifest.json").write_bytes(content)
    with pytest.raises(CorruptIndex, match="rag-rec index rebuild"):
        generations.current()


def test_a_manifest_of_another_format_is_refused(generations: Generations) -> None:
    generation = publish(generations, {"x": b"1"})
    path = generation.folder / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b'"format": 1', b'"format": 99'))
    with pytest.raises(CorruptIndex, match="format 99"):
        generations.current()


def test_rewriting_makes_a_successor_and_leaves_nothing_of_the_original(generations: Generations) -> None:
    old = publish(generations, {"keep": b"catalogue", "people/1": b"alice bob", "people/2": b"carol"}, epoch=7)
    kept_inode = (old.folder / "keep").stat().st_ino
    new = generations.rewrite(old.id, {"people/1": partial(without, word=b"alice ")}, {"items": 1})
    assert generations.current() == new
    assert not old.folder.exists()
    assert (new.folder / "people/1").read_bytes() == b"bob"
    assert (new.folder / "keep").stat().st_ino == kept_inode
    assert (new.manifest.epoch, new.manifest.lineage) == (7, old.manifest.lineage)
    assert new.manifest.counts == {"items": 0}
    verify_files(new)


def test_rewriting_an_older_generation_leaves_the_pointer_alone(generations: Generations) -> None:
    old = publish(generations, {"people/1": b"alice bob"})
    current = publish(generations, {"people/1": b"bob"})
    generations.rewrite(old.id, {"people/1": partial(without, word=b"alice ")}, {"items": 1})
    assert generations.current_id() == current.id
    names = generations.names()
    assert (len(names), names[1]) == (2, current.id)  # what is older stays older
    second = generations.rewrite(names[0], {"people/1": partial(without, word=b"bob")}, {"items": 1})
    assert generations.names() == [second.id, current.id]
    assert second.id > names[0]


def test_a_reader_with_the_old_file_open_reads_zeros_after_a_rewrite(generations: Generations) -> None:
    old = publish(generations, {"people/1": b"alice bob"})
    with (old.folder / "people/1").open("rb") as stream:
        generations.rewrite(old.id, {"people/1": partial(without, word=b"alice ")}, {"items": 1})
        assert stream.read() == bytes(9)


@pytest.mark.parametrize("moment", ["write", "seal", "point", "destroy"])
def test_an_interrupted_rewriting_leaves_a_sound_generation(
    generations: Generations, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    old = publish(generations, {"keep": b"catalogue", "people/1": b"alice bob"})

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    names = {
        "seal": "rag_rec.index.generation.Generations._seal",
        "point": "rag_rec.artifacts.immutable.Publication.point_to",
        "destroy": "rag_rec.artifacts.destruction.shutil.rmtree",
    }
    if moment in names:
        monkeypatch.setattr(names[moment], killed)
    with pytest.raises(KeyboardInterrupt):
        generations.rewrite(old.id, {"people/1": killed if moment == "write" else partial(without, word=b"alice ")}, {})
    monkeypatch.undo()
    for name in generations.names():
        verify_files(generations.open(name))
    assert (generations.current_id() == old.id) == (moment != "destroy")
    assert len(generations.leftovers()) == (0 if moment == "point" else 1)
    assert set(generations.leftovers()) <= set(generations.building())


def test_a_generation_that_goes_loses_its_name_first(generations: Generations, monkeypatch: pytest.MonkeyPatch) -> None:
    made = [publish(generations, {"x": bytes([n])}) for n in range(3)]

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("rag_rec.artifacts.destruction._overwrite", killed)
    with pytest.raises(KeyboardInterrupt):
        generations.prune(1)
    assert generations.names() == [made[1].id, made[2].id]
    assert len(generations.leftovers()) == 1


def test_pruning_never_destroys_the_current_generation(generations: Generations) -> None:
    made = [publish(generations, {"x": bytes([n])}) for n in range(4)]
    generations.activate(made[0].id)
    gone = generations.prune(2)
    assert gone == [made[1].id, made[2].id]
    assert generations.names() == [made[0].id, made[3].id]
