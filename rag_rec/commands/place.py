"""The commands ``rag-rec place list | clean | retire | renew``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Annotated, Any

import typer

from rag_rec.clock import iso
from rag_rec.commands.app import command
from rag_rec.commands.printing import Answer
from rag_rec.engine.system import open_system
from rag_rec.engine.tending import occupied, open_saga
from rag_rec.errors import InvalidInput
from rag_rec.forgetting.retirement import retire_place
from rag_rec.home.keys import open_pseudonyms
from rag_rec.home.opening import existing_store_of
from rag_rec.index.generation import Generations
from rag_rec.places.derived import discard_derived
from rag_rec.places.folder import FILE, new_identity, read_identity, write_identity
from rag_rec.places.occupation import own_place, writing
from rag_rec.presence.awaited import is_open
from rag_rec.settings import Settings
from rag_rec.store.protocol import Store
from rag_rec.store.records import Place

place = typer.Typer(help="The data folders that belong to a store, each of which cleans itself.", no_args_is_help=True)


@place.command("list")
@command
def list_places() -> Mapping[str, Any]:
    """The data folders there are, and up to which removal each has looked at its files."""
    settings = Settings()
    with _store(settings) as store:
        erased, places = store.erasure_epoch(), store.places()
    told = [_described(each, erased, own_place(settings)) for each in places]
    return Answer({"erasure_epoch": erased, "places": told}, {"erasure epoch": erased, "places": told})


@place.command("clean")
@command
def clean() -> Mapping[str, Any]:
    """Clean this data folder of everybody who was forgotten meanwhile, look, and report; then finish what waited."""
    settings = Settings()
    with _store(settings) as store:
        with occupied(settings, store) as own:
            verified, erased = own.verified, store.erasure_epoch()
        completed = open_saga(settings, store).resume()
    return {"ok": verified >= erased, "place": own.id, "verified": verified, "completed": completed}


@place.command("retire")
@command
def retire(
    place_id: Annotated[str, typer.Argument(help="Id of the place, as the list shows it.")],
    reason: Annotated[str, typer.Option("--reason", help="What became of its disk. The ledger keeps it.")],
) -> Mapping[str, Any]:
    """Take a data folder out of use because its disk is gone. Removals wait for it no more; their receipts name it."""
    settings = Settings()
    with _store(settings) as store:
        retired = retire_place(open_system(settings, store, open_pseudonyms(settings)), place_id, reason)
        completed = open_saga(settings, store).resume()
    return {"place": retired.id, "name": retired.name, "reason": retired.reason, "completed": completed}


@place.command("renew")
@command
def renew(
    discard: Annotated[
        bool,
        typer.Option(help="Destroy indexes and adapters in this folder that were made from another store's people."),
    ] = False,
) -> Mapping[str, Any]:
    """Give this data folder an identity of its own, because it is a copy, or is to belong to another store now."""
    settings = Settings()
    with _store(settings) as store:
        settings.home.mkdir(parents=True, exist_ok=True)
        with writing(settings.home):
            discarded = _discard_foreign(settings, store, discard=discard)
            write_identity(settings.home, new_identity(store.identity()))
        with occupied(settings, store) as own:
            pass
    return {"place": own.id, "discarded": discarded}


def _discard_foreign(settings: Settings, store: Store, *, discard: bool) -> bool:
    """Destroy what was made from another store's people. Whether there was any."""
    readable = True
    try:
        known = read_identity(settings.home)
    except Exception:  # whatever is in the file: it is not known whose people the folder holds
        known, readable = None, False
    if readable and (known is None or known.store == store.identity()):
        return False
    if not discard:
        raise InvalidInput(
            f"This folder belongs to another store, or {FILE} cannot be read: add --discard to destroy the indexes and "
            "adapters in it, which were made from other people's data, and build them anew."
        )
    generations = Generations(settings.generations)
    with generations.writing():
        discard_derived(settings, generations)
    return True


def _described(place: Place, erased: int, own: str | None) -> dict[str, Any]:
    return {
        "id": place.id,
        "host": place.host.partition("/")[0],
        "path": place.path,
        "this": place.id == own,
        "open": is_open(place),
        "seen": iso(place.seen, "seconds") if place.seen else None,
        "verified": place.epoch,
        "clean": place.retired is None and place.epoch >= erased,
        "adapters": len(place.adapters),
        "retired": None if place.retired is None else iso(place.retired, "seconds"),
        "reason": place.reason,
    }


@contextmanager
def _store(settings: Settings) -> Iterator[Store]:
    with closing(existing_store_of(settings)) as store:
        yield store
