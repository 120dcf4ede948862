"""The manifest of an immutable folder: what the folder says of itself, and the check of its files against that."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import orjson

from rag_rec.artifacts.digests import MANIFEST, FileDigest, digest_if_there, relative_files
from rag_rec.artifacts.private import write_durably
from rag_rec.errors import CorruptIndex


class Manifest(Protocol):
    """What every manifest names: the digest of every file by relative path, and the format of the folder."""

    @property
    def files(self) -> Mapping[str, FileDigest]:
        """Size and SHA-256 of every file, by relative path."""

    @property
    def format(self) -> int:
        """The version of the folder's layout."""


M = TypeVar("M", bound=Manifest)


@dataclass(frozen=True, slots=True)
class Kind(Generic[M]):
    """A kind of immutable folders.

    Attributes:
        manifest: the type of its manifests, a dataclass of JSON values.
        format: the only one that this version reads.
        name: of the kind, for messages.
        remedy: what to do about a damaged folder, for messages.
        beside: files of a folder that its manifest does not name.
    """

    manifest: Callable[..., M]
    format: int
    name: str
    remedy: str
    beside: frozenset[str] = frozenset({MANIFEST})

    def read(self, folder: Path) -> M:
        """Read and check the manifest of a folder. Raises ``CorruptIndex``."""
        try:
            fields = orjson.loads((folder / MANIFEST).read_bytes())
            files = {name: FileDigest(**digest) for name, digest in fields.pop("files").items()}
            manifest = self.manifest(files=files, **fields)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            raise self.damaged(folder.name, f"{MANIFEST} cannot be read") from None
        if manifest.format != self.format:
            raise CorruptIndex(
                f"{self.name} {folder.name} has format {manifest.format}, this version reads {self.format}: "
                f"{self.remedy}."
            )
        return manifest

    def damaged(self, name: str, fault: str) -> CorruptIndex:
        """The error for a folder that cannot be used."""
        return CorruptIndex(f"{self.name} {name} is damaged ({fault}): {self.remedy}.")

    def verify(self, folder: Path, files: Mapping[str, FileDigest], later: Collection[str] = ()) -> None:
        """Check the SHA-256 of every file of a folder, and that there is none that its manifest does not name.

        Args:
            folder: the folder.
            files: what its manifest says of them.
            later: files that are checked by those who read them.

        Raises:
            CorruptIndex: a file does not match, is missing, or is not the folder's own.
        """
        present = set(relative_files(folder)) - self.beside
        if foreign := sorted(present.difference(files)):
            raise self.damaged(folder.name, f"it holds files that are not its own: {foreign}")
        now = {relative: expected for relative, expected in files.items() if relative not in later}
        with ThreadPoolExecutor() as disk:  # hashing large blocks leaves the interpreter to others
            found = disk.map(lambda relative: digest_if_there(folder / relative), now)
            for (relative, expected), digest in zip(now.items(), found, strict=True):
                if relative not in present or digest != expected:
                    raise self.damaged(folder.name, f"{relative} does not match its manifest")


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest of a folder, and wait until it is on the disk."""
    write_durably(folder / MANIFEST, orjson.dumps(manifest, option=orjson.OPT_INDENT_2))
