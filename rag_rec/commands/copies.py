"""The commands ``rag-rec backup`` and ``rag-rec restore``."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from rag_rec.commands.app import command
from rag_rec.copies.backup import write_backup
from rag_rec.copies.restore import restore
from rag_rec.engine.system import open_system, signer_of
from rag_rec.errors import InvalidInput
from rag_rec.forgetting.audit.trail import note
from rag_rec.forgetting.ledger.file import LedgerFile
from rag_rec.home.keys import open_pseudonyms
from rag_rec.home.opening import existing_store_of
from rag_rec.progress.shown import Shown
from rag_rec.settings import Settings
from rag_rec.store.archive import opened

app = typer.Typer()

File = Annotated[Path, typer.Argument(help="The backup.")]


@app.command("backup")
@command
def backup(file: File) -> Mapping[str, Any]:
    """Write the whole store into one file, while the service goes on. Keys are not in it."""
    settings, started = Settings(), time.perf_counter()
    with closing(existing_store_of(settings)) as store:  # brings an older store up to date, and refuses a wrong key
        signer, counts = signer_of(settings, store), store.counts()
    with opened(settings.database_url) as database, Shown("backup") as shown:
        shown.stage("write rows", counts.users + counts.items + counts.interactions)  # all but a few
        manifest = write_backup(file, database, open_pseudonyms(settings).key_id, signer, shown.advance)
    return {
        "file": str(file),
        "bytes": file.stat().st_size,
        "created": manifest.created,
        "epoch": manifest.epoch,
        "ledger": manifest.ledger.sequence,
        **{name: manifest.rows[name] for name in ("items", "users", "interactions")},
        "seconds": round(time.perf_counter() - started, 3),
    }


@app.command("restore")
@command
def restore_store(
    file: File,
    ledger: Annotated[
        Path | None, typer.Option(help="The newest copy of the ledger, where HOME/ledger.jsonl is not.")
    ] = None,
    without_later_erasures: Annotated[
        bool,
        typer.Option(
            "--without-later-erasures",
            help="Restore although no ledger is known that is as new as the backup: people who were forgotten later "
            "are back, and have to be forgotten again.",
        ),
    ] = False,
) -> Mapping[str, Any]:
    """Replace the store by a backup, without the people who were forgotten since. The index has to be built anew."""
    settings, started = Settings(), time.perf_counter()
    copies = [] if ledger is None else [_copy(ledger)]
    with Shown("restore") as shown:
        restored = restore(file, settings, copies, without_later_erasures=without_later_erasures, progress=shown)
    with closing(existing_store_of(settings)) as store:
        note(open_system(settings, store, open_pseudonyms(settings)), "restore")
    return {
        **asdict(restored),
        "seconds": round(time.perf_counter() - started, 3),
        "next": "rag-rec index build; then rag-rec compact build, if the compact generator is used",
    }


def _copy(path: Path) -> list[Any]:
    if not path.is_file():
        raise InvalidInput(f"There is no file {path}.")
    return LedgerFile(path).read()
