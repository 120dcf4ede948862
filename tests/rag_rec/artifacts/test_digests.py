from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from rag_rec.artifacts.digests import (
    MANIFEST,
    FileDigest,
    content_digest,
    digest_files,
    digest_if_there,
    file_digest,
    is_digest,
    relative_files,
)
from rag_rec.artifacts.signature import SIGNATURE


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for relative in ("b", "a/x", "a/deep/y", MANIFEST, SIGNATURE):
        path = tmp_path / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(relative.encode())
    (tmp_path / "empty").mkdir()
    return tmp_path


def test_a_digest_is_the_size_and_the_sha_256(folder: Path) -> None:
    assert file_digest(folder / "a/x") == FileDigest(3, hashlib.sha256(b"a/x").hexdigest())


def test_every_file_counts_but_the_manifest_and_its_signature(folder: Path) -> None:
    assert relative_files(folder) == sorted(["a/deep/y", "a/x", "b", MANIFEST, SIGNATURE])
    assert digest_files(folder) == {name: file_digest(folder / name) for name in ("a/deep/y", "a/x", "b")}


def test_a_file_that_cannot_be_read_has_none(folder: Path) -> None:
    assert digest_if_there(folder / "b") == file_digest(folder / "b")
    assert digest_if_there(folder / "nothing") is None
    assert digest_if_there(folder / "a") is None


def test_the_digest_of_the_content_stays_what_it_is() -> None:
    """Folders on disk have it as their name."""
    files = {"weights": FileDigest(1, "1" * 64), "config.json": FileDigest(2, "2" * 64)}
    lines = f"config.json\0{'2' * 64}\nweights\0{'1' * 64}\n".encode()
    assert content_digest(files) == hashlib.sha256(lines).hexdigest()[:32]
    assert is_digest(content_digest(files))


@pytest.mark.parametrize("change", [{"weights": FileDigest(1, "3" * 64)}, {"more": FileDigest(1, "1" * 64)}])
def test_another_content_has_another_digest(change: dict[str, FileDigest]) -> None:
    files = {"weights": FileDigest(1, "1" * 64)}
    assert content_digest(files | change) != content_digest(files)


@pytest.mark.parametrize("name", ["", "..", "0" * 31, "0" * 33, "G" * 32, "A" * 32, f"{'0' * 30}/1"])
def test_other_names_are_no_digest(name: str) -> None:
    assert not is_digest(name)
