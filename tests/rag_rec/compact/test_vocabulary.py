from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag_rec.compact.vocabulary import SPECIALS, Vocabulary
from rag_rec.domain import Item, User
from rag_rec.errors import CorruptIndex, InvalidInput
from tests.rag_rec.compact.catalogues import items, users

ids = st.text(min_size=1, max_size=8)
pairs = st.lists(ids, unique=True, max_size=6).map(tuple)
vocabularies = st.builds(Vocabulary, pairs, pairs, pairs, st.integers(0, 5))


class TestLaws:
    @settings(deadline=None, max_examples=50)
    @given(vocabularies)
    def test_tokens_are_dense(self, vocabulary: Vocabulary) -> None:
        found = [vocabulary.token_of_item(item_id) for item_id in vocabulary.items]
        assert found == list(range(vocabulary.first_item, vocabulary.first_spare))

    @settings(deadline=None, max_examples=50)
    @given(vocabularies)
    def test_names_are_distinct_printable_and_one_for_each_row(self, vocabulary: Vocabulary) -> None:
        names = vocabulary.names()
        assert len(set(names)) == len(names) == len(vocabulary)
        assert all(name.isascii() and name.isprintable() and " " not in name for name in names)

    @settings(deadline=None, max_examples=50)
    @given(vocabularies, st.data())
    def test_extending_moves_no_token_and_keeps_the_size(self, vocabulary: Vocabulary, data: st.DataObject) -> None:
        fresh = data.draw(st.lists(ids.filter(lambda each: each not in vocabulary.items), unique=True, max_size=5))
        if len(fresh) > vocabulary.spare:
            with pytest.raises(InvalidInput, match="rag-rec compact build"):
                vocabulary.extended(fresh)
            return
        extended = vocabulary.extended(fresh)
        assert len(extended) == len(vocabulary)
        assert extended.items == (*vocabulary.items, *fresh)
        assert extended.names()[: vocabulary.first_spare] == vocabulary.names()[: vocabulary.first_spare]
        assert [extended.token_of_item(each) for each in fresh] == list(
            range(vocabulary.first_spare, vocabulary.first_spare + len(fresh))
        )

    @settings(deadline=None, max_examples=50)
    @given(vocabularies)
    def test_survives_the_disk(self, tmp_path_factory: pytest.TempPathFactory, vocabulary: Vocabulary) -> None:
        folder = tmp_path_factory.mktemp("vocabulary")
        vocabulary.save(folder)
        assert Vocabulary.load(folder) == vocabulary


class TestAttributes:
    def test_only_shared_values_become_tokens(self) -> None:
        vocabulary = Vocabulary.of(items(), users(), least=20)
        assert vocabulary.item_attributes == ("genre=comedy", "genre=horror", "genre=western", "provider=studio")
        assert vocabulary.user_attributes == ("age=25", "age=35")

    def test_a_value_one_short_of_enough_is_no_token(self) -> None:
        people = [User(f"u{number}", {"town": "Oslo" if number else "Bergen"}) for number in range(20)]
        assert Vocabulary.of(items(), people, least=20).user_attributes == ()
        assert Vocabulary.of(items(), people, least=19).user_attributes == ("town=Oslo",)

    def test_a_value_listed_twice_counts_once(self) -> None:
        twice = [Item(f"{number}", "t", {"tag": ("a", "a")}) for number in range(3)]
        assert Vocabulary.of(twice, least=4).item_attributes == ()

    def test_tokens_of_an_item_and_a_user(self) -> None:
        vocabulary = Vocabulary.of(items(), users(), least=20)
        names = vocabulary.names()
        tokens = vocabulary.tokens_of_item_attributes(items()[1])
        assert [names[token] for token in tokens] == ["<item-has:genre=horror>", "<item-has:provider=studio>"]
        person = User("new", {"age": 35, "post code": "P1", "unheard": "of"})
        assert [names[token] for token in vocabulary.tokens_of_user(person)] == ["<user-has:age=35>"]

    def test_truth_values_and_texts(self) -> None:
        people = [User(f"{number}", {"member": True}) for number in range(20)]
        vocabulary = Vocabulary.of(items(), people)
        assert vocabulary.user_attributes == ("member=true",)
        assert vocabulary.attribute_texts()[-1] == "member true"

    def test_the_order_of_people_does_not_matter(self) -> None:
        assert Vocabulary.of(items(), users()) == Vocabulary.of(items(), reversed(users()))


class TestMaking:
    def test_specials_come_first_and_spare_rows_last(self) -> None:
        vocabulary = Vocabulary.of(items(), users())
        assert vocabulary.names()[: len(SPECIALS)] == list(SPECIALS)
        assert vocabulary.spare == 64
        assert vocabulary.names()[-1] == f"<spare:{len(vocabulary) - 1}>"

    def test_a_tenth_is_spare_in_a_large_catalogue(self) -> None:
        assert Vocabulary.of([Item(str(number), "t") for number in range(1001)]).spare == 101

    def test_an_id_twice_is_refused(self) -> None:
        with pytest.raises(InvalidInput, match="unique"):
            Vocabulary.of([Item("a", "x"), Item("a", "y")])

    def test_too_many_items_are_refused(self) -> None:
        with pytest.raises(InvalidInput, match="at most 258048 tokens"):
            Vocabulary.of([Item("a", "x")], spare=258_048)

    def test_extending_by_a_known_item_is_refused(self) -> None:
        vocabulary = Vocabulary.of(items(3))
        for fresh in (["i 0"], ["new", "new"]):
            with pytest.raises(InvalidInput, match="token already"):
                vocabulary.extended(fresh)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"items": 1}'])
def test_a_damaged_file_says_what_to_do(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "vocabulary.json").write_bytes(content)
    with pytest.raises(CorruptIndex, match="rag-rec compact build"):
        Vocabulary.load(tmp_path)
