"""What a base or an adapter of the compact generator says of itself, and the digest that names it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from rag_rec.artifacts.digests import MANIFEST, FileDigest
from rag_rec.errors import CorruptIndex

FORMAT: Final = 1
DIGEST_CHARACTERS: Final = 32


@dataclass(frozen=True, slots=True)
class CompactManifest:
    """What a folder holds.

    Attributes:
        digest: SHA-256 over names and contents of all files, the first 32 hex digits; the folder's name.
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


def content_digest(files: Mapping[str, FileDigest]) -> str:
    """The name of a folder with these files."""
    lines = "".join(f"{relative}\0{files[relative].sha256}\n" for relative in sorted(files))
    return hashlib.sha256(lines.encode()).hexdigest()[:DIGEST_CHARACTERS]


def is_digest(name: str) -> bool:
    """Whether a name is one that :func:`content_digest` can give."""
    return len(name) == DIGEST_CHARACTERS and set(name) <= set("0123456789abcdef")


def read_manifest(folder: Path) -> CompactManifest:
    """Read and check a manifest. Raises ``CorruptIndex``."""
    try:
        fields = orjson.loads((folder / MANIFEST).read_bytes())
        files = {name: FileDigest(**digest) for name, digest in fields.pop("files").items()}
        manifest = CompactManifest(files=files, **fields)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        raise damaged(folder.name, f"{MANIFEST} cannot be read") from None
    if manifest.format != FORMAT:
        raise CorruptIndex(
            f"The compact generator {folder.name} has format {manifest.format}, this version reads {FORMAT}: "
            "run `rag-rec compact build`."
        )
    return manifest


def damaged(name: str, fault: str) -> CorruptIndex:
    """The error for a folder that cannot be used."""
    return CorruptIndex(f"The compact generator {name} is damaged ({fault}): run `rag-rec compact build`.")
