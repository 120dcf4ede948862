"""The adapter is compared with the differences added to the base by hand, and read back by PEFT itself."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

from rag_rec.compact.adapter import (
    CONFIG,
    TARGETS,
    WEIGHTS,
    factor,
    read_deltas,
    served,
    served_rank,
    trained_weights,
    write_adapter,
)

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # PEFT on transformers

WIDTH = 16
TOKENS = torch.tensor([[0, 5, 9, 30, 7], [0, 44, 9, 8, 7]])


def a_base() -> LlamaForCausalLM:
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=50,
        hidden_size=WIDTH,
        intermediate_size=40,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=64,
        tie_word_embeddings=False,
    )
    model = LlamaForCausalLM(config)
    model.train(False)
    return model


def some_deltas(model: LlamaForCausalLM) -> dict[str, Tensor]:
    draws = torch.Generator().manual_seed(2)
    return {name: 0.1 * torch.randn(weight.shape, generator=draws) for name, weight in trained_weights(model).items()}


def logits(model: nn.Module) -> Tensor:
    with torch.no_grad():
        found = model(TOKENS).logits
    assert isinstance(found, Tensor)
    return found


def merged(deltas: dict[str, Tensor]) -> Tensor:
    """Logits of the base with the differences added to its weights."""
    model = a_base()
    with torch.no_grad():
        for name, weight in trained_weights(model).items():
            weight.add_(deltas[name])
    return logits(model)


def loaded(folder: Path) -> Tensor:
    """Logits of the base with the adapter as PEFT reads it."""
    model = PeftModel.from_pretrained(a_base(), folder)
    model.train(False)
    return logits(model)


def test_all_matrices_are_changed_and_no_norm() -> None:
    names = {name.removesuffix(".weight").rpartition(".")[2] for name in trained_weights(a_base())}
    assert names == set(TARGETS)
    assert len(trained_weights(a_base())) == 2 * 7 + 2


@pytest.mark.parametrize("shape", [(16, 16), (40, 16), (16, 40)])
def test_factors_of_full_rank_give_the_difference_back(shape: tuple[int, int]) -> None:
    delta = torch.randn(shape, generator=torch.Generator().manual_seed(3))
    for rank in (16, 20):
        a, b = factor(delta, rank)
        assert (a.shape, b.shape) == ((rank, shape[1]), (shape[0], rank))
        assert torch.allclose(b @ a, delta, atol=1e-5)


def test_a_lower_rank_is_the_best_approximation() -> None:
    delta = torch.randn((40, 16), generator=torch.Generator().manual_seed(3))
    a, b = factor(delta, 5)
    left_over = torch.linalg.svdvals(delta)[5:].square().sum().sqrt()
    assert torch.linalg.matrix_norm(delta - b @ a) == pytest.approx(float(left_over), rel=1e-5)


def test_no_difference_is_no_adapter() -> None:
    a, b = factor(torch.zeros(8, 4), 4)
    assert not a.any()
    assert not b.any()


def test_peft_computes_what_base_plus_difference_computes(tmp_path: Path) -> None:
    deltas = some_deltas(a_base())
    write_adapter(tmp_path, deltas, WIDTH, "base")
    assert not torch.allclose(logits(a_base()), merged(deltas), atol=1e-2)
    assert torch.allclose(loaded(tmp_path), merged(deltas), atol=1e-5)


def test_a_truncated_adapter_is_the_base_plus_the_truncated_differences(tmp_path: Path) -> None:
    deltas = some_deltas(a_base())
    write_adapter(tmp_path, deltas, 3, "base")
    low = {}
    for name, delta in deltas.items():
        a, b = factor(delta, 3)
        low[name] = b @ a
    assert torch.allclose(loaded(tmp_path), merged(low), atol=1e-5)


def test_the_file_is_what_peft_itself_would_save(tmp_path: Path) -> None:
    write_adapter(tmp_path, some_deltas(a_base()), 4, "base")
    PeftModel.from_pretrained(a_base(), tmp_path).save_pretrained(str(tmp_path / "again"), save_embedding_layers=False)
    ours, theirs = load_file(tmp_path / WEIGHTS), load_file(tmp_path / "again" / WEIGHTS)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_equal_differences_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_adapter(tmp_path / name, some_deltas(a_base()), 4, "base")
    for file in (CONFIG, WEIGHTS):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_whoever_reads_the_configuration_can_read_the_weights(tmp_path: Path) -> None:
    write_adapter(tmp_path, some_deltas(a_base()), 4, "base")
    assert (tmp_path / WEIGHTS).stat().st_mode == (tmp_path / CONFIG).stat().st_mode


def test_the_configuration_scales_by_one_and_names_the_base(tmp_path: Path) -> None:
    write_adapter(tmp_path, some_deltas(a_base()), 4, "a-digest")
    config = orjson.loads((tmp_path / CONFIG).read_bytes())
    assert config["r"] == config["lora_alpha"] == 4
    assert config["base_model_name_or_path"] == "a-digest"


@pytest.mark.parametrize(("rank", "served"), [(1, 1), (2, 8), (64, 64), (96, 128), (512, 512), (513, None)])
def test_the_rank_that_a_server_must_allow(rank: int, served: int | None) -> None:
    assert served_rank(rank) == served


@pytest.mark.parametrize("rank", [4, WIDTH])
def test_the_differences_on_disk_are_those_that_are_served(tmp_path: Path, rank: int) -> None:
    deltas = some_deltas(a_base())
    write_adapter(tmp_path, deltas, rank, "base")
    found, expected = read_deltas(tmp_path, deltas), served(deltas, rank)
    for name, delta in deltas.items():
        assert torch.equal(found[name], expected[name])
        assert found[name].shape == delta.shape
        assert torch.allclose(found[name], delta, atol=1e-5) == (rank == WIDTH)
