"""The commands ``rag-rec consent`` and ``rag-rec hold place | release | list``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from rag_rec.cli import Json, command
from rag_rec.forgetting.identity import Identities
from rag_rec.forgetting.system import open_system
from rag_rec.home import store_of
from rag_rec.keys import open_pseudonyms
from rag_rec.settings import Settings

app = typer.Typer()
holds = typer.Typer(help="Legal holds: people who may not be forgotten.", no_args_is_help=True)
app.add_typer(holds, name="hold")


@app.command("consent")
@command
def consent(user_id: str, json: Json = False) -> Mapping[str, Any]:  # noqa: ARG001 - read by the wrapper
    """Record that a forgotten person wants to come back: a new identity, to which nothing from before is added."""
    with _identities() as identities:
        opened = identities.consent(user_id)
    return {"identity": opened.identity, "since": opened.consented}


@holds.command("place")
@command
def place(
    user_id: str,
    reason: Annotated[str, typer.Option(help="Why, such as the file number of the case. Do not name the person.")],
    json: Json = False,  # noqa: ARG001 - read by the wrapper
) -> Mapping[str, Any]:
    """Forbid that a user is forgotten."""
    with _identities() as identities:
        hold = identities.hold(user_id, reason)
    return {"subject": hold.subject, "reason": hold.reason}


@holds.command("release")
@command
def release(user_id: str, json: Json = False) -> Mapping[str, Any]:  # noqa: ARG001 - read by the wrapper
    """Lift a legal hold."""
    with _identities() as identities:
        identities.release(user_id)
    return {"released": True}


@holds.command("list")
@command
def list_holds(json: Json = False) -> Mapping[str, Any]:  # noqa: ARG001 - read by the wrapper
    """The legal holds there are, by time. They name people by pseudonym."""
    store = store_of(Settings())
    try:
        listed = store.holds()
    finally:
        store.close()
    return {"holds": [{"subject": hold.subject, "reason": hold.reason, "created": hold.created} for hold in listed]}


@contextmanager
def _identities() -> Iterator[Identities]:
    settings = Settings()
    store = store_of(settings)
    try:
        yield Identities(open_system(settings, store, open_pseudonyms(settings)))
    finally:
        store.close()
