"""A real system and its model side by side: what is done to the one is done to the other, and both are compared."""

from __future__ import annotations

import shutil
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.methods.interruptions import Point, stopped_at
from rag_rec.candidates.reranker import Reranker
from rag_rec.copies.restore import restore
from rag_rec.domain import Interaction, Item
from rag_rec.engine.engine import Engine
from rag_rec.errors import InvalidInput, LegalHold, UnknownUser
from rag_rec.forgetting.ledger.chain import verify_chain
from rag_rec.forgetting.ledger.file import LedgerFile
from rag_rec.forgetting.receipts.document import check_receipt
from rag_rec.forgetting.request import ForgetOutcome, ForgetRequest
from rag_rec.identity.signing import Verifier
from rag_rec.proof.forensics import marks_of, traces_of
from rag_rec.proof.table import compare
from rag_rec.proof.twin import build_twin
from rag_rec.settings import Settings
from tests.embedders import HashEmbedder
from tests.homes import ITEMS, build, engine_of, fill, settings_for
from tests.rag_rec.forgetting.asking import confirmed
from tests.rag_rec.forgetting.model import Key, Model, Snapshot, key_of
from tests.rag_rec.forgetting.stores import back_up

DAY = 86_400_000
PEOPLE = tuple(f"person-{name}-5d1e" for name in ("ada", "ben", "cleo", "dan", "eve", "fay"))

HistoryLine = tuple[Item, str, int, bool, bool]
"""An event: item, kind, day, whether it has a text of its own, and whether it happens now instead of on that day."""


class Interrupted(BaseException):
    """Stands for the death of the process."""


def interrupt() -> None:
    raise Interrupted


@dataclass
class Tally:
    """What was done."""

    steps: int = 0
    removals: int = 0
    crashes: int = 0
    restores: int = 0
    rebuilds: int = 0
    twins: int = 0

    def lacking(self) -> list[str]:
        """The kinds of which nothing was done."""
        return [kind for kind, count in asdict(self).items() if not count]


def small_system(home: Path) -> Settings:
    """A catalogue and a few people, with an index."""
    settings = settings_for(home)
    fill(settings, first_rows())
    build(settings, reranker=Reranker.default())
    return settings


def first_rows() -> list[Interaction]:
    """Four events of each of five people, one of them with a text of its own."""
    texts = {(at, at % 2): f"first remark of {user_id}" for at, user_id in enumerate(PEOPLE)}
    return [
        Interaction(user_id, ITEMS[2 * at + n].id, 10 * n * DAY, "like", text=texts.get((at, n)))
        for at, user_id in enumerate(PEOPLE[:5])
        for n in range(4)
    ]


