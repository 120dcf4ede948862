"""Modes of files and folders under every umask, and what is refused."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from rag_rec.artifacts.private import (
    check_private,
    close_off,
    make_private_folder,
    private_opener,
    replace_durably,
    write_durably,
)
from rag_rec.errors import Insecure, WrongKey


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.fixture(params=[0o000, 0o022, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.mark.usefixtures("umask")
def test_what_is_made_is_for_its_owner_alone(tmp_path: Path) -> None:
    make_private_folder(tmp_path / "a" / "b")
    write_durably(tmp_path / "a" / "b" / "file", b"content")
    assert mode(tmp_path / "a") == mode(tmp_path / "a" / "b") == 0o700
    assert mode(tmp_path / "a" / "b" / "file") == 0o600
    assert (tmp_path / "a" / "b" / "file").read_bytes() == b"content"


@pytest.mark.usefixtures("umask")
def test_an_open_file_is_closed_when_it_is_written_again(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    path.chmod(0o666)
    with open(path, "ab", opener=private_opener) as stream:
        stream.write(b"more")
    assert mode(path) == 0o600


def test_a_file_behind_a_link_is_not_written(tmp_path: Path) -> None:
    (tmp_path / "outside").write_bytes(b"belongs to somebody else")
    (tmp_path / "link").symlink_to(tmp_path / "outside")
    with pytest.raises(OSError, match="link"):
        write_durably(tmp_path / "link", b"ours")
    assert (tmp_path / "outside").read_bytes() == b"belongs to somebody else"


def test_a_file_takes_the_place_of_another_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with path.open("rb") as reader:
        replace_durably(path, b"new")
        assert reader.read() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
    assert (path.read_bytes(), mode(path)) == (b"new", 0o600)


def test_a_folder_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    make_private_folder(tmp_path)
    make_private_folder(tmp_path / "new")
    assert mode(tmp_path) == 0o755


def test_a_tree_is_closed_and_links_in_it_are_left_alone(tmp_path: Path) -> None:
    outside, root = tmp_path / "outside", tmp_path / "root"
    for folder in (outside, root / "deep"):
        folder.mkdir(parents=True, mode=0o755)
        (folder / "file").touch()
        (folder / "file").chmod(0o644)
    outside.chmod(0o755)
    (root / "link").symlink_to(outside)
    (root / "deep" / "link").symlink_to(outside / "file")
    close_off(root)
    assert mode(root) == mode(root / "deep") == 0o700
    assert mode(root / "deep" / "file") == 0o600
    assert (mode(outside), mode(outside / "file")) == (0o755, 0o644)
    close_off(root / "link")
    assert (mode(outside), mode(outside / "file")) == (0o755, 0o644)
    close_off(tmp_path / "nothing")


def test_what_only_another_user_can_close_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise PermissionError

    tmp_path.chmod(0o755)
    monkeypatch.setattr(Path, "chmod", forbidden)
    with pytest.raises(Insecure, match="chmod -R go="):
        close_off(tmp_path)


@pytest.mark.parametrize("loose", [0o666, 0o644, 0o640, 0o604, 0o620])
def test_a_secret_that_others_can_read_or_change_is_refused(tmp_path: Path, loose: int) -> None:
    path = tmp_path / "key"
    path.touch()
    path.chmod(loose)
    with pytest.raises(WrongKey, match=f"chmod 600 {path}"):
        check_private(path, "a key")
    path.chmod(0o400)
    check_private(path, "a key")


def test_a_secret_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "key"
    path.touch(mode=0o600)
    monkeypatch.setattr("rag_rec.artifacts.private.os.geteuid", lambda: path.stat().st_uid + 1)
    if path.stat().st_uid == 0:
        check_private(path, "a key")  # root could do anything anyway
        os.chown(path, 4321, -1)
    with pytest.raises(WrongKey, match="belongs to another user"):
        check_private(path, "a key")
