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
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
from filelock import FileLock, Timeout

from rag_rec.artifacts.destruction import destroy
from rag_rec.artifacts.digests import MANIFEST, FileDigest, file_digest, relative_files
from rag_rec.artifacts.private import (
    FILE_MODE,
    close_off,
    make_private_folder,
    replace_durably,
    sync_folder,
    write_durably,
)
from rag_rec.artifacts.signature import SIGNATURE, sign_manifest
from rag_rec.errors import Busy, CorruptIndex, InvalidInput, NotReady
from rag_rec.identity.signing import Signer

FORMAT = 1
POINTER = "CURRENT"
BUILDING = "building-"
LEFTOVER = f"{BUILDING}rewriting-"
"""Begins the names of folders of a rewriting: its successor until that is complete, the original from then on."""
LOCK_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a generation holds. ``epoch`` is the change up to which it is complete; ``lineage`` names the build that
    it descends from by removals only, so that a running service can tell a removal from a rebuild. ``reader_fitted``
    says whether the build fitted its reader; one that was taken over from elsewhere may be older than the rest."""

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
        """Name of the generation whose build fitted the reader; None where it was taken over from elsewhere."""
        return self.manifest.lineage if self.manifest.reader_fitted else None


class Generations:
    """All generations under one folder. With a signer, those that are published or rewritten here are signed."""

    def __init__(self, root: Path, signer: Signer | None = None) -> None:
        self.root = root
        self._signer = signer
        self._lock = FileLock(root / ".lock", timeout=LOCK_SECONDS, mode=FILE_MODE)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the lock that publishing and removing take, across processes. Raises ``Busy`` when it stays taken."""
        make_private_folder(self.root)
        try:
            with self._lock:
                yield
        except Timeout:
            raise Busy("Another process is publishing an index generation; try again when it has finished.") from None

    def current_id(self) -> str | None:
        """Name of the current generation."""
        try:
            return (self.root / POINTER).read_text().strip() or None
        except FileNotFoundError:
            return None

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
            raise CorruptIndex(_damaged(name, "a link in place of its folder"))
        manifest = read_manifest(folder)
        for relative, digest in manifest.files.items():
            if _size(f"{folder}/{relative}") != digest.size:
                raise CorruptIndex(_damaged(name, relative))
        return Generation(folder, manifest)

    def names(self) -> list[str]:
        """Names of the published generations, oldest first."""
        if not self.root.is_dir():
            return []
        folders = (path for path in self.root.iterdir() if (path / MANIFEST).is_file())
        return sorted(path.name for path in folders if not path.name.startswith(BUILDING))

    def building(self) -> list[Path]:
        """Folders of builds that have not been published, each complete or not."""
        return sorted(path for path in self.root.glob(f"{BUILDING}*") if path.is_dir())

    def leftovers(self) -> list[Path]:
        """Folders that an interrupted rewriting or pruning left. While :meth:`writing` is held, nobody uses them."""
        return [path for path in self.building() if path.name.startswith(LEFTOVER)]

    def epoch_of(self, folder: Path) -> int:
        """The epoch of the store that a folder was made from; -1 where that cannot be told any more."""
        if not folder.name.startswith(BUILDING):
            return read_manifest(folder).epoch
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
        self._point_to(name)

    def verify(self, generation: Generation) -> None:
        """See :func:`verify_files`."""
        verify_files(generation)

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
        folder = self._leftover()
        digests = {**old.manifest.files, **_write_successor(old, folder, files)}
        counts = {kind: count - removed.get(kind, 0) for kind, count in old.manifest.counts.items()}
        manifest = replace(old.manifest, id=_successor_id(old.manifest.lineage), files=digests, counts=counts)
        successor = self._seal(folder, manifest)
        if self.current_id() == name:
            self._point_to(successor.id)
        self._destroy(old.folder)
        return successor

    def prune(self, keep: int) -> list[str]:
        """Destroy all but the newest ``keep`` generations, never the current one. Returns the names of those gone."""
        names = [name for name in self.names() if name != self.current_id()]
        gone = names[: max(0, len(names) - max(0, keep - 1))]
        for name in gone:
            self._destroy(self.root / name)
        return gone

    def discard(self, name: str) -> None:
        """Destroy a generation without reading it. Raises ``InvalidInput`` if it is the current one."""
        if name == self.current_id():
            raise InvalidInput(f"Index generation {name} is in use: activate another one first.")
        self._destroy(self.root / name)

    def _leftover(self) -> Path:
        return self.root / f"{LEFTOVER}{secrets.token_hex(4)}"

    def _destroy(self, folder: Path) -> None:
        """Destroy a generation. It loses its name first: interrupted, this leaves no generation that is half there."""
        destroy(folder.rename(self._leftover()))

    def _point_to(self, name: str) -> None:
        replace_durably(self.root / POINTER, name.encode() + b"\n")

    def _seal(self, folder: Path, manifest: Manifest) -> Generation:
        write_durably(folder / MANIFEST, orjson.dumps(asdict(manifest), option=orjson.OPT_INDENT_2))
        if self._signer is not None:
            sign_manifest(folder / MANIFEST, self._signer)
        close_off(folder)  # some files were written by libraries, by the umask of the process
        with ThreadPoolExecutor() as disk:  # the disk takes several at once
            list(disk.map(sync_folder, (Path(path) for path, _, _ in os.walk(folder))))
        target = self.root / manifest.id
        folder.rename(target)
        sync_folder(self.root)
        return Generation(target, manifest)


