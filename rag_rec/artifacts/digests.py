"""The digests of the files of a folder, which its manifest names."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rag_rec.artifacts.signature import SIGNATURE

MANIFEST: Final = "manifest.json"
DIGEST_CHARACTERS: Final = 32


@dataclass(frozen=True, slots=True)
class FileDigest:
    """Size in bytes and SHA-256 of one file."""

    size: int
    sha256: str


def digest_files(folder: Path) -> dict[str, FileDigest]:
    """Digests of every file under a folder, by relative path."""
    return {
        relative: file_digest(folder / relative)
        for relative in relative_files(folder)
        if relative not in {MANIFEST, SIGNATURE}
    }


def relative_files(folder: Path) -> list[str]:
    """Relative paths of all files under a folder, sorted."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def file_digest(path: Path) -> FileDigest:
    """Size and SHA-256 of a file."""
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return FileDigest(path.stat().st_size, digest)


def digest_if_there(path: Path) -> FileDigest | None:
    """Size and SHA-256 of a file; None where it cannot be read."""
    try:
        return file_digest(path)
    except OSError:
        return None


def content_digest(files: Mapping[str, FileDigest]) -> str:
    """SHA-256 over the names and contents of files, the first 32 hex digits: the name of a folder with these files."""
    lines = "".join(f"{relative}\0{files[relative].sha256}\n" for relative in sorted(files))
    return hashlib.sha256(lines.encode()).hexdigest()[:DIGEST_CHARACTERS]


def is_digest(name: str) -> bool:
    """Whether a name is one that :func:`content_digest` can give."""
    return len(name) == DIGEST_CHARACTERS and set(name) <= set("0123456789abcdef")
