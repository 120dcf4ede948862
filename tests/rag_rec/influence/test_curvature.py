from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from rag_rec.errors import InvalidInput
from rag_rec.influence import curvature
from rag_rec.influence.curvature import GaussNewton, Samples, count_of, total_gradient
from rag_rec.influence.vectors import Vector
from tests.rag_rec.influence.models import dense, drawn, flat, network, shaped, two_layers

ROWS, TARGETS = drawn(seed=1, rows=12, width=4, classes=3)


@pytest.fixture
def weights() -> Vector:
    return two_layers()


def test_products_are_those_of_the_matrix_whatever_the_batches(weights: Vector) -> None:
    batches = [network(ROWS[:5], TARGETS[:5]), network(ROWS[5:], TARGETS[5:])]
    matrix = dense(weights, batches)
    vector = torch.randn(35, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    product = GaussNewton(weights, batches).product(shaped(vector, weights))
    assert torch.allclose(flat(product), matrix @ vector, atol=1e-12)


@pytest.mark.parametrize("room", [0, 5 * 3, 12 * 3])
def test_batches_for_which_there_is_no_room_are_run_anew(
    weights: Vector, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    monkeypatch.setattr(curvature, "HELD", room)
    runs = {5: 0, 7: 0}

    def counted(rows: slice) -> Samples:
        batch = network(ROWS[rows], TARGETS[rows])

        def logits(moved: Vector) -> torch.Tensor:
            runs[len(batch.targets)] += 1
            return batch.logits(moved)

        return replace(batch, logits=logits)

    batches = [counted(slice(5)), counted(slice(5, 12))]
    matrix, found = dense(weights, [network(ROWS, TARGETS)]), GaussNewton(weights, batches)
    for place in range(3):
        vector = torch.eye(35, dtype=torch.float64)[place]
        assert torch.allclose(flat(found.product(shaped(vector, weights))), matrix @ vector, atol=1e-12)
    assert runs == {5: 1 if room >= 15 else 3, 7: 1 if room >= 36 else 3}


def test_a_gradient_is_that_of_the_sum_of_the_losses(weights: Vector) -> None:
    leaves = {name: tensor.clone().requires_grad_(True) for name, tensor in weights.items()}
    loss = network(ROWS, TARGETS).losses(leaves).sum()
    expected = dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True))
    found = total_gradient(weights, [network(ROWS[:7], TARGETS[:7]), network(ROWS[7:], TARGETS[7:])])
    assert torch.allclose(flat(found), flat(expected), atol=1e-12)


def test_a_target_that_counts_twice_is_as_one_that_is_there_twice(weights: Vector) -> None:
    times = torch.tensor([1, 3, 2] * 4)
    once = network(ROWS, TARGETS)
    counted = Samples(once.logits, once.targets, times.double())
    again = network(ROWS.repeat_interleave(times, 0), TARGETS.repeat_interleave(times))
    vector = torch.randn(35, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    one, other = (flat(GaussNewton(weights, [each]).product(shaped(vector, weights))) for each in (counted, again))
    assert torch.allclose(one, other, atol=1e-12)
    one, other = (flat(total_gradient(weights, [each])) for each in (counted, again))
    assert torch.allclose(one, other, atol=1e-12)
    assert count_of([counted, once]) == 24 + 12


def test_without_a_target_there_is_no_curvature(weights: Vector) -> None:
    with pytest.raises(InvalidInput, match="at least one"):
        GaussNewton(weights, [network(ROWS[:0], TARGETS[:0])])


def test_products_of_a_language_model_are_those_of_its_matrix() -> None:
    torch.manual_seed(4)
    config = LlamaConfig(
        vocab_size=7,
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=8,
    )
    model = LlamaForCausalLM(config)
    model.set_attn_implementation("eager")
    model.train(mode=False)
    tokens, targets = torch.tensor([[1, 2, 3], [4, 5, 6]]), torch.tensor([2, 3, 5, 0])
    name = "model.layers.0.self_attn.q_proj.weight"
    weights = {name: dict(model.named_parameters())[name].detach().clone()}

    def logits(moved: Vector) -> torch.Tensor:
        answer = torch.func.functional_call(model, dict(moved), (), {"input_ids": tokens, "use_cache": False})
        return torch.as_tensor(answer.logits[:, 1:].reshape(4, 7))

    batch = Samples(logits, targets)
    vector = {name: torch.randn(8, 8, generator=torch.Generator().manual_seed(5))}
    expected = dense(weights, [batch]) @ flat(vector)
    assert torch.allclose(flat(GaussNewton(weights, [batch]).product(vector)), expected, atol=1e-6)
