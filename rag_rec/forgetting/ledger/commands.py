"""The commands ``rag-rec ledger verify`` and ``rag-rec ledger export``."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer

from rag_rec.cli import Json, command
from rag_rec.errors import BrokenLedger
from rag_rec.forgetting.ledger.chain import verify_chain
from rag_rec.forgetting.ledger.file import LedgerFile
from rag_rec.home import store_without_keys
from rag_rec.keys import existing_signer
from rag_rec.settings import Settings
from rag_rec.store.records import LedgerEntry

app = typer.Typer()
ledger = typer.Typer(help="Check and copy the signed ledger of erasures.", no_args_is_help=True)
app.add_typer(ledger, name="ledger")

Copy = Annotated[Path | None, typer.Option("--file", help="The copy to compare. Default: the system's own.")]


@ledger.command("verify")
@command
def verify(file: Copy = None, json: Json = False) -> Mapping[str, Any]:  # noqa: ARG001 - read by the wrapper
    """Check the chain and every signature of the store's ledger, and that the copy in a file is the same."""
    settings = Settings()
    copy = LedgerFile(file or settings.ledger_file)
    entries = _verified(settings)
    _compare(entries, copy)
    return _result(entries, copy)


@ledger.command("export")
@command
def export(file: Path, json: Json = False) -> Mapping[str, Any]:  # noqa: ARG001 - read by the wrapper
    """Write the store's ledger to a file, or bring a file that was exported before up to date."""
    copy = LedgerFile(file)
    entries = _verified(Settings())
    copy.extend(entries)
    return _result(entries, copy)


def _verified(settings: Settings) -> list[LedgerEntry]:
    with closing(store_without_keys(settings)) as store:
        entries = store.ledger()
    if entries:  # a system that has signed nothing may have no key yet
        verify_chain(entries, existing_signer(settings).verifier)
    return entries


def _compare(entries: list[LedgerEntry], copy: LedgerFile) -> None:
    copied = copy.read()
    shared = min(len(entries), len(copied))
    differing = next((ours for ours, theirs in zip(entries, copied, strict=False) if ours != theirs), None)
    if differing:
        raise BrokenLedger(
            f"The ledger in {copy.path} differs from the store's, which is sound, from entry {differing.sequence} on: "
            "the file was changed or is foreign. Move it away as evidence, and write a new one with `rag-rec ledger "
            "export`."
        )
    if len(copied) > shared:
        raise BrokenLedger(
            f"The store's ledger lacks {len(copied) - shared} entries that {copy.path} has: the store was cut or "
            "restored. Restore it with `rag-rec restore`, which replays them."
        )
    if len(entries) > shared:
        raise BrokenLedger(
            f"{copy.path} lacks the newest {len(entries) - shared} entries of the store's ledger: "
            "`rag-rec forget resume` or `rag-rec ledger export` adds them."
        )


def _result(entries: list[LedgerEntry], copy: LedgerFile) -> dict[str, Any]:
    return {"ok": True, "entries": len(entries), "digest": copy.tip().digest, "file": str(copy.path)}
