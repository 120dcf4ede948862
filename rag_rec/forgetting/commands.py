"""The commands ``rag-rec forget user`` and ``rag-rec forget interactions``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from rag_rec.cli import Json, command
from rag_rec.compact.folder import CompactStore
from rag_rec.errors import InvalidInput
from rag_rec.forgetting.erase import Eraser
from rag_rec.forgetting.request import ForgetRequest
from rag_rec.generation import Generations
from rag_rec.settings import Settings
from rag_rec.store import open_store
from rag_rec.store.protocol import Selection

app = typer.Typer()
forget = typer.Typer(help="Forget a user, or some of a user's interactions. This cannot be undone.")
app.add_typer(forget, name="forget")

DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would go, and change nothing.")]
Confirm = Annotated[str | None, typer.Option("--confirm", help="Repeat the user's id to confirm.")]


@forget.command("user")
@command
def forget_user(
    user_id: str,
    dry_run: DryRun = False,
    confirm: Confirm = None,
    json: Json = False,  # noqa: ARG001 - read by the wrapper
) -> Mapping[str, Any]:
    """Forget a user: attributes, interactions, vectors, and their share of every statistic."""
    return _forget(ForgetRequest(user_id, None, dry_run, confirm))


@forget.command("interactions")
@command
def forget_interactions(  # noqa: PLR0913 - one parameter per option of the command
    user_id: str,
    item: Annotated[list[str] | None, typer.Option("--item", help="Interactions with this item (repeatable).")] = None,
    before: Annotated[str | None, typer.Option(help="Interactions before this time (ISO 8601; exclusive).")] = None,
    after: Annotated[str | None, typer.Option(help="Interactions from this time on (ISO 8601; inclusive).")] = None,
    dry_run: DryRun = False,
    confirm: Confirm = None,
    json: Json = False,  # noqa: ARG001 - read by the wrapper
) -> Mapping[str, Any]:
    """Forget some of a user's interactions; the conditions given are joined by "and"."""
    selection = Selection(frozenset(item or ()), _milliseconds("before", before), _milliseconds("after", after))
    return _forget(ForgetRequest(user_id, selection, dry_run, confirm))


def _forget(request: ForgetRequest) -> Mapping[str, Any]:
    settings = Settings()
    store = open_store(settings.database_url)
    try:
        return asdict(
            Eraser(store, Generations(settings.generations), compact=CompactStore(settings.compact)).forget(request)
        )
    finally:
        store.close()


def _milliseconds(option: str, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput(f"--{option} is not a time: write it as ISO 8601, such as 2026-01-31T12:00:00Z.") from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
