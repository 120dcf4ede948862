"""API keys in a file: read at the start, and again whenever the file has changed, so that no restart is needed."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import orjson
from pydantic import SecretStr
from starlette.requests import Request

from rag_rec.artifacts.private import check_private
from rag_rec.errors import InvalidInput, RagRecError
from rag_rec.forgetting.audit.actor import Actor
from rag_rec.settings import Settings
from serving.auth import Keyring, Role
from serving.logs import Log

MOST_BYTES: Final = 1 << 20

Stamp = tuple[int, int, int, int] | None
"""Tells one state of a file from another; None where there is no file."""


def open_keyring(settings: Settings, log: Log) -> Keyring:
    """The keys of the settings and of the file that they name.

    Raises:
        InvalidInput: there is no key, or the file cannot be read, or a key cannot be used.
        WrongKey: others than its owner can read or change the file.
    """
    if settings.api_keys_file is None:
        return Keyring.from_settings(settings.api_keys)
    return FollowedKeyring(settings.api_keys_file, settings.api_keys, log)


class FollowedKeyring(Keyring):
    """Keys that follow a file. One that cannot be used changes nothing: the keys stay, and the log says so."""

    def __init__(self, path: Path, given: Mapping[SecretStr, list[str]], log: Log) -> None:
        """Read the file. ``given`` are keys beside those in it. Raises as :func:`open_keyring`."""
        self._path = path
        self._given = given
        self._log = log
        self._turn = threading.Lock()
        self._seen = _stamp(path)
        self._now = self._read()

    def authorise(self, request: Request, role: Role | None) -> Actor:
        """See :meth:`Keyring.authorise`."""
        self._follow()
        return self._now.authorise(request, role)

    def described(self) -> list[tuple[str, list[str]]]:
        """See :meth:`Keyring.described`."""
        return self._now.described()

    def _follow(self) -> None:
        stamp = _stamp(self._path)
        if stamp == self._seen:
            return
        with self._turn:
            self._seen = stamp
            try:
                self._now = self._read()
                self._log.info("api_keys_read", keys=len(self._now.described()))
            except RagRecError as error:
                self._log.error("api_keys_unusable", code=error.code, message=str(error))

    def _read(self) -> Keyring:
        return Keyring.from_settings({**self._given, **read_keys(self._path)})


def read_keys(path: Path) -> dict[SecretStr, list[str]]:
    """The keys in a file, and their roles.

    Raises:
        InvalidInput: it cannot be read, or is not JSON of keys and roles. What is in it is not repeated.
        WrongKey: others than its owner can read or change it.
    """
    try:
        check_private(path, "API keys")
        with path.open("rb") as stream:
            content = stream.read(MOST_BYTES + 1)
        found = orjson.loads(content) if len(content) <= MOST_BYTES else None
    except OSError as error:
        raise InvalidInput(f"RAGREC_API_KEYS_FILE ({path}) cannot be read: {error.strerror}.") from None
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict) or not all(map(_is_list_of_roles, found.values())):
        raise InvalidInput(
            f'RAGREC_API_KEYS_FILE ({path}) is not JSON such as {{"KEY": ["recommend", "ingest"]}}, of 1 MiB at most: '
            "`rag-rec key new` writes it."
        )
    return {SecretStr(key): roles for key, roles in found.items()}


def _is_list_of_roles(found: Any) -> bool:
    return isinstance(found, list) and all(isinstance(role, str) for role in found)


def _stamp(path: Path) -> Stamp:
    try:
        status = os.stat(path)  # noqa: PTH116 - at every request
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size
