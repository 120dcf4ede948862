"""Commands about one person: ``rag-rec export``, ``rag-rec consent`` and ``rag-rec hold place | release | list``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from rag_rec.clock import iso
from rag_rec.commands.app import command
from rag_rec.commands.printing import Answer
from rag_rec.engine.system import open_system
from rag_rec.errors import InvalidInput
from rag_rec.forgetting.audit.trail import note
from rag_rec.forgetting.rights.access import export, export_document
from rag_rec.forgetting.rights.identity import Identities
from rag_rec.home.keys import open_pseudonyms
from rag_rec.home.opening import existing_store_of
from rag_rec.settings import Settings

app = typer.Typer()
holds = typer.Typer(help="Legal holds: people who may not be forgotten.", no_args_is_help=True)
app.add_typer(holds, name="hold")


@app.command("export")
@command
def export_user(
    user_id: str,
    to: Annotated[
        Path | None, typer.Option("--to", help="Write it to this file as JSON, and print no more than its extent.")
    ] = None,
) -> Mapping[str, Any]:
    """Everything stored about a user (right of access), with the ids by which interactions can be forgotten."""
    settings = Settings()
    with closing(existing_store_of(settings)) as store:
        document = export_document(*export(store, user_id))
        pseudonyms = open_pseudonyms(settings)
        note(open_system(settings, store, pseudonyms), "export", subject=pseudonyms.user(user_id))
    if to is not None:
        _write(to, document)
        return {"interactions": len(document["interactions"]), "written": str(to)}
    rows = [{**row, "time": iso(row["time"])} for row in document["interactions"]]
    return Answer(document, {**document["user"], "interactions": rows})


@app.command("consent")
@command
def consent(user_id: str) -> Mapping[str, Any]:
    """Record that a forgotten person wants to come back: a new identity, to which nothing from before is added."""
    with _identities() as identities:
        opened = identities.consent(user_id)
    answer = {"identity": opened.identity, "since": opened.consented}
    return Answer(answer, answer | {"since": opened.consented and iso(opened.consented)})


@holds.command("place")
@command
def place(
    user_id: str,
    reason: Annotated[str, typer.Option(help="Why, such as the file number of the case. Do not name the person.")],
) -> Mapping[str, Any]:
    """Forbid that a user is forgotten."""
    with _identities() as identities:
        hold = identities.hold(user_id, reason)
    return {"subject": hold.subject, "reason": hold.reason}


@holds.command("release")
@command
def release(user_id: str) -> Mapping[str, Any]:
    """Lift a legal hold."""
    with _identities() as identities:
        identities.release(user_id)
    return {"released": True}


@holds.command("list")
@command
def list_holds() -> Mapping[str, Any]:
    """The legal holds there are, by time. They name people by pseudonym."""
    with closing(existing_store_of(Settings())) as store:
        listed = store.holds()
    rows = [{"subject": hold.subject, "reason": hold.reason, "created": hold.created} for hold in listed]
    words = [row | {"created": iso(hold.created)} for row, hold in zip(rows, listed, strict=True)]
    return Answer({"holds": rows}, {"holds": words})


@contextmanager
def _identities() -> Iterator[Identities]:
    settings = Settings()
    with closing(existing_store_of(settings)) as store:
        yield Identities(open_system(settings, store, open_pseudonyms(settings)))


def _write(path: Path, document: Mapping[str, Any]) -> None:
    """Write personal data to a new file that only its owner can read."""
    try:
        path.touch(mode=0o600, exist_ok=False)
        path.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n")
    except FileExistsError:
        raise InvalidInput(f"{path} exists: name another file, or remove it first.") from None
    except OSError as error:
        raise InvalidInput(f"{path} cannot be written ({error.strerror}): name another file.") from None
