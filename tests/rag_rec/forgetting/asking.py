"""Forgets people as a privacy officer does: a dry run, then the command that quotes its plan."""

from __future__ import annotations

from dataclasses import replace

from rag_rec.engine.officer import Officer
from rag_rec.engine.tending import open_saga
from rag_rec.forgetting.request import ForgetOutcome, ForgetRequest
from rag_rec.forgetting.saga import Saga
from rag_rec.home.opening import store_of
from rag_rec.settings import Settings
from rag_rec.store.records import Selection


def confirmed(system: Officer | Saga, request: ForgetRequest) -> ForgetRequest:
    """The request with its plan and subject quoted."""
    return replace(request, confirm=request.subject, plan=system.plan(request).plan)


def forget(system: Officer | Saga, user_id: str, selection: Selection | None = None) -> ForgetOutcome:
    """Forget one user, or some of a user's interactions."""
    return system.forget(confirmed(system, ForgetRequest.of(user_id, selection)))


def forget_all(system: Officer | Saga, *user_ids: str) -> ForgetOutcome:
    """Forget several users in one batch."""
    return system.forget(confirmed(system, ForgetRequest(user_ids)))


def forget_in(settings: Settings, user_id: str, selection: Selection | None = None) -> ForgetOutcome:
    """Forget without a running engine, as the command line does."""
    store = store_of(settings)
    try:
        return forget(open_saga(settings, store), user_id, selection)
    finally:
        store.close()
