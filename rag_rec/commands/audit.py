"""The command ``rag-rec audit list``."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict
from typing import Annotated, Any

import typer

from rag_rec.clock import iso
from rag_rec.commands.app import command
from rag_rec.commands.printing import Answer
from rag_rec.forgetting.audit.trail import Deed, deeds
from rag_rec.home.opening import store_without_keys
from rag_rec.settings import Settings

app = typer.Typer()
audit = typer.Typer(
    help="For an auditor: who removed, exported or held whom, and what an adapter remembers.", no_args_is_help=True
)
app.add_typer(audit, name="audit")

After = Annotated[int, typer.Option(min=0, help="Only entries whose number in the ledger is above this.")]
Limit = Annotated[int | None, typer.Option(min=1, help="At most so many, the oldest first. Default: all.")]


@audit.command("list")
@command
def list_deeds(after: After = 0, limit: Limit = None) -> Mapping[str, Any]:
    """What was done by which key or user of the operating system. `rag-rec ledger verify` checks the signatures."""
    with closing(store_without_keys(Settings())) as store:
        found = deeds(store, after, limit)
    return Answer({"actions": [asdict(each) for each in found]}, {"actions": [_row(each) for each in found]})


def _row(deed: Deed) -> dict[str, Any]:
    actor = deed.actor or {"kind": "unknown (an earlier version)", "name": "", "role": None}
    role = f" ({actor['role']})" if actor["role"] else ""
    by = f"{actor['kind']} {actor['name']}{role}".strip()
    return {**asdict(deed), "time": iso(deed.time, "seconds"), "actor": by}
