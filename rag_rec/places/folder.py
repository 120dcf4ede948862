"""The identity of a data folder: a small file that says which place it is, of which store, and what was looked at."""

from __future__ import annotations

import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import orjson

from rag_rec.artifacts.private import replace_durably
from rag_rec.errors import CorruptIndex
from rag_rec.settings import Settings

FILE: Final = "place.json"
FORMAT: Final = "rag-rec/place/1"
NOTHING: Final = -1
"""The epoch of a folder of which nothing was looked at."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a folder is.

    Attributes:
        place: its random id.
        store: the id of the store that it belongs to.
        verified: the erasure epoch up to which its files were looked at. The store's row says the same; a folder that
            was put back to an earlier state knows by this that it has to be looked at again.
    """

    place: str
    store: str
    verified: int = NOTHING


def new_identity(store: str) -> Identity:
    """An identity that no folder had before."""
    return Identity(secrets.token_hex(16), store)


def read_identity(home: Path) -> Identity | None:
    """Who a folder is; None where it does not say so.

    Raises:
        CorruptIndex: the file cannot be read.
    """
    try:
        fields = orjson.loads((home / FILE).read_bytes())
        if fields.pop("format") != FORMAT:
            raise ValueError
        known = Identity(**fields)
        if not (isinstance(known.place, str) and isinstance(known.store, str) and isinstance(known.verified, int)):
            raise TypeError
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        raise CorruptIndex(
            f"{home / FILE}, which says to which store this folder belongs, cannot be read: put the file back, or give "
            "the folder another identity (`rag-rec place renew`)."
        ) from None
    return known


def write_identity(home: Path, identity: Identity) -> None:
    """Write down who a folder is, durably and for its owner only."""
    replace_durably(home / FILE, orjson.dumps({"format": FORMAT, **asdict(identity)}))


def holds_people(settings: Settings) -> bool:
    """Whether a folder holds, or is about to hold, files that were made from people: index generations, builds,
    adapters, checkpoints of trainings. A folder of keys, or of the store alone, does not."""
    unfinished = (settings.compact / "training", settings.compact / "auditing")
    folders = (settings.generations, settings.compact / "adapters", *unfinished)
    return any(path.is_dir() for folder in folders if folder.is_dir() for path in folder.iterdir()) or any(
        path.is_file() for folder in unfinished for path in folder.glob("*")
    )
