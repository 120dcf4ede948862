from __future__ import annotations

import itertools

import pytest

from rag_rec.forgetting.conclusion import IN_FORCE, ORDER, PHYSICAL, advanced, state_of
from rag_rec.forgetting.layers import Finding, Layer, Status
from rag_rec.store.protocol import ForgetRecord, ForgetState

RECORD = ForgetRecord("r", None, "s", "p", "user", ForgetState.HIDDEN, 7, 3, 4, 1000, 9000, {"accepted": 1000})
CLEAN = dict.fromkeys(Layer, Status.PROVEN)


def findings(statuses: dict[Layer, Status]) -> list[Finding]:
    return [Finding(layer, status, "because") for layer, status in statuses.items()]


def test_everything_proven_is_complete() -> None:
    assert state_of(findings(CLEAN)) is ForgetState.COMPLETE


@pytest.mark.parametrize("layer", Layer)
@pytest.mark.parametrize("status", [None, Status.PENDING])
def test_no_layer_may_be_left_out_or_open(layer: Layer, status: Status | None) -> None:
    statuses = {**CLEAN, layer: status} if status else {k: v for k, v in CLEAN.items() if k is not layer}
    reached = state_of(findings(statuses))
    assert reached is not ForgetState.COMPLETE
    if layer in PHYSICAL:
        assert reached is ForgetState.HIDDEN
    elif layer in IN_FORCE:
        assert reached is ForgetState.ERASED
    elif layer is Layer.ADAPTER:
        assert reached is ForgetState.EFFECTIVE
    else:
        assert reached is ForgetState.UNLEARNED


def test_a_layer_named_twice_does_not_count_as_complete() -> None:
    doubled = [*findings(CLEAN), Finding(Layer.LOGS, Status.PROVEN, "again")]
    assert state_of(doubled) is ForgetState.UNLEARNED


@pytest.mark.parametrize(("before", "after"), list(itertools.combinations(ORDER[1:], 2)))
def test_a_record_keeps_the_time_of_every_state_it_passed(before: ForgetState, after: ForgetState) -> None:
    first = advanced(RECORD, before, 2000)
    second = advanced(first, after, 3000)
    for state in ORDER[1:]:
        place = ORDER.index(state)
        expected = 2000 if place <= ORDER.index(before) else 3000 if place <= ORDER.index(after) else None
        assert second.times.get(state.value) == expected
    assert second.times["accepted"] == 1000


def test_the_number_is_kept_until_the_request_is_effective() -> None:
    assert advanced(RECORD, ForgetState.ERASED, 1).user_number == 7
    assert advanced(RECORD, ForgetState.EFFECTIVE, 1).user_number is None
