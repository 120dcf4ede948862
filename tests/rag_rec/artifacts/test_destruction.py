"""Links that lead outside: nothing there is read, overwritten or removed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from rag_rec.artifacts.destruction import destroy, overwrite, remove

CONTENT = b"belongs to somebody else"


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "file").write_bytes(CONTENT)
    return folder


@pytest.fixture
def inside(tmp_path: Path) -> Path:
    folder = tmp_path / "inside"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "own").write_bytes(b"ours")
    return folder


def is_untouched(outside: Path) -> bool:
    return (outside / "file").read_bytes() == CONTENT


LINKS: list[Callable[[Path, Path], None]] = [
    lambda place, outside: place.symlink_to(outside / "file"),
    lambda place, outside: place.symlink_to(outside),
    lambda place, outside: place.hardlink_to(outside / "file"),
    lambda place, outside: place.symlink_to(os.path.relpath(outside / "file", place.parent)),
]


@pytest.mark.parametrize("link", LINKS)
def test_a_destroyed_folder_takes_nothing_with_it_that_its_links_lead_to(
    inside: Path, outside: Path, link: Callable[[Path, Path], None]
) -> None:
    link(inside / "deep" / "link", outside)
    destroy(inside)
    assert is_untouched(outside)
    assert not inside.exists()


def test_of_a_link_to_a_folder_only_the_link_is_destroyed(tmp_path: Path, outside: Path) -> None:
    (tmp_path / "link").symlink_to(outside)
    destroy(tmp_path / "link")
    assert is_untouched(outside)
    assert not (tmp_path / "link").is_symlink()


def test_a_destroyed_file_is_zeros_for_whoever_has_it_open(inside: Path) -> None:
    with (inside / "deep" / "own").open("rb") as stream:
        destroy(inside)
        assert stream.read() == bytes(4)


@pytest.mark.parametrize("act", [overwrite, remove])
@pytest.mark.parametrize("link", LINKS)
def test_no_link_is_overwritten(
    inside: Path, outside: Path, link: Callable[[Path, Path], None], act: Callable[[Path, Path], None]
) -> None:
    link(inside / "link", outside)
    act(inside / "link", inside)
    assert is_untouched(outside)
    assert (inside / "link").is_symlink() <= (act is overwrite)


@pytest.mark.parametrize("act", [overwrite, remove])
def test_no_file_behind_a_link_is_overwritten(inside: Path, outside: Path, act: Callable[[Path, Path], None]) -> None:
    (inside / "deep" / "link").symlink_to(outside)
    act(inside / "deep" / "link" / "file", inside)
    assert is_untouched(outside)


def test_a_file_is_overwritten_where_it_lies_and_removed(inside: Path) -> None:
    path = inside / "deep" / "own"
    overwrite(path, inside)
    assert path.read_bytes() == bytes(4)
    with path.open("rb") as stream:
        remove(path)
        assert stream.read() == bytes(4)
    assert not path.exists()


def test_more_than_one_block_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(b"x" * ((1 << 20) + 3))
    overwrite(path)
    assert path.read_bytes() == bytes((1 << 20) + 3)


@pytest.mark.parametrize("act", [overwrite, remove])
def test_a_file_that_is_not_there_is_an_error(tmp_path: Path, act: Callable[[Path], None]) -> None:
    with pytest.raises(FileNotFoundError):
        act(tmp_path / "nothing")


def test_what_is_no_file_is_left_alone(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    overwrite(tmp_path / "pipe")
    destroy_me = tmp_path / "folder"
    destroy_me.mkdir()
    os.mkfifo(destroy_me / "pipe")
    destroy(destroy_me)
    assert not destroy_me.exists()
