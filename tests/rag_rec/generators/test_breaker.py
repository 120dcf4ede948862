"""The circuit breaker, step by step and over random sequences against a model that remembers everything."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from rag_rec.generators.breaker import Breaker, Limits, Permit, State

LIMITS = Limits(in_a_row=5, share=0.2, calls=10, window=10.0, cool_down=4.0)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def admitted(breaker: Breaker) -> Permit:
    permit = breaker.admit()
    assert permit is not None
    return permit


def opened(clock: Clock) -> Breaker:
    breaker = Breaker(LIMITS, clock)
    for _ in range(LIMITS.in_a_row):
        breaker.failed(admitted(breaker))
    return breaker


def test_consecutive_failures_open_the_circuit() -> None:
    breaker = Breaker(LIMITS, Clock())
    for _ in range(LIMITS.in_a_row - 1):
        breaker.failed(admitted(breaker))
    assert breaker.admit() is not None
    breaker.failed(admitted(breaker))
    assert breaker.state is State.OPEN
    assert breaker.admit() is None


def test_a_share_of_failures_opens_the_circuit_though_none_follow_each_other() -> None:
    breaker = Breaker(LIMITS, Clock())
    for number in range(9):
        breaker.failed(admitted(breaker)) if number % 3 == 0 else breaker.succeeded(admitted(breaker))
    assert str(breaker.state) == "closed"  # 3 of 9: too few calls to judge by
    breaker.failed(admitted(breaker))
    assert breaker.state is State.OPEN


def test_failures_leave_the_window() -> None:
    clock = Clock()
    breaker = Breaker(LIMITS, clock)
    for _ in range(4):
        breaker.failed(admitted(breaker))
    breaker.succeeded(admitted(breaker))
    clock.now += LIMITS.window + 1
    for _ in range(10):
        breaker.succeeded(admitted(breaker))
    breaker.failed(admitted(breaker))
    assert breaker.state is State.CLOSED


def test_after_the_cool_down_one_call_is_on_trial() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += LIMITS.cool_down - 0.01
    assert breaker.admit() is None
    clock.now += 0.01
    trial = admitted(breaker)
    assert trial.trial
    assert breaker.admit() is None
    breaker.succeeded(trial)
    assert not admitted(breaker).trial


def test_a_failed_trial_starts_the_cool_down_anew() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += LIMITS.cool_down
    breaker.failed(admitted(breaker))
    clock.now += LIMITS.cool_down - 0.01
    assert breaker.admit() is None
    clock.now += 0.01
    assert admitted(breaker).trial


def test_an_abandoned_trial_leaves_the_next_call_on_trial() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += LIMITS.cool_down
    breaker.abandoned(admitted(breaker))
    assert admitted(breaker).trial


def test_a_call_from_before_the_circuit_opened_says_nothing_about_the_trial() -> None:
    clock = Clock()
    breaker = Breaker(LIMITS, clock)
    late = admitted(breaker)
    for _ in range(LIMITS.in_a_row):
        breaker.failed(admitted(breaker))
    clock.now += LIMITS.cool_down
    admitted(breaker)
    breaker.succeeded(late)
    assert breaker.state is State.TRIAL
    breaker.failed(late)
    assert breaker.state is State.TRIAL


@dataclass
class ObviousBreaker:
    """Keeps every outcome since the circuit last closed, and works everything out from them."""

    state: str = "closed"
    opened_at: float = 0.0
    era: int = 0
    ended: list[tuple[float, bool]] = field(default_factory=list)

    def admits(self, now: float) -> bool:
        return self.state == "closed" or (self.state == "open" and now - self.opened_at >= LIMITS.cool_down)

    def should_open(self, now: float) -> bool:
        run = 0
        for _, failed in reversed(self.ended):
            if not failed:
                break
            run += 1
        recent = [failed for when, failed in self.ended if now - when <= LIMITS.window]
        return run >= LIMITS.in_a_row or (len(recent) >= LIMITS.calls and sum(recent) / len(recent) > LIMITS.share)

    def change(self, state: str) -> None:
        self.state, self.era, self.ended = state, self.era + 1, []


class BreakerMachine(RuleBasedStateMachine):
    """Calls begin, end in any order or are given up, and time passes."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.breaker = Breaker(LIMITS, self.clock)
        self.model = ObviousBreaker()
        self.calls: list[tuple[Permit, int]] = []

    @rule(seconds=st.sampled_from([0.5, 1.0, 4.0, 11.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule(many=st.integers(1, 6))
    def calls_begin(self, many: int) -> None:
        for _ in range(many):
            permit = self.breaker.admit()
            assert (permit is not None) == self.model.admits(self.clock.now)
            if permit is None:
                continue
            assert permit.trial == (self.model.state == "open")
            if permit.trial:
                self.model.change("trial")
            self.calls.append((permit, self.model.era))

    @precondition(lambda self: self.calls)
    @rule(data=st.data(), how=st.sampled_from(["succeeded", "failed", "failed", "abandoned"]))
    def a_call_ends(self, data: st.DataObject, how: str) -> None:
        permit, era = self.calls.pop(data.draw(st.integers(0, len(self.calls) - 1)))
        getattr(self.breaker, how)(permit)
        if era == self.model.era:
            self._expect(how, self.clock.now)

    @precondition(lambda self: self.model.state == "closed")
    @rule(failures=st.lists(st.booleans(), min_size=1, max_size=12))
    def calls_one_after_the_other(self, failures: list[bool]) -> None:
        for failed in failures:
            permit = self.breaker.admit()
            assert (permit is not None) == self.model.admits(self.clock.now)
            if permit is None:
                return
            how = "failed" if failed else "succeeded"
            getattr(self.breaker, how)(permit)
            self._expect(how, self.clock.now)

    @invariant()
    def states_agree(self) -> None:
        assert self.breaker.state == self.model.state

    def _expect(self, how: str, now: float) -> None:
        trial = self.model.state == "trial"
        if how == "abandoned":
            if trial:
                self.model.change("open")
            return
        if how == "succeeded" and trial:
            self.model.change("closed")
        self.model.ended.append((now, how == "failed"))
        if how == "failed" and (trial or self.model.should_open(now)):
            self.model.opened_at = now
            self.model.change("open")


TestBreakerMachine = BreakerMachine.TestCase
TestBreakerMachine.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
