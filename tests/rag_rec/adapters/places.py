"""Adapters that hold nothing but a name, and requests that are accepted and no more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from rag_rec.adapters.folder import AdapterStore
from rag_rec.layers.records import ForgetRecord, ForgetState
from rag_rec.store.protocol import Store
from tests.rag_rec.store.erasing import chained, erasure_of

HOUR = 3_600_000
NOON = 12 * HOUR


def writing(content: str) -> Callable[[Path], None]:
    """Writes a folder with one file."""

    def write(folder: Path) -> None:
        (folder / "weights").write_text(content)

    return write


def put_base(compact: AdapterStore) -> str:
    """Publish a base, always the same one."""
    return compact.publish_base(writing("base"), epoch=1, settings={}, counts={}).digest


def put_adapter(compact: AdapterStore, name: str, epoch: int, *, use: bool = False) -> str:
    """Publish an adapter whose people were read at an epoch, and put it to use if asked."""
    base = put_base(compact)
    digest = compact.publish_adapter(writing(name), base=base, epoch=epoch, settings={}, counts={}).digest
    if use:
        compact.set_current(base, digest)
    return digest


def forget(store: Store, user_id: str, created: int = NOON, days: int = 30) -> ForgetRecord:
    """Accept the request of a user, at a time, named after the user."""
    erasure = replace(
        erasure_of(store, user_id, request_id=f"request of {user_id}"),
        created=created,
        deadline=created + days * 24 * HOUR,
    )
    return store.accept([erasure], chained)[0]


def complete(store: Store, record: ForgetRecord) -> None:
    """Say that a request is complete."""
    store.extend_ledger(lambda _: ([], [replace(record, state=ForgetState.COMPLETE)]))
