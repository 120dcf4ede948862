from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest

from rag_rec.errors import Busy, CorruptIndex, RagRecError
from rag_rec.forgetting.attempt import FAILED, attempt
from rag_rec.layers.finding import Finding, LayerName, Status
from rag_rec.layers.protocol import QuietLayer
from rag_rec.layers.records import ForgetRecord, ForgetState, Group

RECORD = ForgetRecord("r", None, "s", "p", "user", ForgetState.HIDDEN, 7, 3, 4, 1000, 9000)
OTHER = replace(RECORD, request_id="r2")
PROVEN = Finding(LayerName.STORE, Status.PROVEN, "Nothing is left.", None, {"rows": 0})
LEFT = Finding(LayerName.INDICES, Status.PENDING, "Something is left.", 5000, {"files": 1})
STATED = Finding(LayerName.ANSWERS, Status.OUT_OF_SCOPE, "It is beyond reach.")


@dataclass
class FakeLayer(QuietLayer):
    name: str = "layer"
    finding: Finding = PROVEN
    removal_fails: BaseException | None = None
    look_fails: BaseException | None = None
    removed: list[Group] = field(default_factory=list)
    state: ForgetState = ForgetState.COMPLETE

    def remove(self, group: Group) -> None:
        self.removed.append(group)
        if self.removal_fails:
            raise self.removal_fails

    def look(self, group: Group) -> Sequence[Finding]:
        assert self.removed[-1] is group
        if self.look_fails:
            raise self.look_fails
        return [self.finding] * len(group)


def ignore(_: str) -> None:
    pass


def test_every_layer_removes_before_the_first_one_is_looked_at() -> None:
    laps: list[str] = []
    layers = [FakeLayer("first", PROVEN), FakeLayer("second", STATED)]
    assert attempt(layers, [RECORD, OTHER], laps.append) == ([[PROVEN, STATED]] * 2, [])
    assert laps == ["first", "second"] * 2


@pytest.mark.parametrize("error", [CorruptIndex("It is damaged."), OSError("The disk is full.")])
def test_a_layer_that_fails_keeps_back_no_other_and_nothing_of_it_is_final(error: Exception) -> None:
    later = Busy("Somebody reads.")
    layers = [
        FakeLayer("a", PROVEN, error),
        FakeLayer("b", LEFT, error),
        FakeLayer("c", PROVEN),
        FakeLayer("d", STATED, later),
    ]
    (findings,), failures = attempt(layers, [RECORD], ignore)
    assert failures == [error, error, later]
    assert [each.status for each in findings] == [Status.PENDING, Status.PENDING, Status.PROVEN, Status.PENDING]
    assert findings[0] == Finding(LayerName.STORE, Status.PENDING, FAILED, 9000, {"rows": 0})
    assert findings[1] is LEFT  # what is left is said already


def test_of_what_cannot_be_looked_at_nothing_is_said() -> None:
    error = RagRecError("It cannot be read.")
    layers = [FakeLayer("a", look_fails=error), FakeLayer("b", STATED)]
    assert attempt(layers, [RECORD], ignore) == ([[STATED]], [error])


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ZeroDivisionError()])
def test_an_interruption_and_an_error_in_the_program_end_it_at_once(error: BaseException) -> None:
    later = FakeLayer("later")
    with pytest.raises(type(error)):
        attempt([FakeLayer("a", removal_fails=error), later], [RECORD], ignore)
    assert not later.removed
    with pytest.raises(type(error)):
        attempt([FakeLayer("a", look_fails=error)], [RECORD], ignore)
