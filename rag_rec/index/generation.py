"""Index generations: immutable folders with a manifest, and the pointer that says which one is current.

A generation is written into a folder whose name starts with ``building-``, checked, renamed, and made current by
replacing one small file. Nobody ever sees half of one. Forgetting a person does not change a generation: it makes a
successor that shares every file but the ones that held the person, moves the pointer, and overwrites and removes the
old files.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from rag_rec.artifacts.digests import MANIFEST, FileDigest, digest_if_there, file_digest
from rag_rec.artifacts.immutable import BUILDING, Folders, Publication, surplus
from rag_rec.artifacts.manifest import Kind, write_manifest
from rag_rec.artifacts.private import make_private_folder
from rag_rec.artifacts.signature import SIGNATURE, sign_manifest
from rag_rec.errors import InvalidInput, NotReady
from rag_rec.identity.signing import Signer

FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a generation holds. ``epoch`` is the change up to which it is complete; ``lineage`` names the build that
    it descends from by removals only, so that a running service can tell a removal from a rebuild. ``reader_fitted``
    says whether the build fitted its reranker; one that was taken over from elsewhere may be older than the rest."""

    id: str
    lineage: str
    created: str
    epoch: int
    embedding: str
    settings: Mapping[str, Any]
    counts: Mapping[str, int]
    files: Mapping[str, FileDigest]
    format: int = FORMAT
    reader_fitted: bool = True


KIND: Final = Kind(
    Manifest,
    FORMAT,
    "Index generation",
    "activate another one (`rag-rec index list`) or run `rag-rec index rebuild`",
    frozenset({MANIFEST, SIGNATURE}),
)


@dataclass(frozen=True, slots=True)
class Generation:
    """A published generation."""

    folder: Path
    manifest: Manifest

    @property
    def id(self) -> str:
        """The generation's name."""
        return self.manifest.id

    @property
    def fitted_in(self) -> str | None:
        """Name of the generation whose build fitted the reranker; None where it was taken over from elsewhere."""
        return self.manifest.lineage if self.manifest.reader_fitted else None


