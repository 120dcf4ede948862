"""A small system with people to forget, in every place where something of them can lie, and what is to be forgotten."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from indexer.build import Builder
from rag_rec.adapters.checkpoint import Checkpoint, Checkpoints, TrainingState
from rag_rec.adapters.folder import AdapterStore
from rag_rec.candidates.reranker import Reranker
from rag_rec.domain import Interaction
from rag_rec.engine.engine import Engine
from rag_rec.forgetting.request import ForgetRequest
from rag_rec.home.opening import store_of
from rag_rec.index.signed import generations_of
from rag_rec.progress.protocol import Silent
from rag_rec.proof.forensics import marks_of
from rag_rec.settings import Settings
from rag_rec.store.protocol import Store
from rag_rec.store.records import Selection, StoredInteraction
from tests.embedders import HashEmbedder
from tests.homes import ITEMS, build, engine_of, fill, settings_for
from tests.rag_rec.forgetting.asking import confirmed

DAY: Final = 86_400_000
CANARIES: Final = ("canary-a-4c1d", "canary-b-93fe", "canary-c-0b77")
GONE: Final = "canary-z-61aa"
"""Is forgotten before anything else, so that the ledger is not empty."""

Rows = Mapping[str, list[list[Any]]]
"""Every interaction of every user: (number, item, time, event, value, text)."""


@dataclass(frozen=True, slots=True)
class Case:
    """A request; ``served`` by a process with the index in memory, or else carried out as a command."""

    name: str
    request: ForgetRequest
    served: bool


CASES: Final = (
    Case("a user, in a service", ForgetRequest(CANARIES[:1]), served=True),
    Case("a user, by command", ForgetRequest(CANARIES[:1]), served=False),
    Case("items, in a service", ForgetRequest(CANARIES[:1], Selection(item_ids=frozenset({"item-1"}))), served=True),
    Case("a time range, by command", ForgetRequest(CANARIES[1:2], Selection(after=203 * DAY)), served=False),
    Case("a batch, in a service", ForgetRequest(CANARIES), served=True),
)


@dataclass(frozen=True, slots=True)
class Expected:
    """What there is of a case before it is carried out.

    Attributes:
        plan: the hash to quote.
        rows: of everybody.
        gone: numbers of the interactions that are to go.
        marks: byte sequences that may be nowhere afterwards.
    """

    plan: str
    rows: Rows
    gone: frozenset[int]
    marks: tuple[bytes, ...]

    def plain(self) -> dict[str, Any]:
        """The same as plain JSON values."""
        marks = [mark.hex() for mark in self.marks]
        return {"plan": self.plan, "rows": self.rows, "gone": sorted(self.gone), "marks": marks}

    @classmethod
    def parsed(cls, plain: Mapping[str, Any]) -> Expected:
        """What :meth:`plain` gave."""
        marks = tuple(map(bytes.fromhex, plain["marks"]))
        return cls(plain["plan"], plain["rows"], frozenset(plain["gone"]), marks)

    def left(self, user_ids: tuple[str, ...]) -> Rows:
        """What is to remain of everybody when these users, as a whole or in part, have been forgotten."""
        kept = {user: [row for row in rows if row[0] not in self.gone] for user, rows in self.rows.items()}
        return {user: rows for user, rows in kept.items() if rows or user not in user_ids}

    def without(self, user_ids: tuple[str, ...]) -> Expected:
        """The same where these users have gone meanwhile."""
        return replace(self, rows={user: rows for user, rows in self.rows.items() if user not in user_ids})


class Stopped(Exception):
    """A build was stopped."""


class StopAmongPeople(Silent):
    """Stops a build when it has written the last of the people, and before it has written the last shard."""

    def __init__(self) -> None:
        self._left: float = float("inf")

    def stage(self, name: str, total: int) -> None:
        """Note that the build has come to the people."""
        self._left = total if name == "people" else float("inf")

    def advance(self, steps: int) -> None:
        """Stop after the last user."""
        self._left -= steps
        if self._left <= 0:
            raise Stopped


def prepare(home: Path) -> Settings:
    """Make the system: two generations, an unfinished build, a checkpoint of a training, and a first removal."""
    settings = settings_for(home)
    fill(settings, list(_log()))
    build(settings, reranker=Reranker.default())
    engine = engine_of(settings)
    engine.officer.forget(confirmed(engine.officer, ForgetRequest.of(GONE)))
    engine.add_interactions("user-0", [Interaction("user-0", "item-9", 400 * DAY, "like")])
    engine.close()
    build(settings, reranker=Reranker.default())
    _leave_unfinished(settings)
    return settings


def expectation(engine: Engine, case: Case) -> Expected:
    """What there is before a case is carried out."""
    rows = rows_of(engine.store)
    selection = case.request.selection
    numbers = {user: _number(engine, user) for user in case.request.user_ids}
    chosen = {user: engine.store.select(number, selection or Selection()) for user, number in numbers.items()}
    gone = frozenset(number for selected in chosen.values() for number in selected)
    texts = [row[5] for user in chosen for row in rows[user] if row[0] in gone and row[5]]
    named = texts if selection else [*chosen, *texts]
    marks = [mark for text in named for mark in marks_of(text)]
    marks += [code for number in numbers.values() for code in _codes(engine, number, gone)]
    return Expected(engine.officer.plan(case.request).plan, rows, gone, tuple(marks))


def rows_of(store: Store) -> Rows:
    """Every interaction of every user, by number."""
    found: dict[str, list[list[Any]]] = {}
    for number, _ in store.histories():
        rows = store.interactions(number)
        found[rows[0].interaction.user_id] = sorted(map(_fields, rows))
    return found


def _fields(row: StoredInteraction) -> list[Any]:
    told = row.interaction
    return [row.number, told.item_id, told.time, told.event, told.value, told.text]


def _codes(engine: Engine, number: int, gone: frozenset[int]) -> Iterator[bytes]:
    """A user's profile and the vectors of the texts that go, as they lie in files."""
    own = engine.live.people.own_vectors(number)
    vectors = [vector for interaction, vector in own.items() if interaction in gone]
    for vector in [engine.live.people.profile(number), *vectors]:
        yield np.asarray(vector, dtype=np.float16).tobytes()


def _number(engine: Engine, user_id: str) -> int:
    found = engine.store.user(user_id)
    if found is None:
        raise LookupError("The prepared system lacks a user.")
    return found[0]


def _log() -> Iterator[Interaction]:
    for user in range(5):
        for n in range(5):
            yield Interaction(f"user-{user}", ITEMS[(user + n) % len(ITEMS)].id, (100 + n) * DAY, "like")
    for at, user_id in enumerate((*CANARIES, GONE)):
        for n in range(6):
            text = f"words {n} that only {user_id} would say" if n % 2 else None
            yield Interaction(user_id, ITEMS[(at + n) % len(ITEMS)].id, (200 + n) * DAY, "like", text=text)


def _leave_unfinished(settings: Settings) -> None:
    """What interrupted jobs leave: a build among the people, and a checkpoint of a training."""
    store = store_of(settings)
    store.append([Interaction("user-1", "item-10", 401 * DAY, "like")])
    builder = Builder(store, generations_of(settings), settings, HashEmbedder(), StopAmongPeople(), Reranker.default())
    with suppress(Stopped):
        builder.build(fresh=True)
    training = AdapterStore(settings.compact).training
    Checkpoints(training, "any").save(Checkpoint(TrainingState(1, 0.5, {}), store.epoch()))
    store.close()
