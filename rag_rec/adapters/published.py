"""Published bases and adapters: what each says of itself, and the check before it is used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rag_rec.artifacts.digests import FileDigest, content_digest, is_digest
from rag_rec.artifacts.immutable import Folders
from rag_rec.artifacts.manifest import Kind
from rag_rec.errors import CorruptIndex, InvalidInput

FORMAT: Final = 1
SHARDS: Final = "removal/shards/"
"""In the folder of an adapter, what a removal by shards starts from. Ranking does without, so that these files are
checked by those who read them: one that is damaged costs a training of its shard, and not the adapter."""


@dataclass(frozen=True, slots=True)
class CompactManifest:
    """What a folder holds.

    Attributes:
        digest: see :func:`rag_rec.artifacts.digests.content_digest`; the folder's name.
        lineage: digest of the first base that this base, or the base of this adapter, descends from by new items only.
        parent: the base that a base was extended from (None: built afresh), or that an adapter was trained on.
        created: ISO 8601 with microseconds.
        epoch: the change of the store up to which its data were read.
        settings: those that it was made with.
        counts: such as items, users, parameters.
        files: size and SHA-256 of every file, by relative path.
    """

    digest: str
    lineage: str
    parent: str | None
    created: str
    epoch: int
    settings: Mapping[str, Any]
    counts: Mapping[str, int]
    files: Mapping[str, FileDigest]
    format: int = FORMAT


KIND: Final = Kind(CompactManifest, FORMAT, "The compact generator", "run `rag-rec compact build`")


@dataclass(frozen=True, slots=True)
class CompactFolder:
    """A base or an adapter that has been checked."""

    folder: Path
    manifest: CompactManifest

    @property
    def digest(self) -> str:
        """Its name."""
        return self.manifest.digest


def opened(folders: Folders, digest: str) -> CompactFolder:
    """A base or an adapter by digest, every file checked but those of :data:`SHARDS`.

    Raises:
        InvalidInput: there is none of this name.
        CorruptIndex: a file is missing or does not match its digest.
    """
    folder = folders.root / digest
    if not is_digest(digest) or not folder.is_dir():
        raise InvalidInput(
            f"There is no compact generator {digest!r} in {folders.root.name}: run `rag-rec compact build`."
        )
    manifest = KIND.read(folder)
    KIND.verify(folder, manifest.files, [relative for relative in manifest.files if relative.startswith(SHARDS)])
    if content_digest(manifest.files) != digest:
        raise KIND.damaged(digest, "its name does not match its content")
    return CompactFolder(folder, manifest)


def by_age(folders: Folders) -> list[str]:
    """Digests of published folders, oldest first; those whose manifest cannot be read are the oldest."""
    manifests = {name: readable(folders.root / name) for name in folders.names()}
    return sorted(manifests, key=lambda name: (getattr(manifests[name], "created", ""), name))


def readable(folder: Path) -> CompactManifest | None:
    """None where the manifest cannot be read."""
    try:
        return KIND.read(folder)
    except CorruptIndex:
        return None
