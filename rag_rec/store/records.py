"""What goes into the store and comes out of it: changes, forget requests, ledger, suppressions, holds, who is there."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from rag_rec.domain import Interaction


class ChangeKind(StrEnum):
    """What a row of the change log says has changed. The reader of the log re-reads the subject's present state."""

    ITEM = "item"
    USER = "user"  # attributes or interactions of a user were added or changed
    FORGET = "forget"  # interactions of a user were removed, or the whole user


@dataclass(frozen=True, slots=True)
class Change:
    """One row of the change log: at ``epoch``, the user or item with this number changed."""

    epoch: int
    kind: ChangeKind
    number: int


@dataclass(frozen=True, slots=True)
class AppendResult:
    """Outcome of appending interactions: rows stored, rows that were there already, and rows refused because the
    person, or the interaction, has been forgotten."""

    accepted: int
    duplicates: int
    suppressed: int = 0


@dataclass(frozen=True, slots=True)
class Selection:
    """Which of a user's interactions are meant. Conditions are joined by *and*; none at all means every interaction.

    ``numbers`` are those of the interactions, as an export shows them. ``before`` is exclusive and ``after`` inclusive,
    in milliseconds since 1970 UTC.
    """

    item_ids: frozenset[str] = frozenset()
    before: int | None = None
    after: int | None = None
    numbers: frozenset[int] = frozenset()

    @property
    def is_empty_span(self) -> bool:
        """Whether no time is meant."""
        return self.after is not None and self.before is not None and self.after >= self.before


@dataclass(frozen=True, slots=True)
class Counts:
    """How many rows the store holds."""

    users: int
    items: int
    interactions: int


@dataclass(frozen=True, slots=True)
class EventCount:
    """How many interactions carry an event; how many of these have no value, and how many reach the asked minimum."""

    name: str
    rows: int
    without_value: int
    reaching: int


@dataclass(frozen=True, slots=True)
class StoredInteraction:
    """An interaction with its number."""

    number: int
    interaction: Interaction


@dataclass(frozen=True, slots=True)
class LedgerTip:
    """The end of the ledger: number and digest of its newest entry; 0 and 64 zeros for an empty one."""

    sequence: int
    digest: str


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One entry of the hash-chained ledger.

    ``body`` is canonical JSON, ``previous`` the digest of the entry before, ``digest`` the SHA-256 over the others, and
    ``signature`` is over the digest (see :mod:`rag_rec.forgetting.ledger.chain`).
    """

    sequence: int
    kind: str
    body: str
    previous: str
    digest: str
    signature: str


@dataclass(frozen=True, slots=True)
class Suppression:
    """A person, or an interaction, that may not come back.

    ``digest`` is the pseudonym of what is refused: of the person (then it equals ``subject``) or of an interaction.
    ``identity`` counts the person's identities from 1 on; ``consented`` is when the present one began (milliseconds):
    only events from then on are taken. None: the person is forgotten, and everything is refused.
    """

    digest: str
    subject: str
    identity: int = 1
    consented: int | None = None


@dataclass(frozen=True, slots=True)
class Hold:
    """A person who may not be forgotten, with the legal reason. ``created`` in milliseconds."""

    subject: str
    reason: str
    created: int


@dataclass(frozen=True, slots=True)
class Replica:
    """A service that answers from memory: the epoch that its memory has reached, and when it said so (milliseconds).

    ``host`` names the host, and after a slash how far its numbers of processes reach.

    ``adapters`` are the digests of the adapters in its memory, sorted: of the one that ranks, and while it is being
    replaced also of the one before.
    """

    id: str
    host: str
    process: int
    epoch: int
    seen: int
    adapters: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ServiceProcess:
    """A process that answers from memory: it may hold, in memory that it freed, what it read since it began.

    Attributes:
        id: random.
        host: where it runs, and how far its numbers of processes reach.
        process: its number there.
        born: a mark of its start: numbers are used again. 0 where the machine does not tell.
        epoch: the store's epoch before it read anything.
        seen: when it was last known to run, in milliseconds.
        ended: whether it is known to have ended.
    """

    id: str
    host: str
    process: int
    born: int
    epoch: int
    seen: int
    ended: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """A data folder that holds, or may hold, files made from the store's people.

    Attributes:
        id: random; the folder has it too.
        host: name of the host that opened the folder last, and after a slash a mark of that host's present start.
        path: of the folder on that host.
        epoch: the erasure epoch up to which its files were looked at and hold no one who was forgotten.
        seen: when a process that has it open was last heard of, milliseconds; 0 where the last one has ended.
        adapters: digests of the adapters in the folder, sorted.
        retired: when it was taken out of use, milliseconds; None while it is in use.
        reason: why.
    """

    id: str
    host: str
    path: str
    epoch: int
    seen: int
    adapters: tuple[str, ...] = ()
    retired: int | None = None
    reason: str | None = None

    @property
    def name(self) -> str:
        """Host and last part of the path, by which an operator finds the folder."""
        return f"{self.host.partition('/')[0]}:{self.path.rstrip('/').rpartition('/')[2] or self.path}"


@dataclass(frozen=True, slots=True)
class Debt:
    """An adapter that saw what a request removed: it must go, or be trained again, before the request is complete."""

    request_id: str
    adapter: str


@dataclass(frozen=True, slots=True)
class MeasuredRemoval:
    """What a request removed was taken out of an adapter by a way that is not exact; ``measured`` is JSON."""

    request_id: str
    adapter: str
    measured: str
