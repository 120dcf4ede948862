from __future__ import annotations

from rag_rec.compact.vocabulary import Vocabulary
from rag_rec.domain import Candidate, Item, User
from rag_rec.generators.item_tokens import ItemTokenEncoder
from rag_rec.generators.protocol import Encoder, EvidenceCost, EvidenceLine, Prompt

VOCABULARY = Vocabulary(("genre=comedy",), ("age=25", "age=35"), ("a", "b", "c", "d"), spare=2)
A, B, C, D = 7, 8, 9, 10
AGE_35 = 6


def prompt(evidence: str, candidates: str, user: User | None = None) -> Prompt:
    lines = [EvidenceLine(item_id, "rating", time) for time, item_id in enumerate(evidence)]
    found = [Candidate(item_id, 0.0) for item_id in candidates]
    return Prompt(user or User("u"), lines, found, lambda item_id: Item(item_id, ""), salt="s1")


def encoder(evidence: int = 200, context: int = 256) -> Encoder:
    return ItemTokenEncoder(VOCABULARY, evidence, context)


class TestGolden:
    def test_profile_then_evidence_oldest_first(self) -> None:
        encoded = encoder().encode(prompt("abca", "dc", User("u", {"age": 35, "town": "Oslo"})), [0, 1])
        assert encoded.tokens == (0, AGE_35, A, B, C, A)
        assert encoded.labels == (D, C)
        assert encoded.salt == "s1"

    def test_nobody_and_nothing(self) -> None:
        assert encoder().encode(prompt("", "a"), [0]).tokens == (0,)

    def test_unknown_items_are_skipped_as_evidence_and_unlabelled_as_candidates(self) -> None:
        encoded = encoder().encode(prompt("xay", "zb"), [0, 1])
        assert encoded.tokens == (0, A)
        assert encoded.labels == (None, B)

    def test_labels_are_by_candidate_whatever_the_order(self) -> None:
        assert encoder().encode(prompt("a", "bcd"), [2, 0, 1]) == encoder().encode(prompt("a", "bcd"), [0, 1, 2])


class TestLimits:
    def test_the_newest_evidence_is_kept(self) -> None:
        assert encoder(evidence=2).encode(prompt("abcd", "a"), [0]).tokens == (0, C, D)

    def test_no_evidence_at_all(self) -> None:
        assert encoder(evidence=0).encode(prompt("abcd", "a"), [0]).tokens == (0,)

    def test_a_position_is_left_for_the_answer(self) -> None:
        assert encoder(context=4).encode(prompt("abcd", "a"), [0]).tokens == (0, C, D)
        person = User("u", {"age": 35})
        assert encoder(context=3).encode(prompt("abcd", "a", person), [0]).tokens == (0, AGE_35)
        assert encoder(context=2).encode(prompt("abcd", "a", person), [0]).tokens == (0,)

    def test_what_it_tells_the_pipeline(self) -> None:
        made = ItemTokenEncoder(VOCABULARY)
        assert made.evidence_cost == EvidenceCost(budget=128, line=1)
        assert made.most_candidates == 128
        assert made.ordered is False
        assert made.least_mass == 1 / len(VOCABULARY)
