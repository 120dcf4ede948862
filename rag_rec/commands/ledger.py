"""The commands ``rag-rec ledger verify`` and ``rag-rec ledger export``."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer

from rag_rec.commands.app import command
from rag_rec.forgetting.ledger.comparison import compare, verified
from rag_rec.forgetting.ledger.file import LedgerFile
from rag_rec.home.opening import store_without_keys
from rag_rec.settings import Settings
from rag_rec.store.records import LedgerEntry

app = typer.Typer()
ledger = typer.Typer(help="Check and copy the signed ledger of erasures.", no_args_is_help=True)
app.add_typer(ledger, name="ledger")

Copy = Annotated[Path | None, typer.Option("--file", help="The copy to compare. Default: the system's own.")]


@ledger.command("verify")
@command
def verify(file: Copy = None) -> Mapping[str, Any]:
    """Check the chain and every signature of the store's ledger, and that the copy in a file is the same."""
    settings = Settings()
    copy = LedgerFile(file or settings.ledger_file)
    copied = copy.read()
    entries = _verified(settings)
    compare(entries, copied, copy.path)
    return _result(entries, copy)


@ledger.command("export")
@command
def export(file: Path) -> Mapping[str, Any]:
    """Write the store's ledger to a file, or bring a file that was exported before up to date."""
    copy = LedgerFile(file)
    entries = _verified(Settings())
    copy.extend(entries)
    return _result(entries, copy)


def _verified(settings: Settings) -> list[LedgerEntry]:
    with closing(store_without_keys(settings)) as store:
        return verified(store, settings)


def _result(entries: list[LedgerEntry], copy: LedgerFile) -> dict[str, Any]:
    return {"ok": True, "entries": len(entries), "digest": copy.tip().digest, "file": str(copy.path)}
