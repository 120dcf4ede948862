"""Every error that a caller can meet.

Each message says what is wrong and what to do next; none contains personal data.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class RagRecError(Exception):
    """Base of all errors. ``code`` is stable and machine-readable; ``status`` is the HTTP status that fits."""

    code = "internal"
    status = 500


class InvalidInput(RagRecError):
    """A value given by the caller cannot be accepted; nothing was changed."""

    code = "invalid_input"
    status = 422


class InvalidSettings(InvalidInput):
    """A setting has a value that cannot be used."""

    code = "invalid_settings"


class NothingPositive(RagRecError):
    """There are interactions, and none of them speaks for an item."""

    code = "nothing_positive"
    status = 409


class UnknownUser(RagRecError):
    """No such user."""

    code = "unknown_user"
    status = 404


class UnknownItem(RagRecError):
    """No such item."""

    code = "unknown_item"
    status = 404


class UnknownRequest(RagRecError):
    """No such forget request."""

    code = "unknown_request"
    status = 404


class ConfirmationRequired(RagRecError):
    """An irreversible command was given without the confirmation that it needs."""

    code = "confirmation_required"
    status = 409


class PlanChanged(RagRecError):
    """What was agreed to be removed is not what is there now."""

    code = "plan_changed"
    status = 409


class LegalHold(RagRecError):
    """The person may not be forgotten for a legal reason."""

    code = "legal_hold"
    status = 409


class Forgotten(RagRecError):
    """The person was forgotten and has not consented to a new identity."""

    code = "forgotten"
    status = 409


class WrongKey(RagRecError):
    """A key is missing, malformed, or not the one that the store was written with."""

    code = "wrong_key"


class BrokenLedger(RagRecError):
    """The ledger, or a receipt, was changed, cut, or belongs to another store."""

    code = "broken_ledger"


class Unfinished(RagRecError):
    """A removal was accepted and is in force, but could not be finished; it will be taken up again."""

    code = "unfinished"
    status = 503


class UnknownPlace(RagRecError):
    """No such data folder among those that belong to the store."""

    code = "unknown_place"
    status = 404


class ForeignFolder(RagRecError):
    """The data folder belongs to another store."""

    code = "foreign_folder"


class CopiedFolder(RagRecError):
    """The data folder is a copy of one that is in use elsewhere."""

    code = "copied_folder"


class NotReady(RagRecError):
    """The service or a part of it cannot answer yet."""

    code = "not_ready"
    status = 503


class MissingLibrary(NotReady):
    """A part of the product was asked for whose libraries are not installed."""

    code = "missing_library"


_OWN = frozenset({"rag_rec", "indexer", "serving"})


@contextmanager
def needs(extra: str) -> Iterator[None]:
    """Around imports of the libraries of an extra: raises ``MissingLibrary`` where one of them is not installed.

    A module of the product that is not there is a defect, and is not called a missing library.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in _OWN:
            raise
        raise MissingLibrary(
            f"The library {error.name} is not installed, and this needs it: pip install 'rag-rec[{extra}]'."
        ) from error


class NoSystem(RagRecError):
    """There is no store where the settings say; none was made."""

    code = "no_system"


class CorruptIndex(RagRecError):
    """An index file is truncated, foreign or does not match its manifest."""

    code = "corrupt_index"


class IncompatibleStore(RagRecError):
    """The store was written by another version of the product."""

    code = "incompatible_store"


class Busy(RagRecError):
    """Another process holds the writer's lock."""

    code = "busy"
    status = 503


class StoreLost(RagRecError):
    """The store that was opened is not there any more, or another one is in its place."""

    code = "store_lost"
    status = 503


class StoreAway(RagRecError):
    """The store cannot be reached or used at present."""

    code = "store_away"
    status = 503


class DiskFull(RagRecError):
    """There is no room left on a disk."""

    code = "disk_full"
    status = 503


class Unauthorized(RagRecError):
    """No API key, or one that is not known."""

    code = "unauthorized"
    status = 401


class Forbidden(RagRecError):
    """The API key is known but lacks the role that the call needs."""

    code = "forbidden"
    status = 403


class Insecure(RagRecError):
    """A file that holds people or keys can be read or changed by others, and that cannot be mended from here."""

    code = "insecure"
