"""The command ``rag-rec drill``."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from indexer.drill import Drill, check_backup
from indexer.system_copy import SystemCopy
from rag_rec.artifacts.destruction import destroy
from rag_rec.commands.app import command
from rag_rec.home.opening import check_system
from rag_rec.progress.shown import Shown
from rag_rec.settings import Settings
from rag_rec.vectors.embedding import open_embedder

app = typer.Typer()


@app.command("drill")
@command
def drill(
    backup: Annotated[
        Path | None, typer.Option(help="Restore this backup with the present ledger instead, and look who is back.")
    ] = None,
) -> Mapping[str, Any]:
    """Forget an invented person in a copy of the system, and try to bring them back. The system itself is only read."""
    settings, started = Settings(), time.perf_counter()
    check_system(settings)
    embedder = open_embedder(settings.embedding_model, settings.embedding_threads)
    with _folder() as folder, Shown("drill") as shown:
        copy = SystemCopy.under(folder, settings, embedder, shown)
        if backup is None:
            attempts = list(Drill(settings, copy, folder).run())
        else:
            shown.stage("restore the backup", 0)
            attempts = [check_backup(backup, settings, copy.settings)]
    return {
        "ok": all(attempt.held for attempt in attempts),
        "attempts": [asdict(attempt) for attempt in attempts],
        "seconds": round(time.perf_counter() - started, 3),
    }


@contextmanager
def _folder() -> Iterator[Path]:
    """A folder that only its owner can read; everything in it is overwritten in the end."""
    folder = Path(tempfile.mkdtemp(prefix="rag-rec-drill-"))
    try:
        yield folder
    finally:
        destroy(folder)
