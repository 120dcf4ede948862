from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from rag_rec.errors import CorruptIndex
from rag_rec.places.folder import FILE, NOTHING, Identity, holds_people, new_identity, read_identity, write_identity
from rag_rec.settings import Settings


def test_an_identity_is_read_as_it_was_written_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    assert read_identity(tmp_path) is None
    before = os.umask(0)
    try:
        write_identity(tmp_path, Identity("p", "s", 7))
    finally:
        os.umask(before)
    assert read_identity(tmp_path) == Identity("p", "s", 7)
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_no_two_folders_are_the_same() -> None:
    one, other = new_identity("s"), new_identity("s")
    assert one.place != other.place
    assert (one.store, one.verified) == ("s", NOTHING)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"place": "p", "store": "s"}',
        b'{"format": "rag-rec/place/2", "place": "p", "store": "s"}',
        b'{"format": "rag-rec/place/1", "place": 1, "store": "s", "verified": 0}',
        b'{"format": "rag-rec/place/1", "place": "p", "store": "s", "verified": 0, "more": 1}',
    ],
)
def test_what_is_no_identity_is_a_clear_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(CorruptIndex, match="place renew"):
        read_identity(tmp_path)


@pytest.mark.parametrize("made", ["generations/g1", "generations/building-1", "compact/adapters/a"])
def test_files_of_people_are_recognised(tmp_path: Path, made: str) -> None:
    settings = Settings(home=tmp_path)
    assert not holds_people(settings)
    (tmp_path / made).mkdir(parents=True)
    assert holds_people(settings)


@pytest.mark.parametrize("folder", ["training", "auditing"])
def test_checkpoints_are_files_of_people(tmp_path: Path, folder: str) -> None:
    (tmp_path / "compact" / folder).mkdir(parents=True)
    assert not holds_people(Settings(home=tmp_path))
    (tmp_path / "compact" / folder / "000001.safetensors").write_bytes(b"")
    assert holds_people(Settings(home=tmp_path))


def test_keys_and_bases_are_not(tmp_path: Path) -> None:
    for name in ("keys", "compact/bases/b", "gates", "generations"):
        (tmp_path / name).mkdir(parents=True)
    assert not holds_people(Settings(home=tmp_path))
