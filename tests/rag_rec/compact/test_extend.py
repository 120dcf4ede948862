from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

from rag_rec.adapters.folder import AdapterStore
from rag_rec.compact.base import Base
from rag_rec.compact.extend import extend_base
from rag_rec.compact.vocabulary import BOS
from rag_rec.errors import InvalidInput
from tests.embedders import HashEmbedder
from tests.rag_rec.compact.catalogues import SETTINGS, base

NEW = ["new 1", "new 2"]
TEXTS = ["horror horror film 99", "a text about nothing known"]


@pytest.fixture(scope="module")
def built() -> Base:
    return base()


@pytest.fixture
def store(tmp_path: Path, built: Base) -> AdapterStore:
    store = AdapterStore(tmp_path)
    published = store.publish_base(built.write, epoch=1, settings=asdict(SETTINGS), counts=built.counts())
    store.set_current(published.digest)
    return store


def logits_of(model: torch.nn.Module, tokens: list[int]) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(torch.tensor([tokens])).logits[0]
    return found


def test_old_logits_stay_and_the_new_item_has_the_row_of_its_text(store: AdapterStore, built: Base) -> None:
    digest = store.base_digests()[0]
    vectors = HashEmbedder().embed(TEXTS)
    extended = extend_base(store, digest, NEW, vectors, epoch=7)
    new = Base.load(extended.folder)
    first = built.vocabulary.first_spare
    tokens = [BOS, *range(built.vocabulary.first_item, built.vocabulary.first_item + 9)]
    before, after = logits_of(built.model, tokens), logits_of(new.model, tokens)
    kept = [place for place in range(len(built.vocabulary)) if place not in (first, first + 1)]
    assert torch.equal(before[:, kept], after[:, kept])
    rows = built.projection.rows(vectors)
    assert np.array_equal(new.model.model.embed_tokens.weight[first : first + 2].detach().numpy(), rows)
    assert np.array_equal(new.model.lm_head.weight[first : first + 2].detach().numpy(), rows)
    assert new.vocabulary.token_of_item("new 2") == first + 1
    assert len(new.vocabulary) == len(built.vocabulary)


def test_a_new_item_is_proposed_beside_its_like(store: AdapterStore) -> None:
    """The second text says nothing that the history speaks of; the first does."""
    extended = extend_base(store, store.base_digests()[0], NEW, HashEmbedder().embed(TEXTS), epoch=7)
    new = Base.load(extended.folder)
    first, spare = new.vocabulary.first_item, new.vocabulary.first_spare
    logits = logits_of(new.model, [BOS, first + 1, first + 4, first + 7])[-1]
    assert logits[spare - 2] > logits[spare - 1]


def test_the_manifest_and_the_tokenizer_know_of_it(store: AdapterStore, built: Base) -> None:
    digest = store.base_digests()[0]
    extended = extend_base(store, digest, NEW, HashEmbedder().embed(TEXTS), epoch=7)
    assert (extended.manifest.parent, extended.manifest.lineage, extended.manifest.epoch) == (digest, digest, 7)
    assert extended.manifest.counts["items"] == len(built.vocabulary.items) + 2
    assert extended.manifest.counts["spare"] == built.vocabulary.spare - 2
    tokenizer = AutoTokenizer.from_pretrained(extended.folder)
    assert tokenizer.encode("<item:new%202>") == [built.vocabulary.first_spare + 1]
    assert sorted(path.name for path in extended.folder.iterdir()) == sorted(
        path.name for path in (store.bases / digest).iterdir()
    )


def test_extending_twice_is_extending_by_both(store: AdapterStore) -> None:
    digest = store.base_digests()[0]
    vectors = HashEmbedder().embed(TEXTS)
    once = extend_base(store, digest, NEW, vectors, epoch=7)
    half = extend_base(store, digest, NEW[:1], vectors[:1], epoch=7)
    twice = extend_base(store, half.digest, NEW[1:], vectors[1:], epoch=7)
    assert twice.manifest.lineage == digest
    a, b = Base.load(once.folder), Base.load(twice.folder)
    assert a.vocabulary == b.vocabulary
    assert torch.allclose(a.model.lm_head.weight, b.model.lm_head.weight, atol=1e-6)


def test_without_spare_rows_it_says_what_to_do(store: AdapterStore, built: Base) -> None:
    many = [f"new {number}" for number in range(built.vocabulary.spare + 1)]
    with pytest.raises(InvalidInput, match=r"64 spare rows are left: run `rag-rec compact build`"):
        extend_base(store, store.base_digests()[0], many, HashEmbedder().embed(many), epoch=7)
    assert len(store.base_digests()) == 1


def test_a_vector_is_needed_for_each(store: AdapterStore) -> None:
    with pytest.raises(InvalidInput, match="one text vector"):
        extend_base(store, store.base_digests()[0], NEW, HashEmbedder().embed(TEXTS[:1]), epoch=7)
