"""Overwrites and removes files, and never anything outside the folder that was named.

No link is followed: neither one in place of a file or a folder, nor one on the way to it. A file that has a second
name (a hard link) is not overwritten, since the other name may lie outside; it loses the name that is here.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import repeat
from pathlib import Path
from typing import Final

CHUNK: Final = bytes(1 << 20)
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def destroy(folder: Path) -> None:
    """Overwrite every file of a folder that has no other name, then remove the folder. Of a link, only itself goes."""
    if folder.is_symlink():
        folder.unlink()
        return
    with ThreadPoolExecutor() as disk:  # the disk takes several at once
        for _, _, names, descriptor in os.fwalk(folder, follow_symlinks=False):
            list(disk.map(_overwrite, names, repeat(descriptor)))
    shutil.rmtree(folder)


def overwrite(path: Path, below: Path | None = None) -> None:
    """Replace a file's bytes by zeros, in place and durably, if it is a file and has no other name.

    Args:
        path: the file.
        below: a folder that it lies in: no link on the way from there is followed. Default: its own.

    Raises:
        FileNotFoundError: there is no such file.
    """
    root = below or path.parent
    with suppress(NotADirectoryError), _entered(root, path.parent.relative_to(root)) as folder:
        _overwrite(path.name, folder)


def remove(path: Path, below: Path | None = None) -> None:
    """Overwrite a file, as :func:`overwrite` does, and take its name away. One that is behind a link stays."""
    root = below or path.parent
    with suppress(NotADirectoryError), _entered(root, path.parent.relative_to(root)) as folder:
        _overwrite(path.name, folder)
        os.unlink(path.name, dir_fd=folder)


def _overwrite(name: str, folder: int) -> None:
    if not stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
        return
    descriptor = os.open(name, _FILE, dir_fd=folder)  # an OSError if a link took its place since
    try:
        status = os.fstat(descriptor)
        if stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
            _fill(descriptor, status.st_size)
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _fill(descriptor: int, size: int) -> None:
    written = 0
    while written < size:
        written += os.pwrite(descriptor, CHUNK[: size - written], written)


@contextmanager
def _entered(root: Path, relative: Path) -> Iterator[int]:
    """A descriptor of a folder below another one. Raises ``NotADirectoryError`` where a link is on the way."""
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in relative.parts:
            inner = _enter(part, descriptor)
            os.close(descriptor)
            descriptor = inner
        yield descriptor
    finally:
        os.close(descriptor)


def _enter(part: str, folder: int) -> int:
    return os.open(part, _FOLDER, dir_fd=folder)
