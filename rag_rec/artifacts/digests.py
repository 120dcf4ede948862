"""The digests of the files of a folder, which its manifest names."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rag_rec.artifacts.signature import SIGNATURE

MANIFEST: Final = "manifest.json"


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