class Generations(Publication):
    """All generations under one folder. With a signer, those that are published or rewritten here are signed."""

    def __init__(self, root: Path, signer: Signer | None = None) -> None:
        super().__init__(root, "an index generation")
        self._signer = signer
        self._folders = Folders(root)

    def current_id(self) -> str | None:
        """Name of the current generation."""
        return (self.pointer() or b"").decode().strip() or None

    def current_digest(self) -> str | None:
        """Digest of the manifest of the current generation, which holds the digests of all its files; None where there
        is none."""
        name = self.current_id()
        path = self.root / (name or "") / MANIFEST
        return file_digest(path).sha256 if name and path.is_file() else None

    def current(self) -> Generation:
        """The current generation. Raises ``NotReady`` if there is none and ``CorruptIndex`` if it is damaged."""
        name = self.current_id()
        if name is None:
            raise NotReady("There is no index yet: run `rag-rec index build`.")
        return self.open(name)

    def open(self, name: str) -> Generation:
        """A generation by name, its manifest read and the size of every file checked. Links are no index files."""
        folder = self.root / name
        if name.startswith((".", BUILDING)) or "/" in name or not folder.is_dir():
            raise InvalidInput(f"There is no index generation named {name!r}: see `rag-rec index list`.")
        if folder.is_symlink():
            raise KIND.damaged(name, "a link in place of its folder")
        manifest = KIND.read(folder)
        for relative, digest in manifest.files.items():
            if _size(f"{folder}/{relative}") != digest.size:
                raise KIND.damaged(name, f"{relative} does not match its manifest")
        return Generation(folder, manifest)

    def names(self) -> list[str]:
        """Names of the published generations, oldest first."""
        return [name for name in self._folders.names() if (self.root / name / MANIFEST).is_file()]

    def building(self) -> list[Path]:
        """Folders of builds that have not been published, each complete or not."""
        return self._folders.building()

    def leftovers(self) -> list[Path]:
        """Folders that an interrupted rewriting or pruning left. While :meth:`writing` is held, they are not
        in use."""
        return self._folders.leftovers()

    def epoch_of(self, folder: Path) -> int:
        """The epoch of the store that a folder was made from; -1 where that cannot be told any more."""
        if not folder.name.startswith(BUILDING):
            return KIND.read(folder).epoch
        epoch = folder.name.removeprefix(BUILDING).split("-")[0]
        return int(epoch) if epoch.isdigit() else -1

    def publish(self, folder: Path, manifest: Manifest) -> Generation:
        """Seal a building folder with its manifest, rename it to its name and make it current."""
        generation = self._seal(folder, manifest)
        self.activate(generation.id)
        return generation

    def activate(self, name: str) -> None:
        """Make a generation current: one atomic replacement of the pointer."""
        self.open(name)
        self.point_to(name.encode() + b"\n")

    def rewrite(
        self, name: str, files: Mapping[str, Callable[[Path, Path], object]], removed: Mapping[str, int]
    ) -> Generation:
        """Make a successor of a generation in which some files are rewritten, and destroy the original.

        Args:
            name: the generation.
            files: relative path to ``write(source, target)``. All other files are shared by hard links.
            removed: by how much the counts of the manifest go down.
        """
        old = self.open(name)
        folder = self._folders.leftover()
        digests = {**old.manifest.files, **_write_successor(old, folder, files)}
        counts = {kind: count - removed.get(kind, 0) for kind, count in old.manifest.counts.items()}
        manifest = replace(old.manifest, id=_successor_id(old.manifest.lineage), files=digests, counts=counts)
        successor = self._seal(folder, manifest)
        if self.current_id() == name:
            self.point_to(successor.id.encode() + b"\n")
        self._folders.destroy(name)
        return successor

    def prune(self, keep: int) -> list[str]:
        """Destroy all but the newest ``keep`` generations, never the current one. Returns the names of those gone."""
        gone = surplus(self.names(), keep, self.current_id())
        for name in gone:
            self._folders.destroy(name)
        return gone

    def discard(self, name: str) -> None:
        """Destroy a generation without reading it. Raises ``InvalidInput`` if it is the current one."""
        if name == self.current_id():
            raise InvalidInput(f"Index generation {name} is in use: activate another one first.")
        self._folders.destroy(name)

    def _seal(self, folder: Path, manifest: Manifest) -> Generation:
        write_manifest(folder, manifest)
        if self._signer is not None:
            sign_manifest(folder / MANIFEST, self._signer)
        return Generation(self._folders.publish(folder, manifest.id), manifest)


def new_id(epoch: int) -> str:
    """A name that sorts by time of creation."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-e{epoch}"


def _successor_id(lineage: str) -> str:
    """A name that sorts behind that of the build and of earlier successors, and before those of later builds."""
    return f"{lineage}-{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{secrets.token_hex(2)}"


def utc_now() -> str:
    """The present time as ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def verify_files(generation: Generation) -> None:
    """Check the SHA-256 of every file, that none is a link, and that there is none that the manifest does not name.

    Raises:
        CorruptIndex: one does not match, is missing, or is not the generation's own.
    """
    folder, expected = generation.folder, generation.manifest.files
    if links := [relative for relative in expected if (folder / relative).is_symlink()]:
        raise KIND.damaged(generation.id, f"{links[0]} is a link")
    KIND.verify(folder, expected)


def _size(path: str) -> int | None:
    """Of a file that is no link; None where there is none."""
    try:
        status = os.lstat(path)  # at every removal, for every file
    except OSError:
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def _write_successor(
    old: Generation, folder: Path, files: Mapping[str, Callable[[Path, Path], object]]
) -> dict[str, FileDigest]:
    """Fill a new folder: link the files that stay as they are, write the others. Returns the digests of these."""
    for parent in {os.path.dirname(relative) for relative in old.manifest.files}:  # noqa: PTH120 - many times a second
        make_private_folder(folder / parent)
    for relative in old.manifest.files.keys() - files.keys():
        os.link(f"{old.folder}/{relative}", f"{folder}/{relative}")

    def write(relative: str) -> FileDigest:
        if digest_if_there(old.folder / relative) != old.manifest.files.get(relative):
            # the successor would make the damage its own
            raise KIND.damaged(old.id, f"{relative} does not match its manifest")
        files[relative](old.folder / relative, folder / relative)
        return file_digest(folder / relative)

    with ThreadPoolExecutor() as disk:
        return dict(zip(files, disk.map(write, files), strict=True))
