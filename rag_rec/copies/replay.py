"""Replays the ledger on the rows of a backup: what was forgotten after it goes, and may not come back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import orjson
from sqlalchemy import Connection, select, update

from rag_rec.clock import milliseconds_of
from rag_rec.domain import Interaction
from rag_rec.errors import IncompatibleStore
from rag_rec.forgetting.audit.trail import ACTION
from rag_rec.forgetting.receipts.document import read_receipt
from rag_rec.identity.pseudonyms import Pseudonyms
from rag_rec.layers.records import Erasure, ForgetState
from rag_rec.store.holds import delete_hold, write_hold
from rag_rec.store.journal import take
from rag_rec.store.records import Hold, LedgerEntry
from rag_rec.store.removal import remove_rows, remove_users
from rag_rec.store.requests import accepted, write_records
from rag_rec.store.schema import events, forget_requests, interactions, items, places, suppressions, users
from rag_rec.store.seals import seal
from rag_rec.store.suppressions import suppress

DAY_MS: Final = 86_400_000
_EFFECTIVE: Final = frozenset({ForgetState.EFFECTIVE, ForgetState.UNLEARNED, ForgetState.COMPLETE})


class Replay:
    """Carries out entries on the rows of one transaction, in the order of the ledger.

    Attributes:
        done: how many entries of each kind were carried out, and what they removed.
    """

    def __init__(self, connection: Connection, pseudonyms: Pseudonyms, forget_days: int) -> None:
        self.done: Counter[str] = Counter()
        self._connection = connection
        self._pseudonyms = pseudonyms
        self._forget_days = forget_days
        self._people: dict[str, tuple[int, str]] = {
            pseudonyms.user(user_id): (number, user_id)
            for number, user_id in connection.execute(select(users.c.number, users.c.id))
        }
        self._kinds: Mapping[str, Callable[[LedgerEntry, dict[str, Any]], None]] = {
            "erasure": self._erase,
            "receipt": self._receipt,
            "consent": self._consent,
            "hold": self._hold,
            "release": self._release,
            ACTION: lambda *_: None,  # it changed no row
            "retirement": self._retire,
        }

    def apply(self, entry: LedgerEntry) -> None:
        """Carry out one entry.

        Raises:
            IncompatibleStore: it is of a kind that this version does not know.
        """
        kind = self._kinds.get(entry.kind)
        if kind is None:
            raise IncompatibleStore(
                f"The ledger holds an entry of the kind {entry.kind!r}, which this version does not know: restore with "
                "the version of rag-rec that wrote it."
            )
        kind(entry, orjson.loads(entry.body))
        self.done[entry.kind] += 1

    def _erase(self, _: LedgerEntry, body: dict[str, Any]) -> None:
        seal(self._connection, self._pseudonyms)
        whole = body["scope"] == "user"
        known = self._people.pop(body["subject"], None) if whole else self._people.get(body["subject"])
        # Nobody ever has a number that was taken here, as nobody will have the one that the person had.
        number = take(self._connection, "user", 1) if known is None else known[0]
        removed = self._remove_user(number) if whole else self._remove_rows(known, body["interactions"])
        erasure = _erasure(body, number, self._forget_days)
        suppress(self._connection, [erasure])
        epoch = body["epoch"]
        record = accepted(erasure, epoch - 1, epoch, erasure.created, removed)
        write_records(self._connection, [record])  # its steps are taken again, unless a receipt says that they are done
        self.done.update({f"{kind}_removed": count for kind, count in removed.items()})

    def _remove_user(self, number: int) -> dict[str, int]:
        gone = remove_users(self._connection, [number])
        return {"users": len(gone), "interactions": sum(gone.values())}

    def _remove_rows(self, person: tuple[int, str] | None, digests: Sequence[str]) -> dict[str, int]:
        if person is None:
            return {"users": 0, "interactions": 0}
        listed = set(digests)
        rows = self._rows_of(*person)
        numbers = [number for number, row in rows if self._pseudonyms.interaction(row) in listed]
        return {"users": 0, "interactions": remove_rows(self._connection, person[0], numbers)}

    def _rows_of(self, user_number: int, user_id: str) -> list[tuple[int, Interaction]]:
        """A person's interactions with their numbers, as far as a pseudonym needs them."""
        statement = (
            select(interactions.c.number, items.c.id, interactions.c.time, events.c.name)
            .join(items, items.c.number == interactions.c.item_number)
            .join(events, events.c.code == interactions.c.event_code)
            .where(interactions.c.user_number == user_number)
        )
        rows = self._connection.execute(statement)
        return [(number, Interaction(user_id, item_id, moment, event)) for number, item_id, moment, event in rows]

    def _receipt(self, entry: LedgerEntry, body: dict[str, Any]) -> None:
        document, state = read_receipt(entry.body), ForgetState(body["state"])
        changed: dict[str, Any] = {
            "state": state.value,
            "times": _json({name: milliseconds_of(text) for name, text in document["times"].items()}),
            "removed": _json(document["removed"]),
            "timings_ms": _json(document["timings_ms"]),
            "epoch_before": document["epochs"]["before"],
            "deadline": milliseconds_of(document["deadline"]),
            "receipt": entry.body,
        }
        if state in _EFFECTIVE:
            changed["user_number"] = None
        mine = forget_requests.c.request_id == document["request"]
        self._connection.execute(update(forget_requests).where(mine).values(changed))

    def _consent(self, _: LedgerEntry, body: dict[str, Any]) -> None:
        mine = suppressions.c.digest == body["subject"]
        opened = {"identity": body["identity"], "consented": body["time"]}
        self._connection.execute(update(suppressions).where(mine).values(opened))

    def _hold(self, _: LedgerEntry, body: dict[str, Any]) -> None:
        seal(self._connection, self._pseudonyms)
        write_hold(self._connection, Hold(body["subject"], body["reason"], body["time"]))

    def _retire(self, _: LedgerEntry, body: dict[str, Any]) -> None:
        gone = {"retired": body["time"], "reason": body["reason"]}
        self._connection.execute(update(places).where(places.c.id == body["place"]).values(gone))

    def _release(self, _: LedgerEntry, body: dict[str, Any]) -> None:
        delete_hold(self._connection, body["subject"])


def _erasure(body: Mapping[str, Any], user_number: int, forget_days: int) -> Erasure:
    whole = body["scope"] == "user"
    return Erasure(
        request_id=body["request"],
        batch_id=body["batch"],
        subject=body["subject"],
        plan=body["plan"],
        user_number=user_number,
        interactions=None if whole else (),
        digests=() if whole else body["interactions"],
        created=body["time"],
        deadline=body["time"] + forget_days * DAY_MS,
    )


def _json(values: Mapping[str, float]) -> str:
    return orjson.dumps(dict(values), option=orjson.OPT_SORT_KEYS).decode()
