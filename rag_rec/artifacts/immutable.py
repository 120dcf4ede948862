"""Immutable folders: written aside, sealed, renamed, never changed, and destroyed; and the pointer to those in use.

A folder is written under a name that begins with ``building-``. It loses that name in one step when all of it is on the
disk, so that no reader finds half of one. It is put to use by the replacement of one small file, the pointer.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from rag_rec.artifacts.destruction import destroy
from rag_rec.artifacts.digests import MANIFEST, content_digest, digest_files
from rag_rec.artifacts.private import FILE_MODE, close_off, make_private_folder, replace_durably, sync_folder
from rag_rec.errors import Busy

POINTER: Final = "CURRENT"
BUILDING: Final = "building-"
"""Begins the names of folders that have not been published."""
LEFTOVER: Final = f"{BUILDING}rewriting-"
"""Begins the names of folders of a rewriting: its successor until that is complete, the original from then on."""
LOCK_SECONDS: Final = 60.0


class Publication:
    """A folder in which immutable folders are published: its lock, and its pointer to those in use.

    Args:
        root: the folder.
        what: is published in it, for a message.
    """

    def __init__(self, root: Path, what: str) -> None:
        self.root = root
        self._what = what
        self._lock = FileLock(root / ".lock", timeout=LOCK_SECONDS, mode=FILE_MODE)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the lock that publishing and removing take, across processes. Raises ``Busy`` when it stays taken."""
        make_private_folder(self.root)
        try:
            with self._lock:
                yield
        except Timeout:
            raise Busy(f"Another process is publishing {self._what}; try again when it has finished.") from None

    def pointer(self) -> bytes | None:
        """What the pointer says; None where there is none."""
        try:
            return (self.root / POINTER).read_bytes()
        except FileNotFoundError:
            return None

    def point_to(self, content: bytes) -> None:
        """Put something else to use, in one step that is on the disk when this returns."""
        replace_durably(self.root / POINTER, content)


class Folders:
    """The immutable folders below one folder, ``root``."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def names(self) -> list[str]:
        """Names of all that are published, sorted."""
        if not self.root.is_dir():
            return []
        folders = (path for path in self.root.iterdir() if path.is_dir())
        return sorted(path.name for path in folders if not path.name.startswith(BUILDING))

    def building(self) -> list[Path]:
        """Folders that have not been published, each complete or not."""
        return sorted(path for path in self.root.glob(f"{BUILDING}*") if path.is_dir())

    def leftovers(self) -> list[Path]:
        """Folders that an interrupted rewriting or removal left. While the lock is held, they are not in use."""
        return [path for path in self.building() if path.name.startswith(LEFTOVER)]

    def leftover(self) -> Path:
        """A folder that there is not yet, for a rewriting."""
        return self.root / f"{LEFTOVER}{secrets.token_hex(4)}"

    @contextmanager
    def aside(self) -> Iterator[Path]:
        """A folder to write into, gone afterwards unless it has been published."""
        folder = self.root / f"{BUILDING}{secrets.token_hex(4)}"
        make_private_folder(folder)
        try:
            yield folder
        finally:
            if folder.exists():
                destroy(folder)

    def publish(self, folder: Path, name: str, *, sync_files: bool = False) -> Path:
        """Close a finished folder to others, wait until it is on the disk, and give it its name.

        Args:
            folder: the folder.
            name: that no other has.
            sync_files: wait for the files too, of which some may have been written by libraries.
        """
        _settle(folder, sync_files=sync_files)
        target = folder.rename(self.root / name)
        sync_folder(self.root)
        return target

    def publish_content(self, folder: Path, digest: str) -> Path:
        """Publish a finished folder under the digest of its content. Where the same content has that name, readers may
        be using it: only the manifest changes. Damaged content is replaced."""
        target = self.root / digest
        if not target.exists():
            return self.publish(folder, digest, sync_files=True)
        if content_digest(digest_files(target)) != digest:
            destroy(target)
            return self.publish(folder, digest, sync_files=True)
        _settle(folder, sync_files=True)
        (folder / MANIFEST).replace(target / MANIFEST)
        sync_folder(target)
        return target

    def destroy(self, name: str) -> None:
        """Destroy a folder. It loses its name first: interrupted, this leaves none that is published and half there."""
        destroy((self.root / name).rename(self.leftover()))


def surplus(names: Sequence[str], keep: int, used: str | None) -> list[str]:
    """Those of the names, oldest first, that are neither in use nor among the newest ``keep`` with it."""
    others = [name for name in names if name != used]
    return others[: max(0, len(others) - max(0, keep - (used in names)))]


def _settle(folder: Path, *, sync_files: bool) -> None:
    close_off(folder)  # some files are written by libraries, by the umask of the process
    walked = os.walk(folder)
    paths = (Path(path, name) for path, _, files in walked for name in ("", *(files if sync_files else ())))
    with ThreadPoolExecutor() as disk:  # the disk takes several at once
        list(disk.map(sync_folder, paths))
