from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest

from rag_rec.artifacts.digests import MANIFEST, FileDigest, digest_files
from rag_rec.artifacts.manifest import Kind, write_manifest
from rag_rec.errors import CorruptIndex


@dataclass(frozen=True, slots=True)
class Note:
    """A manifest with one value of its own."""

    title: str
    files: Mapping[str, FileDigest]
    format: int = 3


KIND = Kind(Note, 3, "The notebook", "write it again")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages/1").write_bytes(b"one")
    (tmp_path / "pages/2").write_bytes(b"two")
    write_manifest(tmp_path, Note("notes", digest_files(tmp_path)))
    return tmp_path


def test_a_manifest_is_read_as_it_was_written(folder: Path) -> None:
    note = KIND.read(folder)
    assert note == Note("notes", digest_files(folder))
    KIND.verify(folder, note.files)
    assert (folder / MANIFEST).stat().st_mode & 0o777 == 0o600


def test_its_bytes_stay_what_they_are(tmp_path: Path) -> None:
    """A signature is over them, and earlier versions read them."""
    write_manifest(tmp_path, Note("notes", {"x": FileDigest(1, "ab")}))
    fields = {"title": "notes", "files": {"x": {"size": 1, "sha256": "ab"}}, "format": 3}
    assert (tmp_path / MANIFEST).read_bytes() == orjson.dumps(fields, option=orjson.OPT_INDENT_2)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"{}", b'{"files": {"x": 3}}', b'{"files": {}, "other": 1}', b"\xff"]
)
def test_one_that_cannot_be_read_says_what_to_do(folder: Path, content: bytes) -> None:
    (folder / MANIFEST).write_bytes(content)
    with pytest.raises(CorruptIndex, match=f"The notebook {folder.name} is damaged .*: write it again"):
        KIND.read(folder)


def test_one_of_another_format_says_what_to_do(folder: Path) -> None:
    write_manifest(folder, Note("notes", {}, format=4))
    with pytest.raises(CorruptIndex, match="has format 4, this version reads 3: write it again"):
        KIND.read(folder)


CHANGES: Mapping[str, Callable[[Path], object]] = {
    "1 does not match": lambda folder: (folder / "pages/1").write_bytes(b"One"),
    "2 does not match": lambda folder: (folder / "pages/2").unlink(),
    "not its own": lambda folder: (folder / "pages/3").touch(),
    "manifest.sig": lambda folder: (folder / "manifest.sig").touch(),
}


@pytest.mark.parametrize("fault", CHANGES)
def test_every_change_of_the_files_is_found(folder: Path, fault: str) -> None:
    CHANGES[fault](folder)
    with pytest.raises(CorruptIndex, match=fault):
        KIND.verify(folder, KIND.read(folder).files)


def test_a_manifest_names_no_file_outside(folder: Path) -> None:
    beside = folder.with_name("beside")
    beside.write_bytes(b"theirs")
    files = {**digest_files(folder), "../beside": FileDigest(6, "ab")}
    with pytest.raises(CorruptIndex, match=r"\.\./beside"):
        KIND.verify(folder, files)
