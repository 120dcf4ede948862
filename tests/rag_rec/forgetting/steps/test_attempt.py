from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from rag_rec.errors import Busy, CorruptIndex, RagRecError
from rag_rec.forgetting.steps.attempt import FAILED, attempt
from rag_rec.forgetting.steps.protocol import Group
from rag_rec.layers.finding import Finding, Layer, Status
from rag_rec.store.records import ForgetRecord, ForgetState

RECORD = ForgetRecord("r", None, "s", "p", "user", ForgetState.HIDDEN, 7, 3, 4, 1000, 9000)
PROVEN = Finding(Layer.STORE, Status.PROVEN, "Nothing is left.", None, {"rows": 0})
LEFT = Finding(Layer.INDICES, Status.PENDING, "Something is left.", 5000, {"files": 1})
STATED = Finding(Layer.ANSWERS, Status.OUT_OF_SCOPE, "It is beyond reach.")


@dataclass
class FakeStep:
    name: str = "step"
    findings: Sequence[Finding] = (PROVEN,)
    act_fails: BaseException | None = None
    verify_fails: BaseException | None = None
    acted_on: list[Group] = field(default_factory=list)

    def act(self, group: Group) -> None:
        self.acted_on.append(group)
        if self.act_fails:
            raise self.act_fails

    def verify(self, group: Group) -> Sequence[Finding]:
        assert self.acted_on[-1] is group
        if self.verify_fails:
            raise self.verify_fails
        return self.findings


def ignore(_: str) -> None:
    pass


def test_steps_are_run_in_order_and_say_what_they_found() -> None:
    laps: list[str] = []
    steps = [FakeStep("first", [PROVEN, LEFT]), FakeStep("second", [STATED])]
    assert attempt(steps, [RECORD], laps.append) == ([PROVEN, LEFT, STATED], [])
    assert laps == ["first", "second"]


@pytest.mark.parametrize("error", [CorruptIndex("It is damaged."), OSError("The disk is full.")])
def test_a_step_that_fails_keeps_back_no_other_and_nothing_of_it_is_final(error: Exception) -> None:
    laps: list[str] = []
    later = Busy("Somebody reads.")
    steps = [FakeStep("a", [PROVEN, LEFT, STATED], error), FakeStep("b", [PROVEN]), FakeStep("c", [PROVEN], later)]
    findings, failures = attempt(steps, [RECORD], laps.append)
    assert failures == [error, later]
    assert laps == ["a", "b", "c"]
    assert [each.status for each in findings] == [*[Status.PENDING] * 3, Status.PROVEN, Status.PENDING]
    assert findings[1] is LEFT  # what is left is said already
    assert findings[0] == Finding(Layer.STORE, Status.PENDING, FAILED, 9000, {"rows": 0})


def test_of_what_cannot_be_verified_nothing_is_said() -> None:
    error = RagRecError("It cannot be read.")
    steps = [FakeStep(verify_fails=error), FakeStep(findings=[STATED])]
    assert attempt(steps, [RECORD], ignore) == ([STATED], [error])


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ZeroDivisionError()])
def test_an_interruption_and_an_error_in_the_program_end_it_at_once(error: BaseException) -> None:
    later = FakeStep()
    for step in (FakeStep(act_fails=error), FakeStep(verify_fails=error)):
        with pytest.raises(type(error)):
            attempt([step, later], [RECORD], ignore)
    assert not later.acted_on