def new_id(epoch: int) -> str:
    """A name that sorts by time of creation."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-e{epoch}"


def _successor_id(lineage: str) -> str:
    """A name that sorts behind that of the build and of earlier successors, and before those of later builds."""
    return f"{lineage}-{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{secrets.token_hex(2)}"


def utc_now() -> str:
    """The present time as ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def read_manifest(folder: Path) -> Manifest:
    """Read and check a manifest. Raises ``CorruptIndex``."""
    try:
        fields = orjson.loads((folder / MANIFEST).read_bytes())
        files = {name: FileDigest(**digest) for name, digest in fields.pop("files").items()}
        manifest = Manifest(files=files, **fields)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        raise CorruptIndex(_damaged(folder.name, MANIFEST)) from None
    if manifest.format != FORMAT:
        raise CorruptIndex(
            f"Index generation {folder.name} has format {manifest.format}, this version reads {FORMAT}: "
            "run `rag-rec index rebuild`."
        )
    return manifest


def verify_files(generation: Generation) -> None:
    """Check the SHA-256 of every file, that none is a link, and that there is none that the manifest does not name.

    Raises:
        CorruptIndex: one does not match, is missing, or is not the generation's own.
    """
    folder, expected = generation.folder, generation.manifest.files
    present = set(relative_files(folder)) - {MANIFEST, SIGNATURE}
    if present - set(expected):
        foreign = sorted(present - set(expected))
        raise CorruptIndex(f"Index generation {generation.id} holds files that are not its own: {foreign}.")
    for relative in expected:
        if relative not in present or (folder / relative).is_symlink():
            raise CorruptIndex(_damaged(generation.id, relative))
    with ThreadPoolExecutor() as disk:  # hashing large blocks leaves the interpreter to others
        found = disk.map(lambda relative: _digest_of(folder / relative), expected)
        for relative, digest in zip(expected, found, strict=True):
            if digest != expected[relative]:
                raise CorruptIndex(_damaged(generation.id, relative))


def _digest_of(path: Path) -> FileDigest | None:
    try:
        return file_digest(path)
    except OSError:
        return None


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
        if _digest_of(old.folder / relative) != old.manifest.files.get(relative):
            raise CorruptIndex(_damaged(old.id, relative))  # the successor would make the damage its own
        files[relative](old.folder / relative, folder / relative)
        return file_digest(folder / relative)

    with ThreadPoolExecutor() as disk:
        return dict(zip(files, disk.map(write, files), strict=True))


def _damaged(name: str, relative: str) -> str:
    return (
        f"Index generation {name} is damaged ({relative} does not match its manifest): "
        "activate another one (`rag-rec index list`) or run `rag-rec index rebuild`."
    )
