"""The system's two keys: the one that pseudonyms are made with, and the one that signs receipts and the ledger.

They are given by the settings or, where they are not, made once and kept in files that only their owner can read. Keep
a copy of them, apart from the store: without the first, people who were forgotten could come back unnoticed.
"""

from __future__ import annotations

import base64
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from rag_rec.errors import WrongKey
from rag_rec.forgetting.signing import Signer
from rag_rec.generation import sync_folder
from rag_rec.pseudonyms import Pseudonyms
from rag_rec.settings import Settings

_KEY_BYTES: Final = 32


def open_pseudonyms(settings: Settings) -> Pseudonyms:
    """The pseudonyms of a system.

    Raises:
        WrongKey: the key is not 32 bytes in base64, or its file cannot be used.
    """
    return Pseudonyms(_key(settings, "pseudonym", settings.pseudonym_key))


def open_signer(settings: Settings) -> Signer:
    """The signer of a system.

    Raises:
        WrongKey: the key is not 32 bytes in base64, or its file cannot be used.
    """
    return Signer(_key(settings, "signing", settings.signing_key))


def _key(settings: Settings, name: str, given: SecretStr | None) -> bytes:
    variable = f"RAGREC_{name.upper()}_KEY"
    if given is not None:
        return _decoded(given.get_secret_value(), variable)
    path = settings.keys / f"{name}.key"
    try:
        if not path.exists():
            _make(path)
        return _decoded(path.read_text(encoding="ascii", errors="replace"), str(path))
    except OSError as error:
        raise WrongKey(f"{path} cannot be used ({error.strerror}): check its rights, or set {variable}.") from None


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
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
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
