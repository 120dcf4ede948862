"""Slashes in identifiers. An encoded one (``%2F``) belongs to an identifier, and is never read as a separator.

Servers decode an address before routes are looked up, and then nobody could tell ``/v1/users/a%2Fhold`` from
``/v1/users/a/hold``. Hence an encoded slash goes through the routes as a character that no address can contain.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_to_bytes

from starlette.types import Scope

STAND_IN: Final = "\x00"
"""Control characters in addresses are refused before (:mod:`serving.observation`)."""

_ENCODED_SLASH: Final = re.compile(rb"%2f", re.IGNORECASE)


def keep_slashes(scope: Scope) -> None:
    """Put stand-ins in the place of encoded slashes in the path; the server must give it raw, too."""
    raw, found = _ENCODED_SLASH.subn(b"%00", scope.get("raw_path") or b"")
    if found:
        scope["path"] = unquote_to_bytes(raw).decode()


def restore_slashes(scope: Scope) -> None:
    """Make slashes of the stand-ins in the parameters of the route that was found."""
    scope["path_params"] = {name: value.replace(STAND_IN, "/") for name, value in scope["path_params"].items()}
