"""The commands ``rag-rec ledger verify`` and ``rag-rec ledger export``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from rag_rec.cli import Json, command
from rag_rec.errors import BrokenLedger
from rag_rec.forgetting.ledger import LedgerFile, verify_chain
from rag_rec.home import store_of
from rag_rec.keys import open_signer
from rag_rec.settings import Settings
from rag_rec.store.protocol import LedgerEntry

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
    store = store_of(settings)
    try:
        entries = store.ledger()
    finally:
        store.close()
    verify_chain(entries, open_signer(settings).verifier)
    return entries


def _compare(entries: list[LedgerEntry], copy: LedgerFile) -> None:
    copied = copy.read()
    shared = min(len(entries), len(copied))
    if entries[:shared] != copied[:shared]:
        raise BrokenLedger(
            f"The ledger in {copy.path} differs from the store's: one of them was changed or is foreign."
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
