from __future__ import annotations

from pathlib import Path

import pytest
from filelock import FileLock

import rag_rec.artifacts.immutable
from rag_rec.artifacts.immutable import BUILDING, Folders, Publication, surplus
from rag_rec.errors import Busy


def test_a_second_writer_is_told_to_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rag_rec.artifacts.immutable, "LOCK_SECONDS", 0.01)
    publication = Publication(tmp_path, "a notebook")
    with FileLock(tmp_path / ".lock"), pytest.raises(Busy, match="is publishing a notebook"), publication.writing():
        pytest.fail("written")


def test_a_pointer_that_is_not_there_says_nothing(tmp_path: Path) -> None:
    publication = Publication(tmp_path, "a notebook")
    assert publication.pointer() is None
    publication.point_to(b"first\n")
    assert publication.pointer() == b"first\n"


def test_what_libraries_left_open_is_closed_when_it_is_published(tmp_path: Path) -> None:
    folders = Folders(tmp_path)
    with folders.aside() as aside:
        (aside / "deep").mkdir(mode=0o755)
        (aside / "deep" / "x").touch(mode=0o644)
        published = folders.publish(aside, "first")
    assert [path.stat().st_mode & 0o077 for path in (published, published / "deep", published / "deep" / "x")] == [
        0
    ] * 3
    assert (folders.names(), folders.building()) == (["first"], [])


def test_a_name_that_another_folder_has_is_not_taken(tmp_path: Path) -> None:
    folders = Folders(tmp_path)
    for content in ("one", "two"):
        with folders.aside() as aside:
            (aside / "x").write_text(content)
            if content == "two":
                with pytest.raises(OSError, match="not empty"):
                    folders.publish(aside, "first")
            else:
                folders.publish(aside, "first")
    assert (tmp_path / "first" / "x").read_text() == "one"


def test_folders_that_are_being_written_are_told_from_leftovers(tmp_path: Path) -> None:
    folders = Folders(tmp_path)
    assert (Folders(tmp_path / "nothing").names(), folders.building()) == ([], [])
    (tmp_path / f"{BUILDING}1").mkdir()
    leftover = folders.leftover()
    leftover.mkdir()
    (tmp_path / f"{BUILDING}file").touch()
    assert folders.building() == [tmp_path / f"{BUILDING}1", leftover]
    assert folders.leftovers() == [leftover]
    assert folders.names() == []


@pytest.mark.parametrize(
    ("keep", "used", "gone"),
    [(2, "d", "ab"), (2, "a", "bc"), (1, "a", "bcd"), (0, "a", "bcd"), (9, "a", ""), (2, None, "ab"), (2, "z", "ab")],
)
def test_the_newest_stay_and_what_is_in_use(keep: int, used: str | None, gone: str) -> None:
    assert surplus(list("abcd"), keep, used) == list(gone)
