"""The resurrection drill: forgets an invented person in a copy of the system, and tries to bring them back.

The copy lies in a folder of its own and is destroyed with it. Of the system itself only the store, the ledger, the keys
and the current index generation are read.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
import orjson

from indexer.ingest import Ingest
from indexer.sources.batch import Kind
from indexer.sources.files import File
from indexer.sources.jsonl import JsonlSource
from indexer.system_copy import SystemCopy, back_up
from rag_rec.clock import now_ms
from rag_rec.copies.forgotten_check import returned
from rag_rec.copies.restore import restore
from rag_rec.domain import Interaction, RecommendationRequest, User
from rag_rec.engine.engine import Engine
from rag_rec.errors import BrokenLedger, Forgotten, InvalidInput, RagRecError
from rag_rec.forgetting.ledger.chain import verify_chain
from rag_rec.forgetting.ledger.file import LedgerFile
from rag_rec.forgetting.receipts.document import check_receipt
from rag_rec.forgetting.request import ForgetRequest
from rag_rec.home.keys import open_pseudonyms, open_signer
from rag_rec.home.opening import existing_store_of
from rag_rec.index.erasing import vectors_in_files
from rag_rec.index.generation import Generations
from rag_rec.proof.forensics import marks_of, traces_of
from rag_rec.settings import Settings
from rag_rec.store import SqlStore
from rag_rec.store.archive import opened
from rag_rec.validation import Limits

EVENTS: Final = 6
"""Events of the invented person."""


MINUTE_MS = 60_000


@dataclass(slots=True)
class Canary:
    """The invented person: what is stored of them, and the bytes by which every trace is found."""

    user: User
    events: list[Interaction]
    marks: list[bytes] = field(default_factory=list)

    @classmethod
    def on(cls, item_ids: Sequence[str]) -> Canary:
        """Somebody who met these items in the last minutes, and wrote about each."""
        user = User(f"canary-{secrets.token_hex(16)}", {"drill": secrets.token_hex(16)})
        start = now_ms() - MINUTE_MS * len(item_ids)
        events = [
            Interaction(user.id, item_id, start + MINUTE_MS * at, "like", text=f"drill {secrets.token_hex(16)}")
            for at, item_id in enumerate(item_ids)
        ]
        texts = [user.id, str(user.attributes["drill"]), *(event.text or "" for event in events)]
        return cls(user, events, [mark for text in texts for mark in marks_of(text)])


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt to bring a person back, whether the system held, and what was seen."""

    attempt: str
    held: bool
    seen: str


