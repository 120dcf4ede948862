"""What a caller may see of an error. Messages name files and servers for the operator, who finds them in the
log; to a caller of any role they would tell about the inside.
"""

from __future__ import annotations

import errno
import re
from pathlib import Path
from typing import Final

from rag_rec.errors import DiskFull, RagRecError, StoreAway
from rag_rec.settings import Settings
from serving.descriptors import is_exhausted
from serving.errors import INTERNAL, Overloaded

_REST: Final = r"[^\s'\",;()]*"
_PLACE: Final = re.compile(
    rf"\w[\w+.-]*://{_REST}"  # a server, a database
    rf"|(?<![\w.:/%}}~])(?:~|\.{{1,2}})?/(?!v1/|openapi\.json|healthz|readyz|metrics){_REST[:-1]}+"
)
"""Addresses of the interface are none of the service's places."""

HIDDEN: Final = "[see the log]"

_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_BROKEN_DISK: Final = frozenset({errno.EIO, errno.EROFS, errno.ESTALE})


class Disclosure:
    """Decides what callers see.

    Args:
        settings: say where the service keeps what it has.
    """

    def __init__(self, settings: Settings) -> None:
        named = (settings.home, settings.ledger_copy, settings.generator_model)
        names = {str(name) for name in named if name is not None} | {str(settings.home.resolve())}
        relative = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True) if name != ".")
        self._own = re.compile(rf"(?<![\w/.])(?:{relative})(?=/){_REST}|(?<![\w.])(?:{relative})(?![\w-])")

    def of(self, error: BaseException) -> RagRecError:
        """The error that a caller sees. It is ``error`` itself where that tells nothing about the inside."""
        failed = not isinstance(error, RagRecError) or error.status == RagRecError.status
        if failed and is_exhausted(error):
            return Overloaded("The service has too many files open; try again after the seconds in Retry-After.")
        if not isinstance(error, RagRecError):
            return of_disk(error) or RagRecError(INTERNAL)
        message = self.without_places(str(error))
        return error if message == str(error) else _with_message(error, message)

    def without_places(self, message: str) -> str:
        """A message without the service's files and servers."""
        return _PLACE.sub(HIDDEN, self._own.sub(HIDDEN, message))


def of_disk(error: BaseException) -> RagRecError | None:
    """The error that says that a disk is full or broken; None for any other."""
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        return DiskFull("The disk of the data folder is full. Try again when there is room; the log names the folder.")
    if isinstance(error, OSError) and error.errno in _BROKEN_DISK:
        return StoreAway("The disk of the data folder cannot be used at present; the log names the folder.")
    return None


def folder_of(error: OSError) -> str:
    """The folder in which a file could not be written: files are named by no person."""
    return str(Path(str(error.filename)).parent) if error.filename is not None else "unknown"


def _with_message(error: RagRecError, message: str) -> RagRecError:
    shown = RagRecError(message)
    shown.code, shown.status = error.code, error.status
    return shown
