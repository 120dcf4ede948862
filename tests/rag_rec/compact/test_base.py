from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from rag_rec.artifacts.digests import relative_files
from rag_rec.compact.base import Base, BaseSettings, build_base, initial_model, limited_threads
from rag_rec.compact.vocabulary import BOS
from rag_rec.errors import InvalidInput
from tests.embedders import HashEmbedder
from tests.rag_rec.compact.catalogues import SETTINGS, base, catalogue

LONGER = replace(SETTINGS, width=32, epochs=12, learning_rate=1e-2)


@pytest.fixture(scope="module")
def losses() -> list[float]:
    return []


@pytest.fixture(scope="module")
def trained(losses: list[float]) -> Base:
    return base(LONGER, losses)


def logits_of(model: torch.nn.Module, tokens: list[int]) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(torch.tensor([tokens])).logits[0, -1]
    return found


class TestTraining:
    def test_the_loss_falls(self, trained: Base, losses: list[float]) -> None:
        assert len(trained.vocabulary) == 134
        assert len(losses) == 12 * 8
        assert np.mean(losses[-8:]) < np.mean(losses[:4]) - 0.2

    def test_what_comes_next_is_of_the_same_kind(self, trained: Base) -> None:
        first = trained.vocabulary.first_item
        shares = torch.zeros(3)
        for kind in range(3):
            probabilities = logits_of(trained.model, [BOS, first + kind, first + kind + 3]).softmax(-1)
            shares[kind] = probabilities[first + kind : first + 60 : 3].sum()
        assert (shares > 0.6).all()

    def test_an_attribute_calls_for_items_that_share_it(self, trained: Base) -> None:
        vocabulary = trained.vocabulary
        horror = vocabulary.names().index("<item-has:genre=horror>")
        probabilities = logits_of(trained.model, [BOS, horror]).softmax(-1)
        first = vocabulary.first_item
        assert probabilities[first + 1 : first + 60 : 3].sum() > 0.6

    def test_embeddings_stay_those_of_the_texts(self, trained: Base) -> None:
        held = catalogue()
        rows = torch.from_numpy(trained.projection.rows(held.vectors))
        places = slice(trained.vocabulary.first_item, trained.vocabulary.first_spare)
        assert torch.equal(trained.model.model.embed_tokens.weight[places], rows)
        assert torch.equal(trained.model.lm_head.weight[places], rows)
        assert not trained.model.lm_head.weight[trained.vocabulary.first_spare :].any()

    def test_the_same_inputs_give_the_same_weights(self) -> None:
        first, second = base(), base()
        state = second.model.state_dict()
        assert all(torch.equal(weight, state[name]) for name, weight in first.model.state_dict().items())

    def test_another_seed_gives_others(self) -> None:
        other = base(replace(SETTINGS, seed=1)).model.state_dict()
        name = "model.layers.0.self_attn.q_proj.weight"
        assert not torch.equal(base().model.state_dict()[name], other[name])

    def test_a_sampled_softmax_learns_too(self) -> None:
        found: list[float] = []
        base(replace(LONGER, sampled_above=50, negatives=40), found)
        assert np.mean(found[-8:]) < np.mean(found[:4]) - 0.2

    def test_the_random_state_of_the_process_is_left_alone(self) -> None:
        torch.manual_seed(5)
        expected = torch.rand(3)
        torch.manual_seed(5)
        base()
        assert torch.equal(torch.rand(3), expected)

    def test_a_catalogue_that_does_not_fit_is_refused(self) -> None:
        held = catalogue()
        with pytest.raises(InvalidInput, match="one catalogue"):
            build_base(held.items[1:], held.vectors[1:], held.vocabulary, HashEmbedder(), SETTINGS)


class TestFiles:
    def test_transformers_loads_the_folder_and_gives_the_same_logits(self, trained: Base, tmp_path: Path) -> None:
        trained.write(tmp_path)
        model = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
        tokens = [BOS, *range(trained.vocabulary.first_item, trained.vocabulary.first_item + 9)]
        assert torch.allclose(logits_of(model, tokens), logits_of(trained.model, tokens), atol=1e-6)
        assert type(model).__name__ == "LlamaForCausalLM"
        assert model.config.tie_word_embeddings is False

    def test_the_tokenizer_has_one_token_for_each_name(self, trained: Base, tmp_path: Path) -> None:
        trained.write(tmp_path)
        tokenizer = AutoTokenizer.from_pretrained(tmp_path)
        names = trained.vocabulary.names()
        assert len(tokenizer) == len(names)
        assert tokenizer.encode(" ".join(names)) == list(range(len(names)))
        assert tokenizer.convert_ids_to_tokens(list(range(len(names)))) == names
        assert tokenizer.encode("<bos> never-heard-of <item:i%200>") == [0, 3, trained.vocabulary.first_item]
        assert (tokenizer.bos_token_id, tokenizer.pad_token_id, tokenizer.unk_token_id) == (0, 1, 3)

    def test_a_base_survives_the_disk(self, trained: Base, tmp_path: Path) -> None:
        trained.write(tmp_path)
        loaded = Base.load(tmp_path)
        assert loaded.vocabulary == trained.vocabulary
        state = trained.model.state_dict()
        assert all(torch.equal(weight, state[name]) for name, weight in loaded.model.state_dict().items())
        assert not loaded.model.training

    def test_equal_bases_give_equal_bytes(self, trained: Base, tmp_path: Path) -> None:
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
            trained.write(tmp_path / name)
        names = relative_files(tmp_path / "a")
        assert names
        for name in names:
            assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name

    def test_only_safetensors_and_json(self, trained: Base, tmp_path: Path) -> None:
        trained.write(tmp_path)
        assert {Path(name).suffix for name in relative_files(tmp_path)} == {".safetensors", ".json"}

    def test_nothing_beside_the_configuration_can_be_taken_for_weights(self, trained: Base, tmp_path: Path) -> None:
        trained.write(tmp_path)
        assert [path.name for path in tmp_path.glob("*.safetensors")] == ["model.safetensors"]


def test_the_architecture_is_what_the_settings_say() -> None:
    held = catalogue()
    settings = BaseSettings(width=32, layers=3, heads=4, context=128)
    rows = np.zeros((len(held.items), 32), dtype=np.float32)
    named = np.zeros((len(held.vocabulary.attribute_texts()), 32), dtype=np.float32)
    config = initial_model(held.vocabulary, named, rows, settings).config
    assert (config.hidden_size, config.num_hidden_layers, config.num_attention_heads) == (32, 3, 4)
    assert (config.intermediate_size, config.max_position_embeddings) == (88, 128)
    assert config.vocab_size == len(held.vocabulary)
    assert config.attention_bias is False


def test_training_leaves_the_number_of_threads_alone() -> None:
    before = torch.get_num_threads()
    with limited_threads(before + 1):
        assert torch.get_num_threads() == before + 1
    base()
    assert torch.get_num_threads() == before
