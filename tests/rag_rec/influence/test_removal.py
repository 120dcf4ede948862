"""Against a softmax regression with weight decay, which has one minimum and can be trained again exactly."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from rag_rec.errors import InvalidInput
from rag_rec.influence.curvature import Samples
from rag_rec.influence.removal import Effort, Removed, Rest, Trained, gradient_at_stop, without
from rag_rec.influence.vectors import add, dot, norm
from tests.rag_rec.influence.models import drawn, linear

DECAY = 0.05
ROWS, TARGETS = drawn(seed=6, rows=400, width=5, classes=4)
GONE = 20
EXACT = Effort(damping=1e-9, iterations=200)
REMAINING = [linear(ROWS[GONE:], TARGETS[GONE:])]


def trained(rows: torch.Tensor, targets: torch.Tensor) -> dict[str, torch.Tensor]:
    """The one minimum, by Newton's method with the Hessian written down."""

    def loss(weight: torch.Tensor) -> torch.Tensor:
        return linear(rows, targets).losses({"w": weight.view(4, 5)}).mean() + 0.5 * DECAY * weight @ weight

    weight = torch.zeros(20, dtype=torch.float64)
    for _ in range(20):
        weight = weight - torch.linalg.solve(torch.func.hessian(loss)(weight), torch.func.grad(loss)(weight))
    assert torch.func.grad(loss)(weight).norm() < 1e-12
    return {"w": weight.view(4, 5)}


def removed(remaining: Sequence[Samples], effort: Effort, drawn_of: Sequence[Samples] | None = None) -> Removed:
    weights = trained(ROWS, TARGETS)
    stop = gradient_at_stop(weights, weights, DECAY, [linear(ROWS, TARGETS)])
    return without(Trained(weights, weights, DECAY, stop), Rest(remaining, drawn_of or remaining), effort)


def test_a_step_lands_near_where_a_training_without_the_samples_does() -> None:
    weights, again = trained(ROWS, TARGETS), trained(ROWS[GONE:], TARGETS[GONE:])
    found = removed(REMAINING, EXACT)
    step, real = add(found.weights, weights, -1.0), add(again, weights, -1.0)
    assert max(found.residuals) < 1e-5
    assert dot(step, real) / (norm(step) * norm(real)) > 0.99
    assert norm(step) == pytest.approx(norm(real), rel=0.1)  # a factor of two, or a sign, would show
    assert norm(add(real, step, -1.0)) < 0.15 * norm(real)


def test_further_rounds_land_on_it() -> None:
    weights, again = trained(ROWS, TARGETS), trained(ROWS[GONE:], TARGETS[GONE:])
    found = removed(REMAINING, Effort(1e-9, 200, rounds=4))
    assert norm(add(found.weights, again, -1.0)) < 1e-4 * norm(add(again, weights, -1.0))
    assert list(found.pulls) == sorted(found.pulls, reverse=True)


def test_the_curvature_of_a_part_of_what_remains_serves_as_well() -> None:
    weights, again = trained(ROWS, TARGETS), trained(ROWS[GONE:], TARGETS[GONE:])
    part = [linear(ROWS[GONE : GONE + 150], TARGETS[GONE : GONE + 150])]
    real = add(again, weights, -1.0)
    for rounds, most in ((1, 0.4), (5, 0.05)):
        found = removed(REMAINING, Effort(1e-9, 200, rounds), part)
        assert norm(add(again, found.weights, -1.0)) < most * norm(real)


def test_a_training_that_stopped_early_is_compared_with_one_that_stopped_as_early() -> None:
    """The gradient that is left at the stop moves nothing: where every sample remains, the weights stay."""
    weights = {"w": 0.5 * trained(ROWS, TARGETS)["w"]}
    whole = [linear(ROWS, TARGETS)]
    stop = gradient_at_stop(weights, weights, DECAY, whole)
    found = without(Trained(weights, weights, DECAY, stop), Rest(whole, whole), Effort(1e-9, 200, rounds=3))
    assert found.pulls == (0.0,)
    assert torch.equal(found.weights["w"], weights["w"])


def test_the_more_damping_the_shorter_the_step() -> None:
    weights = trained(ROWS, TARGETS)
    found = [removed(REMAINING, Effort(damping, 200)).weights for damping in (1e-9, 1e-2, 1e-1, 1.0)]
    lengths = [norm(add(each, weights, -1.0)) for each in found]
    assert lengths == sorted(lengths, reverse=True)


def test_where_nothing_remains_nothing_is_removed() -> None:
    for nothing in ([], [linear(ROWS[:0], TARGETS[:0])]):
        with pytest.raises(InvalidInput, match="Nothing remains"):
            removed(nothing, EXACT, [linear(ROWS, TARGETS)])


def shooting(rounds: int, *, careful: bool) -> Removed:
    """Without decay, and with the curvature of three samples: in most directions nothing holds the step back."""
    weights = {"w": torch.zeros(4, 5, dtype=torch.float64)}
    stop = gradient_at_stop(weights, weights, 0.0, [linear(ROWS, TARGETS)])
    rest = Rest(REMAINING, [linear(ROWS[-3:], TARGETS[-3:])])
    return without(Trained(weights, weights, 0.0, stop), rest, Effort(1e-3, 200, rounds, careful))


def test_a_careful_removal_takes_back_what_came_no_nearer_and_damps_more() -> None:
    plain, careful = shooting(1, careful=False), shooting(8, careful=True)
    assert plain.pulls[1] > plain.pulls[0]
    assert careful.pulls[1] == pytest.approx(plain.pulls[1])
    assert careful.pulls[-1] < 0.5 * careful.pulls[0]


def test_a_removal_that_never_comes_nearer_is_refused() -> None:
    with pytest.raises(InvalidInput, match="no step came nearer"):
        shooting(1, careful=True)
