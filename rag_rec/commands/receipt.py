"""The commands ``rag-rec receipt show | verify | key``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from rag_rec.commands.app import command
from rag_rec.commands.printing import Answer
from rag_rec.commands.receipt_words import short, words
from rag_rec.engine.system import signer_of
from rag_rec.errors import InvalidInput, NotReady
from rag_rec.forgetting.receipts.document import check_receipt, read_receipt
from rag_rec.forgetting.receipts.records import record_of
from rag_rec.home.keys import existing_signer
from rag_rec.home.opening import existing_store_of
from rag_rec.identity.signing import Verifier
from rag_rec.settings import Settings

app = typer.Typer()
receipt = typer.Typer(help="Show and check the signed receipts of forget requests.", no_args_is_help=True)
app.add_typer(receipt, name="receipt")

To = Annotated[Path | None, typer.Option("--to", help="Write it to this file, byte for byte.")]
SHOWN: Final = ("request", "batch", "revision", "supersedes", "subject", "scope", "removed", "state")
WHEN: Final = ("accepted", "issued", "deadline")

Key = Annotated[Path | None, typer.Option("--key", help="The public key in PEM. Default: this system's own.")]


@receipt.command("show")
@command
def show(request: str, to: To = None) -> Mapping[str, Any]:
    """Show the latest receipt of a forget request. A file that --to writes can be verified anywhere."""
    text = _receipt_of(request)
    if to is not None:
        _write(to, text)
    document = read_receipt(text)
    shown = _summary(document) | {"complete": document["complete"], "written": to and str(to)}
    return Answer(shown | {"receipt": text}, short(document, to) if to else words(document))


@receipt.command("verify")
@command
def verify(file: Path, key: Key = None) -> Mapping[str, Any]:
    """Check a receipt: whole, signed with the key, and what it says of each layer. With --key it needs nothing else."""
    text = _read(file).removesuffix("\n")
    verifier = existing_signer(Settings()).verifier if key is None else Verifier.from_pem(_read(key))
    verdict = check_receipt(text, verifier)
    answer = {
        "ok": verdict.valid,
        "valid": verdict.valid,
        "complete": verdict.complete,
        "problems": list(verdict.problems),
        "open": list(verdict.open),
        "later": list(verdict.later),
    }
    if verdict.document is None:
        return Answer(answer, _wrong(verdict.problems))
    told = answer | words(verdict.document) if verdict.valid else _wrong(verdict.problems)
    return Answer(answer | _summary(verdict.document), told)


@receipt.command("key")
@command
def key(to: To = None) -> Mapping[str, Any]:
    """Show the public key. Give it to everyone who checks receipts."""
    settings = Settings()
    with closing(existing_store_of(settings)) as store:
        signer = signer_of(settings, store)
    if to is not None:
        _write(to, signer.public_pem)
    shown = {"key": signer.key_id, "public_key": signer.public_pem}
    told = {**shown, "public_key": signer.public_pem.rstrip("\n")} | ({"written": str(to)} if to else {})
    return Answer(shown | {"written": to and str(to)}, told)


def _receipt_of(request: str) -> str:
    with closing(existing_store_of(Settings())) as store:
        record = record_of(store, request)
    if record.receipt is None:
        raise NotReady("This request has no receipt yet: `rag-rec forget resume` finishes it.")
    return record.receipt


def _summary(document: Mapping[str, Any]) -> dict[str, Any]:
    layers = [
        {name: line[name] for name in ("layer", "status", "until", "why", "detail")} for line in document["layers"]
    ]
    return {**{name: document[name] for name in (*SHOWN, *WHEN, "key", "twin")}, "layers": layers}


def _wrong(problems: Sequence[str]) -> dict[str, Any]:
    return {"valid": False, "problems": list(problems)}


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