class Drill:
    """One drill in an empty folder."""

    def __init__(self, settings: Settings, copy: SystemCopy, folder: Path) -> None:
        self._settings = settings
        self._copy = copy
        self._folder = folder
        self._home = copy.settings.home

    def run(self) -> Iterator[Attempt]:
        """Plant a person, forget the person, and try to bring the person back by every way there is.

        Raises:
            InvalidInput: the system has no items.
            RagRecError: the person could not be found before they were forgotten, so that the drill would show nothing.
        """
        self._take()
        canary = self._plant()
        old = self._folder / "with-canary.backup"
        back_up(self._copy.settings, old)
        self._copy.build()
        with self._copy.engine() as engine:
            number = _recognised(engine, canary, self._home)
            yield self._forget(engine, canary, number)
        self._stage("restore a backup that holds the person")
        restore(old, self._copy.settings)
        with self._copy.store() as store:
            yield _attempt("restore a backup that holds the person", self._found(store, canary, number))
        self._copy.build()
        with self._copy.engine() as engine:
            yield self._look("build the index anew", engine, canary, number)
            yield self._ingest(engine, canary, number)
            yield self._send(engine, canary, number)
            yield self._put(engine, canary, number)

    def _stage(self, name: str) -> None:
        self._copy.progress.stage(name, 0)

    def _take(self) -> None:
        """Put the system's data into the copy."""
        self._stage("copy the system")
        taken = self._folder / "system.backup"
        back_up(self._settings, taken)
        restore(
            taken, self._copy.settings, without_later_erasures=True, elsewhere=True
        )  # it holds the newest ledger itself

    def _plant(self) -> Canary:
        with self._copy.store() as store:
            items = [item.id for item in islice(store.items(), EVENTS)]
            if not items:
                raise InvalidInput("There are no items yet: ingest a catalogue first (`rag-rec ingest`).")
            canary = Canary.on(items)
            store.put_users([canary.user])
            store.append(canary.events)
        return canary

    def _forget(self, engine: Engine, canary: Canary, number: int) -> Attempt:
        """Forget the person as a privacy officer does, and check the receipt."""
        self._stage("forget the person")
        plan = engine.officer.plan(ForgetRequest.of(canary.user.id)).plan
        outcome = engine.officer.forget(ForgetRequest.of(canary.user.id, confirm=canary.user.id, plan=plan))
        verdict = check_receipt(engine.officer.receipt(outcome.request_id), open_signer(self._copy.settings).verifier)
        problems = [] if verdict.valid and verdict.complete else [f"the receipt leaves open: {', '.join(verdict.open)}"]
        return self._look("none: look after the person was forgotten", engine, canary, number, problems)

    def _ingest(self, engine: Engine, canary: Canary, number: int) -> Attempt:
        """Ingest a file with the person's events again."""
        path = self._folder / "events.jsonl"
        path.write_bytes(b"".join(orjson.dumps(asdict(event)) + b"\n" for event in canary.events))
        with self._copy.store() as store:
            job = Ingest(store, Limits(), self._copy.progress)
            result = job.run(JsonlSource(File.at(path), Kind.INTERACTIONS), self._folder / "rejects.jsonl")
        refused = [] if result.suppressed == len(canary.events) else [f"{result.accepted} events were taken"]
        return self._look("ingest a file with the person's events", engine, canary, number, refused)

    def _send(self, engine: Engine, canary: Canary, number: int) -> Attempt:
        """Send the person's events late."""
        result = engine.add_interactions(canary.user.id, canary.events)
        refused = [] if result.suppressed == len(canary.events) else [f"{result.accepted} events were taken"]
        return self._look("send the person's events late", engine, canary, number, refused)

    def _put(self, engine: Engine, canary: Canary, number: int) -> Attempt:
        """Put the person's attributes again."""
        try:
            engine.put_user(canary.user)
            problems = ["the person was taken"]
        except Forgotten:
            problems = []
        return self._look("put the person's attributes", engine, canary, number, problems)

    def _look(self, attempt: str, engine: Engine, canary: Canary, number: int, problems: Sequence[str] = ()) -> Attempt:
        self._stage("look for the person")
        known = engine.recommend(RecommendationRequest(canary.user.id, k=1)).provenance.known_user
        familiar = ["the recommender knows the person"] if known else []
        with self._copy.store() as store:
            return _attempt(attempt, [*problems, *familiar, *self._found(store, canary, number)])

    def _found(self, store: SqlStore, canary: Canary, number: int) -> Iterator[str]:
        """What there is of the person in the copy."""
        if store.user(canary.user.id) is not None:
            yield "the person is in the store"
        if vectors_in_files(Generations(self._copy.settings.generations), [number]):
            yield "the person is in the index"
        left = traces_of(canary.marks, self._home)
        if left.occurrences:
            yield f"{left.occurrences} traces in {left.files} files"
        if not _ledger_is_sound(store, self._copy.settings):
            yield "the ledger is broken"


def check_backup(path: Path, settings: Settings, copied: Settings) -> Attempt:
    """Restore a backup of the system into a copy, with the system's ledger, and look who is back.

    Raises:
        InvalidInput, WrongKey, IncompatibleStore, BrokenLedger: the backup cannot be restored.
    """
    with closing(existing_store_of(settings)) as store:
        ledgers = [store.ledger(), LedgerFile(settings.ledger_file).read()]
    restore(path, copied, ledgers, elsewhere=True)
    with opened(copied.database_url) as database:
        found = returned(database, max(ledgers, key=len), open_pseudonyms(copied))
    seen = f"{found.people_back} of {found.people} people and {found.interactions_back} of {found.interactions} events"
    return Attempt("restore this backup", found.nobody, f"{seen} that were forgotten are back")


def _recognised(engine: Engine, canary: Canary, home: Path) -> int:
    """The person's number. Adds the person's vectors to what is looked for, and makes sure that all of it is found."""
    stored = engine.store.user(canary.user.id)
    known = engine.recommend(RecommendationRequest(canary.user.id, k=1)).provenance.known_user
    if stored is None or not known:
        raise RagRecError("The drill cannot begin: the person who was planted is not known to the recommender.")
    number, people = stored[0], engine.live.people
    vectors = [people.profile(number), *people.own_vectors(number).values()]
    canary.marks.extend(vector.astype(np.float16).tobytes() for vector in vectors if vector is not None)
    if not traces_of(canary.marks, home).occurrences:
        raise RagRecError("The drill cannot begin: no trace of the person who was planted is found in any file.")
    return number


def _ledger_is_sound(store: SqlStore, settings: Settings) -> bool:
    entries = store.ledger()
    try:
        verify_chain(entries, open_signer(settings).verifier)
    except BrokenLedger:
        return False
    return LedgerFile(settings.ledger_file).read() == entries


def _attempt(name: str, problems: Sequence[str] | Iterator[str]) -> Attempt:
    seen = "; ".join(problems)
    return Attempt(name, not seen, seen or "nothing is left")
