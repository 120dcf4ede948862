from __future__ import annotations

import numpy as np

from rag_rec.compact.attributes import ItemAttributes, attribute_vectors
from rag_rec.compact.vocabulary import SPECIALS, Vocabulary
from tests.embedders import HashEmbedder
from tests.rag_rec.compact.catalogues import catalogue, items, users


def test_pairs_are_those_of_each_item() -> None:
    held = catalogue()
    found = ItemAttributes.of(held.items, held.vocabulary)
    for place, item in enumerate(held.items):
        assert tuple(found.tokens[found.items == place]) == held.vocabulary.tokens_of_item_attributes(item)


def test_an_item_attribute_is_the_mean_of_its_items_and_a_user_attribute_its_own_text() -> None:
    held = catalogue()
    vectors = attribute_vectors(
        held.vocabulary, ItemAttributes.of(held.items, held.vocabulary), held.vectors, HashEmbedder()
    )
    names = held.vocabulary.names()[len(SPECIALS) : held.vocabulary.first_item]
    assert len(vectors) == len(names)
    by_name = dict(zip(names, vectors, strict=True))
    assert np.allclose(by_name["<item-has:genre=horror>"], held.vectors[1::3].mean(axis=0), atol=1e-6)
    assert np.array_equal(by_name["<user-has:age=25>"], HashEmbedder().embed(["age 25"])[0])


def test_a_catalogue_without_attributes_has_none() -> None:
    bare = Vocabulary.of(items(3), users(), least=1000)
    pairs = ItemAttributes.of(items(3), bare)
    assert not len(pairs.items)
    vectors = HashEmbedder().embed([item.text for item in items(3)])
    assert attribute_vectors(bare, pairs, vectors, HashEmbedder()).shape == (0, 32)
