"""What a caller may see of an error. Messages name files and servers for whoever runs the service, who finds them in
the log; to a caller of any role they would tell about the inside.
"""

from __future__ import annotations

import re
from typing import Final

from rag_rec.errors import RagRecError
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
        known = isinstance(error, RagRecError)
        if (not known or error.status == RagRecError.status) and is_exhausted(error):
            return Overloaded("The service has too many files open; try again after the seconds in Retry-After.")
        if not isinstance(error, RagRecError):
            return RagRecError(INTERNAL)
        message = self.without_places(str(error))
        return error if message == str(error) else _with_message(error, message)

    def without_places(self, message: str) -> str:
        """A message without the service's files and servers."""
        return _PLACE.sub(HIDDEN, self._own.sub(HIDDEN, message))


def _with_message(error: RagRecError, message: str) -> RagRecError:
    shown = RagRecError(message)
    shown.code, shown.status = error.code, error.status
    return shown
