"""Files and folders that only their owner can read, whatever the umask, and the check that keys are such files.

Everything below ``RAGREC_HOME`` holds people, keys, or what was made from people. It is written with
:data:`FILE_MODE` and :data:`FOLDER_MODE`; what an earlier version left open is closed when the system is opened.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from rag_rec.errors import Insecure, WrongKey

FILE_MODE: Final = 0o600
FOLDER_MODE: Final = 0o700
OTHERS: Final = 0o077
"""The permission bits of the group and of everybody else."""


def make_private_folder(folder: Path) -> None:
    """Make a folder, and those above it that are missing, for the owner alone. One that exists stays as it is."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(mode=FOLDER_MODE, exist_ok=True)


def private_opener(path: str, flags: int) -> int:
    """The ``opener`` of :func:`open` for a file that only its owner can read, be it new or not.

    Raises:
        OSError: the file is another user's, and others can read it.
    """
    descriptor = os.open(path, flags, FILE_MODE)
    if os.fstat(descriptor).st_mode & OTHERS:
        try:
            os.fchmod(descriptor, FILE_MODE)
        except OSError:
            os.close(descriptor)
            raise
    return descriptor


def write_durably(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read, and wait until it is on the disk.

    Raises:
        OSError: it cannot be written, or is a link: what that leads to is not ours to change.
    """
    with open(path, "wb", opener=_opener_of_no_link) as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def replace_durably(path: Path, content: bytes) -> None:
    """Put a file in the place of the one that may be there, in one step: a reader finds the old one or the new one,
    whole. Raises ``OSError`` as :func:`write_durably` does."""
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    write_durably(aside, content)
    aside.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Wait until a folder's entries, or a file's content, are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _opener_of_no_link(path: str, flags: int) -> int:
    return private_opener(path, flags | os.O_NOFOLLOW)


def close_off(path: Path, *, inside: bool = True) -> None:
    """Take the rights of others from a file, or from a folder and all that is ``inside``. Links are left alone.

    Raises:
        Insecure: something is open to others and belongs to another user, who alone can close it.
    """
    for each, mode in _below(path) if inside else _mode(path):
        if mode & OTHERS and not stat.S_ISLNK(mode):
            _close(each, mode)


def check_private(path: Path, what: str) -> None:
    """Raise ``WrongKey`` if others than the owner can read or change a file of secrets; ``OSError`` if there is none.

    Args:
        path: the file; a link is followed, as reading it would.
        what: of the file, for the message.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        return
    if status.st_mode & OTHERS:
        raise WrongKey(
            f"{path} ({what}) can be read or changed by other users (mode {stat.S_IMODE(status.st_mode):04o}), so it "
            f"may be known to them: run `chmod 600 {path}`, and replace what is in it if anybody else had access."
        )
    user = os.geteuid()
    if user and status.st_uid not in {0, user}:
        raise WrongKey(
            f"{path} ({what}) belongs to another user, who can change it: run `chown {user} {path}` as root."
        )


def _below(path: Path) -> Iterator[tuple[Path, int]]:
    yield from _mode(path)
    if path.is_symlink():
        return
    for folder, names, files in os.walk(path):
        for name in (*names, *files):
            yield from _mode(Path(folder, name))


def _mode(path: Path) -> Iterator[tuple[Path, int]]:
    try:
        yield path, path.lstat().st_mode
    except FileNotFoundError:  # another process removed it meanwhile
        return


def _close(path: Path, mode: int) -> None:
    try:
        path.chmod(stat.S_IMODE(mode) & ~OTHERS)
    except FileNotFoundError:
        return
    except OSError:
        raise Insecure(
            f"{path} can be read or changed by other users (mode {stat.S_IMODE(mode):04o}) and belongs to another "
            f"one, so that its rights cannot be changed: run `chmod -R go= {path}` as its owner."
        ) from None
