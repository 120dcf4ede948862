"""Right to be forgotten: plan, removal, receipt and proof."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Path, Query, Response

from rag_rec.errors import RagRecError, Unfinished
from rag_rec.forgetting.receipts.outlook import Outlook
from rag_rec.forgetting.request import ForgetOutcome, ForgetRequest
from rag_rec.layers.records import ForgetRecord, ForgetState
from serving.admission import KEYED, PROTECTED, WITH_BODY, needing
from serving.answers import errors
from serving.auth import Role
from serving.bodies import takes
from serving.errors import JSON, json_response
from serving.fields import MAX_BATCH, Id
from serving.forget_answers import (
    PROOF,
    RECEIPT,
    BatchAnswer,
    ForgetAnswer,
    ForgetRecordAnswer,
    KeyAnswer,
    PlanAnswer,
    RequestsAnswer,
)
from serving.forget_schemas import DeleteQuery, FindBody, ForgetBody, RequestsQuery
from serving.limits import MIB
from serving.service import CurrentService, Service

if TYPE_CHECKING:  # it brings the numerical libraries, which --help does not need
    from rag_rec.engine.engine import Engine

LOOKED_AT = 20
"""Of a batch, so many requests are looked at to say what the state of the least advanced one means."""

router = APIRouter(route_class=needing(Role.PRIVACY), tags=["privacy"], responses=PROTECTED)
key = APIRouter(route_class=needing(None), tags=["privacy"], responses={**KEYED, **errors(503)})


@router.delete("/v1/users/{user_id:id}", response_model=PlanAnswer | ForgetAnswer, responses=errors(404, 409))
async def delete_user(
    user_id: Annotated[Id, Path()], query: Annotated[DeleteQuery, Query()], service: CurrentService
) -> Response:
    """Forget a user. First `dry_run=true`, which says what would go; then `confirm` and `plan` quote what it said.

    The answer comes when no answer that knows the person can leave the service any more.
    """
    request = ForgetRequest.of(user_id, None, query.confirm, query.plan)
    return await (_plan(service, request) if query.dry_run else _forget(service, request))


@router.post("/v1/forget", response_model=PlanAnswer | ForgetAnswer, responses={**WITH_BODY, **errors(404, 409)})
@takes(4 * MIB, values=3 * MAX_BATCH + 64)
async def forget(body: ForgetBody, service: CurrentService) -> Response:
    """Forget a user, a batch of users, or some of a user's interactions. It cannot be undone.

    First `dry_run`, which says what would go; then `confirm` and `plan` quote what it said.
    """
    request = body.request()
    return await (_plan(service, request) if body.dry_run else _forget(service, request))


@router.get("/v1/forget", response_model=RequestsAnswer)
async def requests(query: Annotated[RequestsQuery, Query()], service: CurrentService) -> Response:
    """The forget requests there are, oldest first."""
    look = partial(service.ready_engine.officer.forget_requests, pending=query.pending, newest=query.newest)
    return json_response({"requests": await service.inspections.run(_all_shown, look)})


@router.post("/v1/forget/find", response_model=RequestsAnswer, responses=WITH_BODY)
async def find(body: FindBody, service: CurrentService) -> Response:
    """The forget requests about a person, oldest first, by the id that the person has or had."""
    look = partial(service.ready_engine.officer.find, body.user_id)
    return json_response({"requests": await service.inspections.run(_all_shown, look)})


@router.get("/v1/forget/{request:request}", response_model=ForgetRecordAnswer | BatchAnswer, responses=errors(404))
async def forget_status(request: Annotated[Id, Path()], service: CurrentService) -> Response:
    """How far a forget request has come, or every request of a batch."""
    shown = await service.inspections.run(_all_shown, partial(service.ready_engine.officer.forget_records, request))
    if shown[0]["request_id"] == request:
        return json_response(shown[0])
    return json_response({"batch": request, "requests": shown})


@router.get("/v1/forget/{request:request}/receipt", response_class=Response, responses={**RECEIPT, **errors(404)})
async def receipt(request: Annotated[Id, Path()], service: CurrentService) -> Response:
    """The signed receipt of a request, its latest revision. `rag-rec receipt verify` checks it without the service."""
    text = await service.inspections.run(service.ready_engine.officer.receipt, request)
    return Response(text.encode(), media_type=JSON)


@router.post("/v1/forget/{request:request}/prove", response_class=Response, responses={**PROOF, **errors(404)})
async def prove(request: Annotated[Id, Path()], service: CurrentService) -> Response:
    """Compare the system with one that never knew the person, and add the table to the receipt.

    It takes minutes where there are many users, and the answer comes at the end: nothing is told meanwhile. Allow for
    it in the client's time limit, or run `rag-rec prove`, which tells on stderr how far it has come.
    """
    return json_response(await service.proofs.run(service.ready_engine.officer.prove, request))


@key.get("/v1/receipts/key", response_model=KeyAnswer)
async def receipt_key(service: CurrentService) -> Response:
    """The public key that verifies receipts. Needs a key of the interface with any role."""
    return json_response({"key": await service.inspections.run(service.ready_engine.officer.public_key)})


async def _plan(service: Service, request: ForgetRequest) -> Response:
    return json_response(await service.removals.run(service.ready_engine.officer.plan, request))


async def _forget(service: Service, request: ForgetRequest) -> Response:
    """Carry out a removal, and acknowledge it when nothing that was begun before can leave any more."""
    started = perf_counter()
    try:
        outcome, outlook = await service.removals.run(_carry_out, service.ready_engine, request)
    except Exception as error:  # counted, whatever it is, and raised again
        service.metrics.count_forget_failure(error)
        if isinstance(error, Unfinished):  # accepted all the same
            await service.let_earlier_answers_leave(cut_off=True)
        raise
    service.metrics.forgetting.expect([outcome.request_id])
    await service.let_earlier_answers_leave(cut_off=not outcome.repeated)
    seconds = perf_counter() - started
    service.metrics.count_forget(outcome, seconds)
    _log(service, outcome, seconds)
    return json_response(asdict(outcome) | outlook.content())


def _carry_out(engine: Engine, request: ForgetRequest) -> tuple[ForgetOutcome, Outlook]:
    """What went, and what its state means. What cannot be looked up keeps no acknowledgement back."""
    outcome = engine.officer.forget(request)
    state = ForgetState(outcome.state)
    try:
        records = (engine.officer.forget_records(name)[0] for name in outcome.requests[:LOOKED_AT])
        found = next((record for record in records if record.state is state), None)
    except RagRecError:
        found = None
    return outcome, Outlook.of_state(state) if found is None else Outlook.of(found)


def _log(service: Service, outcome: ForgetOutcome, seconds: float) -> None:
    """One line, by which a removal that was acknowledged can be found again: it names the request and no person."""
    service.log.info(
        "removal",
        request_id=outcome.request_id,
        scope=outcome.scope,
        state=outcome.state,
        people=len(outcome.requests),
        repeated=outcome.repeated,
        ms=round(1000 * seconds, 3),
    )


def _all_shown(look: Callable[[], Sequence[ForgetRecord]]) -> list[dict[str, Any]]:
    """Looks records up and shows them: a receipt takes time to read, which the event loop must not spend."""
    return [_shown(record) for record in look()]


def _shown(record: ForgetRecord) -> dict[str, Any]:
    """The record without the number by which the store knows the person, and without the text of the receipt."""
    return {
        "request_id": record.request_id,
        "batch_id": record.batch_id,
        "subject": record.subject,
        "scope": record.scope,
        "state": record.state,
        "epoch_before": record.epoch_before,
        "epoch_after": record.epoch_after,
        "created": record.created,
        "deadline": record.deadline,
        "times": record.times,
        "removed": record.removed,
        "timings_ms": record.timings_ms,
        "receipt": record.receipt is not None,
        **Outlook.of(record).content(),
    }
