"""The commands ``rag-rec receipt show | verify | key``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from rag_rec.cli import Json, command
from rag_rec.errors import InvalidInput, NotReady, UnknownRequest
from rag_rec.forgetting.receipt import check_receipt, read_receipt
from rag_rec.forgetting.signing import Verifier
from rag_rec.home import store_of
from rag_rec.keys import open_signer
from rag_rec.settings import Settings

app = typer.Typer()
receipt = typer.Typer(help="Show and check the signed receipts of forget requests.", no_args_is_help=True)
app.add_typer(receipt, name="receipt")

To = Annotated[Path | None, typer.Option("--to", help="Write it to this file, byte for byte.")]
Key = Annotated[Path | None, typer.Option("--key", help="The public key in PEM. Default: this system's own.")]


@receipt.command("show")
@command
def show(request: str, to: To = None, json: Json = False) -> Mapping[str, Any]:
    """Show the latest receipt of a forget request. A file that --to writes can be verified anywhere."""
    text = _receipt_of(request)
    if to is not None:
        _write(to, text)
    document = read_receipt(text)
    raw = {"receipt": text} if json else {}
    return _summary(document) | {"complete": document["complete"], "written": to and str(to)} | raw


@receipt.command("verify")
@command
def verify(
    file: Path,
    key: Key = None,
    json: Json = False,  # noqa: ARG001 - read by the wrapper
) -> Mapping[str, Any]:
    """Check a receipt: whole, signed with the key, and what it says of each layer. With --key it needs nothing else."""
    text = _read(file).removesuffix("\n")
    verifier = open_signer(Settings()).verifier if key is None else Verifier.from_pem(_read(key))
    verdict = check_receipt(text, verifier)
    verdict_rows = {
        "ok": verdict.valid,
        "valid": verdict.valid,
        "complete": verdict.complete,
        "problems": list(verdict.problems),
        "open": list(verdict.open),
    }
    return verdict_rows | (_summary(verdict.document) if verdict.document else {})


@receipt.command("key")
@command
def key(to: To = None, json: Json = False) -> Mapping[str, Any]:  # noqa: ARG001 - read by the wrapper
    """Show the public key. Give it to whoever shall be able to check receipts."""
    signer = open_signer(Settings())
    if to is not None:
        _write(to, signer.public_pem)
    return {"key": signer.key_id, "public_key": signer.public_pem, "written": to and str(to)}


def _receipt_of(request: str) -> str:
    store = store_of(Settings())
    try:
        record = store.forget_record(request)
    finally:
        store.close()
    if record is None:
        raise UnknownRequest("There is no such forget request: `rag-rec forget list` lists them.")
    if record.receipt is None:
        raise NotReady("This request has no receipt yet: `rag-rec forget resume` finishes it.")
    return record.receipt


def _summary(document: Mapping[str, Any]) -> dict[str, Any]:
    shown = ("request", "revision", "subject", "scope", "state", "issued", "deadline", "key")
    layers = [{name: line[name] for name in ("layer", "status", "until", "why")} for line in document["layers"]]
    return {**{name: document[name] for name in shown}, "layers": layers}


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except (OSError, UnicodeDecodeError):
        raise InvalidInput(f"{path} cannot be read as text: name the file that was meant.") from None


def _write(path: Path, text: str) -> None:
    try:
        path.write_bytes(text.encode())
    except OSError as error:
        raise InvalidInput(f"{path} cannot be written ({error.strerror}): name another file.") from None
