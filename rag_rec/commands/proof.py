"""The command ``rag-rec prove``."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import Annotated, Any

import typer

from rag_rec.commands.app import command
from rag_rec.engine.attendance import Attendance
from rag_rec.engine.current import Current
from rag_rec.engine.officer import Officer
from rag_rec.generators.passthrough import Passthrough
from rag_rec.home.opening import existing_store_of
from rag_rec.progress.shown import Shown
from rag_rec.recommend.source import FixedRanking
from rag_rec.settings import Settings
from rag_rec.vectors.embedding import open_embedder

app = typer.Typer()

Sample = Annotated[
    int | None,
    typer.Option(min=1, help="Compare the lists of so many users. Default: of all, up to 20,000; beyond, of 2,000."),
]


@app.command("prove")
@command
def prove(request: str, sample: Sample = None) -> Mapping[str, Any]:
    """Compare this system with a twin that never knew the person, and add the table to the request's receipt.

    The twin is built in memory from the store alone. It needs as much memory as the system, and minutes where there
    are many users: how far it has come is told on stderr. A running service is not touched.
    """
    settings = Settings()
    with closing(existing_store_of(settings)) as store:
        embedder = open_embedder(settings.embedding_model, settings.embedding_threads)
        with Shown("prove") as shown:
            shown.stage("load the index", 0)
            current = Current.load(settings, store, embedder, FixedRanking(Passthrough(), None))
            table = Officer(current, Attendance(current)).prove(request, sample, shown)
        return {"ok": table["equal"], "request": request, **table}
