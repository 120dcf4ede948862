"""Forgetting many users, with a report on what it does to everybody else."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict
from typing import Any

from rag_rec.engine.system import open_system
from rag_rec.engine.tending import tend
from rag_rec.forgetting.request import ForgetRequest
from rag_rec.forgetting.saga import Saga
from rag_rec.home.keys import open_pseudonyms
from rag_rec.home.opening import existing_store_of
from rag_rec.index.generation import Generations
from rag_rec.index.serving_state import ServingState
from rag_rec.progress.protocol import SILENT, Progress
from rag_rec.proof.harm import assess, photograph
from rag_rec.proof.twin import build_twin
from rag_rec.settings import Settings
from rag_rec.store.protocol import Store
from rag_rec.vectors.embedding import open_embedder
from rag_rec.vectors.protocol import Embedder


def forget_batch(
    settings: Settings, request: ForgetRequest, embedder: Embedder | None = None, progress: Progress = SILENT
) -> Mapping[str, Any]:
    """Carry out a batch on a system of its own process, and report on those who remain.

    What others were shown is looked at before and after, and in a twin that never knew the batch; it is kept in memory
    only. A batch that was carried out before gives its outcome again, without a report.

    Raises:
        NotReady: there is no index by which others could be looked at.
    """
    with closing(existing_store_of(settings)) as store:
        tend(settings, store, thorough=True)
        embedder = embedder or open_embedder(settings.embedding_model, settings.embedding_threads)
        progress.stage("load the index", 0)
        live = ServingState.load(Generations(settings.generations).current(), store, settings, embedder)
        saga = Saga(open_system(settings, store, open_pseudonyms(settings), live))
        numbers = _numbers(store, request)
        if len(numbers) < len(request.user_ids):
            return asdict(saga.forget(request))
        progress.stage("look at those who remain", 0)
        before = photograph(live, store, numbers, settings)
        progress.stage("forget", 0)
        outcome = saga.forget(request)
        twin = build_twin(live, store, settings, embedder, progress)
        progress.stage("compare with the twin", 0)
        report = assess(before, live, twin)
        return {**asdict(outcome), "report": report.table()}


def report_in_words(done: Mapping[str, Any]) -> dict[str, Any]:
    """The outcome of a batch with its report as people read it: a sentence, a table, and what there is to know."""
    words = {name: value for name, value in done.items() if name != "report"}
    report = done.get("report")
    if report is None:
        return words
    verdict = "no difference" if report["as_twin"] else "the lists of those who remain differ"
    return words | {
        "Against the twin": verdict,
        "Those who remain": [_line(row) for row in report["rows"]],
        "Notes": report["notes"],
    }


def _line(row: Mapping[str, Any]) -> dict[str, Any]:
    """A group: NDCG before, its change with the interval, and the overlap of the lists before and after."""
    return {
        "group": row["group"],
        "users": row["users"],
        "NDCG": f"{row['ndcg_before']:.4f}",
        "change": f"{row['ndcg_change']:+.4f} [{row['ndcg_low']:+.4f}, {row['ndcg_high']:+.4f}]",
        "overlap": f"{row['rbo']:.3f}",
        "against the twin": f"{row['ndcg_change_twin']:+.4f}" if row["ndcg_change_twin"] else None,
    }


def _numbers(store: Store, request: ForgetRequest) -> list[int]:
    """Numbers of those users who are still there."""
    found = (store.user(user_id) for user_id in request.user_ids)
    return [person[0] for person in found if person is not None]
