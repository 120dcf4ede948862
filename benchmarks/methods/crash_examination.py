"""What must be found after a crash: a removal that never began, or one that is complete.

The next process that opens the system has to find it, or a service that lived on while its removal process was killed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from benchmarks.methods.crash_cases import Case, Expected, expectation, rows_of
from rag_rec.domain import RecommendationRequest
from rag_rec.engine.engine import Engine
from rag_rec.engine.tending import open_saga
from rag_rec.errors import RagRecError
from rag_rec.forgetting.ledger.chain import verify_chain
from rag_rec.forgetting.ledger.file import LedgerFile
from rag_rec.forgetting.receipts.document import check_receipt
from rag_rec.forgetting.request import ForgetOutcome, ForgetRequest
from rag_rec.home.opening import store_of
from rag_rec.identity.signing import Verifier
from rag_rec.index.generation import verify_files
from rag_rec.proof.forensics import traces_of
from rag_rec.proof.table import compare
from rag_rec.proof.twin import build_twin
from rag_rec.settings import Settings
from tests.homes import engine_of

Recovery = Literal["service", "resume", "repeat"]
"""What goes on after a crash: a service that starts, ``forget resume``, or the same command again."""

OTHER: Final = Case("somebody else", ForgetRequest.of("user-3"), served=True)
"""Is forgotten after a crash that the service outlives."""


@dataclass(slots=True)
class Examination:
    """What was wrong after a crash; nothing, if all is well.

    Attributes:
        accepted: whether the request had been accepted before the crash.
        left_behind: something of the person is left.
        incomplete: an accepted request did not complete, or has no complete receipt.
        lost: something that should have stayed is gone, or is not as it was.
        ledger_broken: the ledger, or its copy, is not whole.
    """

    accepted: bool = False
    left_behind: list[str] = field(default_factory=list)
    incomplete: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    ledger_broken: list[str] = field(default_factory=list)

    def add(self, other: Examination) -> None:
        """Add what was found wrong by another look."""
        self.left_behind += other.left_behind
        self.incomplete += other.incomplete
        self.lost += other.lost
        self.ledger_broken += other.ledger_broken


def recover(settings: Settings, case: Case, expected: Expected, recovery: Recovery) -> None:
    """Open a system as it is opened after a crash, which finishes what was accepted."""
    if recovery == "service":
        engine_of(settings).close()
        return
    with closing(store_of(settings)) as store:
        saga = open_saga(settings, store)
        if recovery == "resume":
            saga.resume()
        elif store.forget_records(plan=expected.plan):
            saga.forget(quoted(case, expected))


def examine(settings: Settings, case: Case, expected: Expected, recovery: Recovery) -> Examination:
    """Recover in this process, look at everything, and carry the request out if it had not been accepted."""
    store = store_of(settings)
    found = Examination(accepted=bool(store.forget_records(plan=expected.plan)))
    if not found.accepted and rows_of(store) != expected.rows:
        found.lost.append("rows of a request that was never accepted")
    store.close()
    recover(settings, case, expected, recovery)
    with closing(engine_of(settings)) as engine:
        _inspect(engine, case, expected, found, accepted=found.accepted)
    return found


def examine_living(engine: Engine, case: Case, expected: Expected, outcome: ForgetOutcome) -> Examination:
    """Look at everything in a service that went on, and at everything again when it has forgotten somebody else."""
    found = Examination()
    _inspect_outcome(engine, case, expected, outcome, found)
    other = expectation(engine, OTHER)
    _inspect_outcome(engine, OTHER, other, engine.officer.forget(quoted(OTHER, other)), found)
    return found


def quoted(case: Case, expected: Expected) -> ForgetRequest:
    """The request of a case with its plan and subject quoted."""
    return replace(case.request, confirm=case.request.subject, plan=expected.plan)


def _inspect_outcome(
    engine: Engine, case: Case, expected: Expected, outcome: ForgetOutcome, found: Examination
) -> None:
    """Look at everything after a request was answered, and at the answer."""
    receipts = [engine.officer.receipt(name) for name in outcome.requests]
    if outcome.repeated or outcome.state != "complete":
        found.incomplete.append(f"answered as {outcome.state}, repeated: {outcome.repeated}")
    if len(engine.store.forget_records(plan=expected.plan)) != len(case.request.user_ids):
        found.incomplete.append("not one record for each person")
    _inspect(engine, case, expected, found, accepted=True)
    if [engine.officer.receipt(name) for name in outcome.requests] != receipts:
        found.incomplete.append("another receipt than at first")


def _inspect(engine: Engine, case: Case, expected: Expected, found: Examination, *, accepted: bool) -> None:
    """Look at everything; the request is given once more, or for the first time if it had not been accepted."""
    found.incomplete += ["pending after recovery"] if engine.officer.pending() else []
    found.incomplete += _repeated(engine, quoted(case, expected), accepted=accepted)
    found.left_behind += _left(engine, case, expected)
    found.lost += _lost(engine, case, expected)
    found.ledger_broken += _ledger_faults(engine)


def _repeated(engine: Engine, request: ForgetRequest, *, accepted: bool) -> Iterator[str]:
    """The same request again gives the same receipts; each is valid and complete."""
    outcome = engine.officer.forget(request)
    if outcome.repeated != accepted:
        yield "accepted twice, or not at all"
    if outcome.state != "complete":
        yield f"state {outcome.state}"
    receipts = [engine.officer.receipt(name) for name in outcome.requests]
    again = engine.officer.forget(request)
    if [engine.officer.receipt(name) for name in again.requests] != receipts:
        yield "another receipt for the same request"
    verifier = Verifier.from_pem(engine.officer.public_key())
    if not all(check_receipt(receipt, verifier).complete for receipt in receipts):
        yield "a receipt is not complete"


def _left(engine: Engine, case: Case, expected: Expected) -> Iterator[str]:
    """Where something of the person is left."""
    for path in sorted(path for path in engine.settings.home.rglob("*") if path.is_file()):
        if traces_of(expected.marks, path).occurrences:
            yield f"bytes in {path.relative_to(engine.settings.home)}"
    if case.request.selection is None:
        for user_id in case.request.user_ids:
            if engine.recommend(RecommendationRequest(user_id, k=3)).provenance.known_user:
                yield "known to the recommender"
    if any(engine.current.generations.leftovers()) or any(engine.settings.compact.glob("training/*")):
        yield "leftovers of an interrupted rewriting, or checkpoints"


def _lost(engine: Engine, case: Case, expected: Expected) -> Iterator[str]:
    """What is not as it was of everybody else, and of the memory and the index, which must equal a twin's."""
    if rows_of(engine.store) != expected.left(case.request.user_ids):
        yield "rows of others"
    for name in engine.current.generations.names():
        try:
            verify_files(engine.current.generations.open(name))
        except RagRecError as error:
            yield f"a generation: {error.code}"
    twin = build_twin(engine.live, engine.store, engine.settings, engine.embedder)
    yield from (f"twin: {row.check}" for row in compare(engine.live, twin).rows if not row.equal)


def _ledger_faults(engine: Engine) -> Iterator[str]:
    entries, copy = engine.store.ledger(), LedgerFile(engine.settings.ledger_file)
    try:
        verify_chain(entries, Verifier.from_pem(engine.officer.public_key()))
        if copy.read() != entries:
            yield "the copy differs from the store's"
    except RagRecError as error:
        yield error.code
