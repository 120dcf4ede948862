from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from rag_rec.compact.attributes import ItemAttributes
from rag_rec.compact.vocabulary import BOS, Vocabulary
from rag_rec.compact.walks import Lists, SimilarItems, Walks, WalkSettings
from rag_rec.domain import Item
from tests.embedders import HashEmbedder
from tests.rag_rec.compact.catalogues import Catalogue, catalogue

SETTINGS = WalkSettings(per_item=3, length=20, neighbours=5, attribute_share=0.3)


def walks_over(held: Catalogue, settings: WalkSettings = SETTINGS) -> Walks:
    attributes = ItemAttributes.of(held.items, held.vocabulary)
    return Walks.over(held.vectors, attributes, held.vocabulary, settings)


def drawn(settings: WalkSettings = SETTINGS, seed: int = 0) -> npt.NDArray[np.int64]:
    return walks_over(catalogue(), settings).draw(np.random.default_rng(seed))


class TestTokens:
    def test_only_items_and_their_attributes_appear(self) -> None:
        vocabulary = catalogue().vocabulary
        tokens = drawn()
        assert tokens.shape == (180, 21)
        assert (tokens[:, 0] == BOS).all()
        first_user = vocabulary.first_item - len(vocabulary.user_attributes)
        allowed = {*range(4, first_user), *range(vocabulary.first_item, vocabulary.first_spare)}
        assert set(tokens[:, 1:].ravel().tolist()) <= allowed

    def test_a_named_attribute_belongs_to_the_item_before_and_to_the_item_after(self) -> None:
        held = catalogue()
        of_item = {
            token: held.vocabulary.tokens_of_item_attributes(item)
            for token, item in enumerate(held.items, held.vocabulary.first_item)
        }
        named = 0
        for walk in drawn().tolist():
            for before, token, after in zip(walk[1:], walk[2:], walk[3:], strict=False):
                if token < held.vocabulary.first_item:
                    assert token in of_item[before]
                    assert token in of_item[after]
                    named += 1
        assert named > 100

    def test_every_item_begins_a_walk_or_is_named_by_its_attribute(self) -> None:
        vocabulary = catalogue().vocabulary
        starts = drawn(replace(SETTINGS, attribute_share=0.0))[:, 1]
        assert sorted(starts.tolist()) == sorted([*range(vocabulary.first_item, vocabulary.first_spare)] * 3)

    def test_of_a_large_catalogue_a_part_is_walked(self) -> None:
        tokens = drawn(replace(SETTINGS, most=25, attribute_share=0.0))
        assert len(tokens) == 25

    def test_they_stay_among_similar_items(self) -> None:
        """Texts of one genre share a word, so that steps seldom leave it."""
        first = catalogue().vocabulary.first_item
        genres = (drawn(replace(SETTINGS, attribute_share=0.0))[:, 1:] - first) % 3
        assert (genres[:, 1:] == genres[:, :-1]).mean() > 0.9

    def test_a_seed_gives_the_same_walks_and_another_gives_others(self) -> None:
        assert np.array_equal(drawn(), drawn())
        assert not np.array_equal(drawn(), drawn(seed=1))


@pytest.mark.parametrize("count", [1, 2])
def test_a_catalogue_of_hardly_any_items_is_walked(count: int) -> None:
    few = [Item(f"{number}", f"text {number}") for number in range(count)]
    vectors = HashEmbedder().embed([item.text for item in few])
    vocabulary = Vocabulary.of(few)
    tokens = walks_over(Catalogue(few, vectors, vocabulary)).draw(np.random.default_rng(0))
    assert set(tokens[:, 1:].ravel().tolist()) == set(range(vocabulary.first_item, vocabulary.first_spare))


class TestSimilarItems:
    def test_against_sorting_all_cosines(self) -> None:
        vectors = catalogue().vectors
        similar = SimilarItems.of(vectors, 4, 0.1)
        for place, vector in enumerate(vectors):
            cosines = vectors @ vector
            cosines[place] = -np.inf
            assert np.allclose(np.sort(cosines[similar.places[place]]), np.sort(cosines)[-4:], atol=1e-6)
            assert place not in similar.places[place]

    def test_steps_follow_the_softmax_of_the_cosines(self) -> None:
        vectors = catalogue().vectors
        similar = SimilarItems.of(vectors, 4, 0.2)
        logits = (vectors[similar.places[0]] @ vectors[0]).astype(np.float64) / 0.2
        expected = np.exp(logits) / np.exp(logits).sum()
        steps = similar.step(np.zeros(20_000, dtype=np.int64), (np.arange(20_000) + 0.5) / 20_000)
        shares = [(steps == place).mean() for place in similar.places[0]]
        assert np.allclose(shares, expected, atol=1e-3)


def test_lists_pick_every_member_and_say_where_there_is_none() -> None:
    lists = Lists.of(np.array([2, 0, 2]), np.array([7, 5, 8]), 4)
    assert lists.pick(np.array([0, 1, 2, 2, 3]), np.array([0.9, 0.5, 0.0, 0.999, 0.0])).tolist() == [5, -1, 7, 8, -1]
    assert Lists.of(np.empty(0, np.int64), np.empty(0, np.int64), 2).pick(np.array([0, 1]), np.zeros(2)).tolist() == [
        -1,
        -1,
    ]
