"""Forget requests as the store lists them."""

from __future__ import annotations

from rag_rec.layers.records import ForgetRecord, ForgetState

DAY = 86_400


def record(request_id: str, state: ForgetState, created: int = 0, batch_id: str | None = None) -> ForgetRecord:
    return ForgetRecord(
        request_id=request_id,
        batch_id=batch_id,
        subject="s",
        plan="p",
        scope="user",
        state=state,
        user_number=None,
        epoch_before=0,
        epoch_after=1,
        created=1000 * created,
        deadline=1000 * (created + 30 * DAY),
        times={"hidden": 1000 * created, state.value: 1000 * (created + 3)},
    )
