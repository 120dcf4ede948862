"""The commands ``rag-rec key new`` and ``rag-rec key list``."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from rag_rec.artifacts.private import make_private_folder, replace_durably
from rag_rec.commands.app import command
from rag_rec.errors import InvalidInput
from rag_rec.settings import Settings
from serving.auth import Keyring, Role, fingerprint
from serving.key_file import read_keys

app = typer.Typer()
keys = typer.Typer(help="API keys of the HTTP interface.", no_args_is_help=True)
app.add_typer(keys, name="key")


@keys.command("new")
@command
def new(
    role: Annotated[list[Role], typer.Option(help="What the key may do; may be given several times.")],
) -> Mapping[str, Any]:
    """Make a random API key, add it to RAGREC_API_KEYS_FILE where that is set, and print it, this once."""
    key, roles = secrets.token_urlsafe(32), sorted(dict.fromkeys(each.value for each in role))
    file = Settings().api_keys_file
    if file is not None:
        _add(file, key, roles)
    done = {"key": key, "fingerprint": fingerprint(key.encode()), "roles": roles}
    if file is None:
        return {**done, "next": f"export RAGREC_API_KEYS='{orjson.dumps({key: roles}).decode()}'"}
    return {**done, "file": str(file)}


@keys.command("list")
@command
def list_keys() -> Mapping[str, Any]:
    """Fingerprints and roles of the keys that are configured; `rag-rec audit list` names keys by fingerprint."""
    settings = Settings()
    held = dict(settings.api_keys)
    if settings.api_keys_file is not None:
        held |= read_keys(settings.api_keys_file)
    described = Keyring.from_settings(held).described()
    return {"keys": [{"fingerprint": name, "roles": roles} for name, roles in described]}


def _add(file: Path, key: str, roles: list[str]) -> None:
    held = {each.get_secret_value(): names for each, names in read_keys(file).items()} if file.exists() else {}
    try:
        make_private_folder(file.parent)
        replace_durably(file, orjson.dumps({**held, key: roles}, option=orjson.OPT_INDENT_2) + b"\n")
    except OSError as error:
        raise InvalidInput(f"RAGREC_API_KEYS_FILE ({file}) cannot be written: {error.strerror}.") from None