class Pair:
    """A system that starts as a copy of another, and its model."""

    def __init__(self, template: Path, tally: Tally) -> None:
        self.tally = tally
        self.folder = Path(tempfile.mkdtemp(prefix="rag-rec-"))
        shutil.copytree(template, self.folder / "home")
        self.settings = settings_for(self.folder / "home")
        self.model = Model()
        self.model.append(first_rows())
        self.backups: list[tuple[Path, Snapshot]] = []
        self.requests: list[str] = []
        self._serial = 0
        self.engine = self._opened()

    def close(self) -> None:
        self.engine.close()
        shutil.rmtree(self.folder)

    def reopen(self) -> None:
        self.engine.close()
        self.engine = self._opened()

    def add(self, rows: list[Interaction]) -> None:
        """Post events of one user."""
        assert self.engine.add_interactions(rows[0].user_id, rows) == self.model.append(rows)

    def consent(self, user_id: str) -> None:
        """A person who was forgotten agrees to a new identity, or did before."""
        before, identity = self.model.forgotten[user_id], self.engine.officer.consent(user_id)
        assert identity.consented is not None
        assert before in (None, identity.consented)
        self.model.forgotten[user_id] = identity.consented

    def rebuild(self, *, fresh: bool) -> None:
        build(self.settings, fresh=fresh, reranker=Reranker.default())
        assert self.engine.refresh()
        self.tally.rebuilds += 1

    def back_up(self) -> None:
        path = self.folder / f"backup-{len(self.backups)}"
        back_up(self.settings, path)
        self.backups.append((path, self.model.snapshot()))

    def restore(self, path: Path, snapshot: Snapshot) -> None:
        """Put a backup in place, with the ledger as it is now, and build the index anew."""
        nothing_forgotten = not self.engine.store.ledger()
        self.engine.close()
        restore(path, self.settings, without_later_erasures=nothing_forgotten)
        self.model.restore(snapshot)
        build(self.settings, reranker=Reranker.default())
        self.engine = self._opened()
        self.nothing_is_back()
        self.tally.restores += 1

    def crash(self, request: ForgetRequest, point: Point) -> None:
        """Begin a removal and give it up at a point; the next process takes it up."""
        keys = self._meant(request)
        if self._means_nothing(request, keys) or self.model.held & set(request.user_ids):
            return
        quoted = confirmed(self.engine.officer, request)
        with stopped_at(point, interrupt), suppress(Interrupted):
            self.engine.officer.forget(quoted)
        self.reopen()
        self.tally.crashes += 1
        if self.engine.store.forget_records(plan=quoted.plan):
            self._removed(quoted, keys)
            self._check(self.engine.officer.forget(quoted))

    def _opened(self) -> Engine:
        engine = engine_of(self.settings)
        engine.attendance.join()
        return engine

    def event(self, user_id: str, told: HistoryLine) -> Interaction:
        item, event, day, has_text, now = told
        self._serial += 1
        moment = time.time_ns() // 1_000_000 + self._serial if now else day * DAY
        text = f"remark{self._serial} of {user_id}" if has_text else None
        value = float(1 + day % 5) if event == "rating" else None
        return Interaction(user_id, item.id, moment, event, value, text)

    def stored(self) -> dict[str, dict[Key, Interaction]]:
        found: dict[str, dict[Key, Interaction]] = {}
        for user_id in PEOPLE:
            person = self.engine.store.user(user_id)
            if person is not None:
                rows = self.engine.store.interactions(person[0])
                found[user_id] = {key_of(row.interaction): row.interaction for row in rows}
        return found

    def _meant(self, request: ForgetRequest) -> frozenset[Key]:
        """The interactions that a request for some of them means, by the words of the selection."""
        selection, rows = request.selection, self.model.users.get(request.user_ids[0], {})
        if selection is None:
            return frozenset()
        if selection.numbers:
            found = self.engine.officer.export(request.user_ids[0])[1]
            return frozenset(key_of(row.interaction) for row in found if row.number in selection.numbers)
        if selection.item_ids:
            return frozenset(key for key in rows if key[0] in selection.item_ids)
        after, before = selection.after, selection.before
        assert after is not None
        assert before is not None
        return frozenset(key for key in rows if after <= key[2] < before)

    def forget(self, request: ForgetRequest) -> None:
        if not self.model.users.keys() >= set(request.user_ids):
            with pytest.raises(UnknownUser):
                self.engine.officer.plan(request)
            return
        keys = self._meant(request)
        if self._means_nothing(request, keys):
            with pytest.raises(InvalidInput):
                self.engine.officer.plan(request)
            return
        quoted = confirmed(self.engine.officer, request)
        if self.model.held & set(request.user_ids):
            with pytest.raises(LegalHold):
                self.engine.officer.forget(quoted)
            return
        outcome = self.engine.officer.forget(quoted)
        assert outcome.removed["interactions"] == self._removed(quoted, keys)
        self._check(outcome)
        assert self.engine.officer.forget(quoted) == replace(outcome, repeated=True)

    def _means_nothing(self, request: ForgetRequest, keys: frozenset[Key]) -> bool:
        return request.selection is not None and not keys

    def _removed(self, request: ForgetRequest, keys: frozenset[Key]) -> int:
        self.tally.removals += len(request.user_ids)
        if request.selection is None:
            return self.model.forget_users(request.user_ids)
        return self.model.forget_rows(request.user_ids[0], keys)

    def _check(self, outcome: ForgetOutcome) -> None:
        """The removal is complete, receipts and ledger are sound, and nothing is left."""
        assert outcome.state == "complete"
        assert all(map(self.is_complete, outcome.requests))
        self.requests = [*self.requests, *outcome.requests][-3:]
        entries, verifier = self.engine.store.ledger(), Verifier.from_pem(self.engine.officer.public_key())
        verify_chain(entries, verifier)
        assert LedgerFile(self.settings.ledger_file).read() == entries
        self.nothing_is_back()

    def is_complete(self, request_id: str) -> bool:
        return check_receipt(
            self.engine.officer.receipt(request_id), Verifier.from_pem(self.engine.officer.public_key())
        ).complete

    def nothing_is_back(self) -> None:
        """No byte is left of texts that were forgotten, their vectors, and ids of people who are gone."""
        texts = sorted(self.model.marks)
        vectors = [vector.astype(np.float16).tobytes() for vector in HashEmbedder().embed(texts)]
        sought = [mark for text in [*texts, *self.model.gone()] for mark in marks_of(text)] + vectors
        assert traces_of(sought, self.settings.home).occurrences == 0

    def equals_its_twin(self) -> None:
        engine = self.engine
        twin = build_twin(engine.live, engine.store, self.settings, engine.embedder)
        assert [row.check for row in compare(engine.live, twin).rows if not row.equal] == []
        self.tally.twins += 1
