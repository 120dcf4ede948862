"""The system's two keys: the one that pseudonyms are made with, and the one that signs receipts and the ledger.

They are given by the settings or, where they are not, made once and kept in files that only their owner can read; a
file that others can read is refused. Keep
a copy of them, apart from the store: without the first, people who were forgotten could come back unnoticed, and people
on legal hold could be forgotten. A key that is lost is never replaced: one is made only where neither the store nor the
copy of the ledger needs an earlier one.
"""

from __future__ import annotations

import base64
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from rag_rec.artifacts.private import check_private, make_private_folder, sync_folder
from rag_rec.errors import WrongKey
from rag_rec.identity.pseudonyms import Pseudonyms
from rag_rec.identity.signing import Signer
from rag_rec.settings import Settings
from rag_rec.store.seals import needs_keys

_KEY_BYTES: Final = 32


def open_pseudonyms(settings: Settings) -> Pseudonyms:
    """The pseudonyms of a system. Their key is made where the system is new.

    Raises:
        WrongKey: the key is not 32 bytes in base64, its file cannot be used, or it is lost.
    """
    _make_where_new(settings, "pseudonym", settings.pseudonym_key)
    return existing_pseudonyms(settings)


def open_signer(settings: Settings) -> Signer:
    """The signer of a system. Its key is made where the system is new.

    Raises:
        WrongKey: the key is not 32 bytes in base64, its file cannot be used, or it is lost.
    """
    _make_where_new(settings, "signing", settings.signing_key)
    return existing_signer(settings)


def existing_pseudonyms(settings: Settings) -> Pseudonyms:
    """The pseudonyms of a system that has its key already. Makes none. Raises ``WrongKey``."""
    return Pseudonyms(_key(settings, "pseudonym", settings.pseudonym_key))


def existing_signer(settings: Settings) -> Signer:
    """The signer of a system that has its key already. Makes none. Raises ``WrongKey``."""
    return Signer(_key(settings, "signing", settings.signing_key))


def key_places(settings: Settings) -> dict[str, str | None]:
    """Where each of the keys comes from: the name of a setting, or a file; None where there is none yet."""
    given = {"pseudonym": settings.pseudonym_key, "signing": settings.signing_key}
    places: dict[str, str | None] = {}
    for name, key in given.items():
        path = _path(settings, name)
        places[name] = _variable(name) if key is not None else str(path) if path.exists() else None
    return places


def _key(settings: Settings, name: str, given: SecretStr | None) -> bytes:
    if given is not None:
        return _decoded(given.get_secret_value(), _variable(name))
    path = _path(settings, name)
    try:
        check_private(path, f"the {name} key")
        return _decoded(path.read_text(encoding="ascii", errors="replace"), str(path))
    except FileNotFoundError:
        raise _lost(path, name) from None
    except OSError as error:
        raise _unusable(path, name, error) from None


def _make_where_new(settings: Settings, name: str, given: SecretStr | None) -> None:
    path = _path(settings, name)
    try:
        if given is not None or path.exists():
            return
        if needs_keys(settings.database_url) or _holds_bytes(settings.ledger_file):
            raise _lost(path, name)
        _make(path)
    except OSError as error:
        raise _unusable(path, name, error) from None


def _holds_bytes(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def _path(settings: Settings, name: str) -> Path:
    given = {"pseudonym": settings.pseudonym_key_file, "signing": settings.signing_key_file}[name]
    return given or settings.keys / f"{name}.key"


def _variable(name: str) -> str:
    return f"RAGREC_{name.upper()}_KEY"


def _lost(path: Path, name: str) -> WrongKey:
    return WrongKey(
        f"There is no {name} key: put {path} back from its safe copy, or set {_variable(name)}. A new one would not do "
        "for what was written under the old one, so none was made."
    )


def _unusable(path: Path, name: str, error: OSError) -> WrongKey:
    return WrongKey(f"{path} cannot be used ({error.strerror}): check its rights, or set {_variable(name)}.")


def _decoded(text: str, place: str) -> bytes:
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except ValueError:
        key = b""
    if len(key) != _KEY_BYTES:
        raise WrongKey(f"{place} does not hold {_KEY_BYTES} bytes in base64: put the key back from its safe copy.")
    return key


def _make(path: Path) -> None:
    """Make a key, unless another process does so first. Whoever reads the file finds it whole, and never changed."""
    make_private_folder(path.parent)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(base64.b64encode(secrets.token_bytes(_KEY_BYTES)) + b"\n")
            stream.flush()
            os.fsync(stream.fileno())
        with suppress(FileExistsError):
            os.link(draft, path)  # unlike a rename, it never replaces a key that is there
    finally:
        draft.unlink()
    sync_folder(path.parent)
