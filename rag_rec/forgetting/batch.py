"""Forgetting many users, with a report on what it does to everybody else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from rag_rec.forgetting.harm import assess, photograph
from rag_rec.forgetting.request import ForgetRequest
from rag_rec.forgetting.saga import Saga
from rag_rec.forgetting.system import open_system
from rag_rec.forgetting.twin import build_twin
from rag_rec.generation import Generations
from rag_rec.home import store_of
from rag_rec.keys import open_pseudonyms
from rag_rec.live import Live
from rag_rec.settings import Settings
from rag_rec.store.protocol import Store
from rag_rec.vectors.embedding import open_embedder
from rag_rec.vectors.protocol import Embedder


def forget_batch(settings: Settings, request: ForgetRequest, embedder: Embedder | None = None) -> Mapping[str, Any]:
    """Carry out a batch on a system of its own process, and report on those who remain.

    What others were shown is looked at before and after, and in a twin that never knew the batch; it is kept in memory
    only. A batch that was carried out before gives its outcome again, without a report.

    Raises:
        NotReady: there is no index by which others could be looked at.
    """
    embedder = embedder or open_embedder(settings.embedding_model, settings.embedding_threads)
    store = store_of(settings)
    try:
        live = Live.load(Generations(settings.generations).current(), store, settings, embedder)
        saga = Saga(open_system(settings, store, open_pseudonyms(settings), live))
        numbers = _numbers(store, request)
        if len(numbers) < len(request.user_ids):
            return asdict(saga.forget(request))
        before = photograph(live, store, numbers, settings)
        outcome = saga.forget(request)
        report = assess(before, live, build_twin(live, store, settings, embedder))
        return {**asdict(outcome), "report": report.table()}
    finally:
        store.close()


def _numbers(store: Store, request: ForgetRequest) -> list[int]:
    """Numbers of those users who are still there."""
    found = (store.user(user_id) for user_id in request.user_ids)
    return [person[0] for person in found if person is not None]
