"""Slashes in addresses. A plain one always separates; an encoded one (``%2F``) always belongs to an identifier.

Servers decode an address before routes are looked up, which would make ``/v1/users/a%2Fhold`` and
``/v1/users/a/hold`` the same. Hence an encoded slash goes through the routes as a character that no address can
contain.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_to_bytes

from starlette.convertors import Convertor, register_url_convertor
from starlette.types import Scope

STAND_IN: Final = "\x00"
"""Control characters in addresses are refused before (:mod:`serving.observation`)."""


class _Segment(Convertor[str]):
    """An identifier between two slashes. An empty one reaches its route, which says what is wrong with it."""

    regex = "[^/]*"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


class _Request(_Segment):
    """The id of a forget request; ``/v1/forget/find`` is another address."""

    regex = "(?!find$)[^/]*"


register_url_convertor("id", _Segment())
register_url_convertor("request", _Request())

_ENCODED_SLASH: Final = re.compile(rb"%2f", re.IGNORECASE)


def keep_slashes(scope: Scope) -> None:
    """Put stand-ins in the place of encoded slashes in the path; the server must give it raw, too."""
    raw, found = _ENCODED_SLASH.subn(b"%00", scope.get("raw_path") or b"")
    if found:
        scope["path"] = unquote_to_bytes(raw).decode()


def restore_slashes(scope: Scope) -> None:
    """Make slashes of the stand-ins in the parameters of the route that was found."""
    scope["path_params"] = {name: value.replace(STAND_IN, "/") for name, value in scope["path_params"].items()}
