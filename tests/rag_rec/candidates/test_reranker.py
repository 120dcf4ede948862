from __future__ import annotations

from pathlib import Path

import numpy as np
import orjson
import pytest
import torch

from rag_rec.candidates.features import COARSE, FINE
from rag_rec.candidates.reranker import DESCRIPTION_FILE, TENSORS_FILE, Network, Reranker, Standard, Weights
from rag_rec.errors import CorruptIndex


def reranker_of(seed: int = 0, networks: int = 2) -> Reranker:
    generator = np.random.default_rng(seed)

    def draw(*shape: int) -> Weights:
        return generator.normal(size=shape).astype(np.float32)

    def standard(count: int) -> Standard:
        return Standard(draw(count), np.asarray(np.abs(draw(count)) + 0.1, dtype=np.float32))

    hidden = 6
    nets = [Network(draw(len(FINE), hidden), draw(hidden), draw(hidden, hidden), draw(hidden), draw(hidden))]
    nets += [Network(draw(len(FINE), hidden), draw(hidden), draw(hidden, hidden), draw(hidden), draw(hidden))]
    return Reranker(
        standard(len(COARSE)),
        draw(len(COARSE)),
        standard(len(FINE)),
        draw(len(FINE)),
        tuple(nets[:networks]),
        neighbours=True,
        examples=12,
        measures={"loss": 1.5},
    )


def test_saved_and_loaded_is_the_same(tmp_path: Path) -> None:
    reranker = reranker_of()
    reranker.save(tmp_path)
    loaded = Reranker.load(tmp_path)
    fine = np.random.default_rng(1).normal(size=(9, len(FINE)))
    coarse = np.random.default_rng(2).normal(size=(9, len(COARSE)))
    assert loaded.digest == reranker.digest
    assert np.array_equal(loaded.fine_scores(fine), reranker.fine_scores(fine))
    assert np.array_equal(loaded.coarse_scores(coarse), reranker.coarse_scores(coarse))
    assert (loaded.neighbours, loaded.examples, loaded.measures) == (True, 12, {"loss": 1.5})


def test_the_digest_tells_readers_apart() -> None:
    assert reranker_of(0).digest == reranker_of(0).digest != reranker_of(1).digest


def test_the_network_is_what_torch_computes() -> None:
    network = reranker_of().networks[0]
    inputs = torch.randn(5, len(FINE), generator=torch.Generator().manual_seed(0))
    hidden = inputs
    for weight, bias in ((network.weight1, network.bias1), (network.weight2, network.bias2)):
        hidden = torch.nn.functional.gelu(
            hidden @ torch.from_numpy(weight) + torch.from_numpy(bias), approximate="tanh"
        )
    expected = hidden @ torch.from_numpy(network.weight3)
    np.testing.assert_allclose(network.apply(inputs.numpy()), expected.numpy(), rtol=1e-5, atol=1e-5)


def test_networks_are_averaged_and_added_to_the_linear_score() -> None:
    both, fine = reranker_of(networks=2), np.random.default_rng(1).normal(size=(4, len(FINE)))
    inputs = both.fine_standard.apply(fine)
    linear = inputs @ both.fine_weights
    expected = linear + sum(network.apply(inputs) for network in both.networks) / 2
    np.testing.assert_allclose(both.fine_scores(fine), expected, rtol=1e-5)
    np.testing.assert_allclose(reranker_of(networks=0).fine_scores(fine), linear, rtol=1e-6)


@pytest.mark.parametrize("name", [TENSORS_FILE, DESCRIPTION_FILE])
def test_damaged_files_are_refused(tmp_path: Path, name: str) -> None:
    reranker_of().save(tmp_path)
    content = (tmp_path / name).read_bytes()
    for damaged in (content[:-1], content[: len(content) // 2], b"", b"\0" * len(content), b"[]"):
        (tmp_path / name).write_bytes(damaged)
        with pytest.raises(CorruptIndex, match="rebuild"):
            Reranker.load(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(CorruptIndex):
        Reranker.load(tmp_path)


@pytest.mark.parametrize(("key", "value"), [("format", 99), ("fine", ["other"]), ("networks", 3), ("sha256", "0")])
def test_a_reader_for_other_features_is_refused(tmp_path: Path, key: str, value: object) -> None:
    reranker_of().save(tmp_path)
    description = orjson.loads((tmp_path / DESCRIPTION_FILE).read_bytes())
    (tmp_path / DESCRIPTION_FILE).write_bytes(orjson.dumps({**description, key: value}))
    with pytest.raises(CorruptIndex):
        Reranker.load(tmp_path)


def test_the_default_prefers_what_follows_and_what_is_liked() -> None:
    reranker = Reranker.default()
    plain = np.full((2, len(COARSE)), -9.0)
    plain[1, list(COARSE).index("followed 1.5")] = -3.0
    low, high = reranker.coarse_scores(plain)
    assert high > low
    fine = np.zeros((2, len(FINE)))
    fine[1, FINE.index("likes 5")] = 0.5
    low, high = reranker.fine_scores(fine)
    assert high > low
    assert reranker.examples == 0


def test_sources_name_what_lifts_an_item() -> None:
    reranker = Reranker.default()
    background = np.zeros((4, len(COARSE)))
    lifted = np.zeros((3, len(COARSE)))
    lifted[0, list(COARSE).index("content 5")] = 1.0
    lifted[1, list(COARSE).index("followed 5")] = 2.0
    lifted[1, list(COARSE).index("likes 5")] = 0.5
    first, second, third = reranker.sources(lifted, background)
    assert first == ("content",)
    assert second == ("transitions", "collaborative")
    assert len(third) == 1
