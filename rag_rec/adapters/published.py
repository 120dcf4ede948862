"""Reads published bases and adapters: folders that are named by their digest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rag_rec.adapters.manifest import CompactManifest, content_digest, damaged, is_digest, read_manifest
from rag_rec.artifacts.digests import MANIFEST, digest_files, relative_files
from rag_rec.errors import CorruptIndex, InvalidInput

BUILDING: Final = "building-"
"""How the name of a folder begins that has not been published yet."""


@dataclass(frozen=True, slots=True)
class CompactFolder:
    """A base or an adapter that has been checked."""

    folder: Path
    manifest: CompactManifest

    @property
    def digest(self) -> str:
        """Its name."""
        return self.manifest.digest


def opened(kind: Path, digest: str) -> CompactFolder:
    """A base or an adapter by digest, every file checked. Raises ``InvalidInput`` and ``CorruptIndex``."""
    folder = kind / digest
    if not is_digest(digest) or not folder.is_dir():
        raise InvalidInput(f"There is no compact generator {digest!r} in {kind.name}: run `rag-rec compact build`.")
    manifest = read_manifest(folder)
    present = set(relative_files(folder)) - {MANIFEST}
    if present != set(manifest.files):
        raise damaged(digest, "files are missing, or are not its own")
    found = digest_files(folder)
    for relative, expected in manifest.files.items():
        if found[relative] != expected:
            raise damaged(digest, f"{relative} does not match its manifest")
    if content_digest(found) != digest:
        raise damaged(digest, "its name does not match its content")
    return CompactFolder(folder, manifest)


def published(kind: Path) -> list[str]:
    """Digests under a folder, oldest first; those whose manifest cannot be read are the oldest."""
    if not kind.is_dir():
        return []
    names = [path.name for path in kind.iterdir() if path.is_dir() and not path.name.startswith(BUILDING)]
    return sorted(names, key=lambda name: (_created(kind / name), name))


def _created(folder: Path) -> str:
    manifest = readable(folder)
    return manifest.created if manifest else ""


def readable(folder: Path) -> CompactManifest | None:
    """None where the manifest cannot be read."""
    try:
        return read_manifest(folder)
    except CorruptIndex:
        return None
