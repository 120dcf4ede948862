"""The flat index, next to a brute-force reference that passes the same contract."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import faiss
import numpy as np
import pytest

from rag_rec.errors import CorruptIndex, InvalidInput
from rag_rec.vectors.flat import FILE, FlatIndex
from rag_rec.vectors.protocol import VectorIndex, Vectors
from tests.rag_rec.vectors.reference import ReferenceIndex

DIMENSION = 24
Factory = Callable[[int], VectorIndex]
Index = TypeVar("Index", bound=VectorIndex)


def unit_vectors(count: int, seed: int = 0, dimension: int = DIMENSION) -> Vectors:
    vectors = np.random.default_rng(seed).standard_normal((count, dimension)).astype(np.float32)
    unit: Vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


@pytest.fixture(params=[FlatIndex, ReferenceIndex])
def factory(request: pytest.FixtureRequest) -> Factory:
    return request.param  # type: ignore[no-any-return]


def filled(factory: Callable[[int], Index], count: int = 200) -> Index:
    index = factory(DIMENSION)
    index.put(np.arange(count) * 3, unit_vectors(count))
    return index


class TestContract:
    def test_an_empty_index_answers_with_nothing(self, factory: Factory) -> None:
        numbers, scores = factory(DIMENSION).search(unit_vectors(2), 3)
        assert (numbers == -1).all() and numbers.shape == (2, 3)
        assert (scores == -np.inf).all() and scores.shape == (2, 3)

    def test_search_agrees_with_a_sort_of_all_scores(self, factory: Factory) -> None:
        index, queries = filled(factory), unit_vectors(5, seed=1)
        numbers, scores = index.search(queries, 10)
        held = index.vectors(index.numbers()).astype(float) @ queries.T.astype(float)
        for place in range(5):
            order = np.argsort(-held[:, place])[:10]
            np.testing.assert_array_equal(numbers[place], index.numbers()[order])
            np.testing.assert_allclose(scores[place], held[order, place], rtol=1e-6)

    def test_fewer_than_k_are_filled_up(self, factory: Factory) -> None:
        index = filled(factory, 2)
        numbers, scores = index.search(unit_vectors(1), 4)
        assert set(numbers[0, :2]) == {0, 3} and (numbers[0, 2:] == -1).all() and (scores[0, 2:] == -np.inf).all()

    @pytest.mark.parametrize("seed", range(3))
    def test_ties_go_by_ascending_number_whatever_the_order_of_insertion(self, factory: Factory, seed: int) -> None:
        index, vector = factory(DIMENSION), unit_vectors(1)
        for number in np.random.default_rng(seed).permutation(100):
            index.put(np.array([number]), vector)
        index.put(np.array([1000]), -vector)
        numbers, _ = index.search(vector, 7)
        np.testing.assert_array_equal(numbers[0], np.arange(7))

    def test_put_replaces_a_number_that_is_held(self, factory: Factory) -> None:
        index, other = filled(factory), unit_vectors(1, seed=9)
        index.put(np.array([3]), other)
        assert len(index) == 200
        np.testing.assert_allclose(index.vectors(np.array([3])), other, atol=1e-3)

    def test_remove_ignores_numbers_not_held(self, factory: Factory) -> None:
        index = filled(factory)
        assert index.remove(np.array([3, 4, 6])) == 2
        assert len(index) == 198 and not set(index.numbers()) & {3, 4, 6}
        with pytest.raises(KeyError):
            index.vectors(np.array([3]))

    def test_a_removed_number_can_be_put_again(self, factory: Factory) -> None:
        index = filled(factory)
        index.remove(np.array([0]))
        index.put(np.array([0]), unit_vectors(1))
        np.testing.assert_array_equal(index.vectors(np.array([0])), filled(factory).vectors(np.array([0])))

    def test_stored_vectors_are_stored_again_without_any_change(self, factory: Factory) -> None:
        index = filled(factory)
        once = index.vectors(index.numbers())
        index.put(index.numbers(), once)
        np.testing.assert_array_equal(index.vectors(index.numbers()), once)

    @pytest.mark.parametrize("count", [0, 1, 200])
    def test_what_is_saved_comes_back(self, factory: Factory, tmp_path: Path, count: int) -> None:
        index = filled(factory, count)
        index.save(tmp_path)
        again = type(index).load(tmp_path)
        assert again.dimension == DIMENSION
        np.testing.assert_array_equal(again.numbers(), index.numbers())
        np.testing.assert_array_equal(again.vectors(again.numbers()), index.vectors(index.numbers()))

    def test_a_missing_file_is_a_corrupt_index(self, factory: Factory, tmp_path: Path) -> None:
        with pytest.raises(CorruptIndex):
            type(factory(DIMENSION)).load(tmp_path)


class TestOrderOfOperations:
    def test_equal_contents_are_equal_bytes_and_equal_answers_whatever_came_before(self, tmp_path: Path) -> None:
        vectors = unit_vectors(300)
        plain, lived = FlatIndex(DIMENSION), FlatIndex(DIMENSION)
        plain.put(np.arange(200), vectors[:200])
        for number in np.random.default_rng(4).permutation(300).tolist():
            lived.put(np.array([number]), vectors[number : number + 1])
        lived.remove(np.arange(200, 300))
        plain.save(tmp_path / "plain")
        lived.save(tmp_path / "lived")
        assert (tmp_path / "plain" / FILE).read_bytes() == (tmp_path / "lived" / FILE).read_bytes()
        for index_answer, other in zip(plain.search(vectors[:20], 50), lived.search(vectors[:20], 50), strict=True):
            np.testing.assert_array_equal(index_answer, other)

    def test_vectors_that_tie_but_for_single_precision_noise_go_by_ascending_number(self) -> None:
        rng = np.random.default_rng(5)
        query = unit_vectors(1, dimension=384)
        query[0, :8] = 1e-4
        vectors = np.repeat(unit_vectors(1, seed=1, dimension=384), 500, axis=0) + query  # scores of about 1
        vectors[:, :8] = rng.uniform(-2e-4, 2e-4, (500, 8))  # which moves a score by some 1e-8
        index, reference = FlatIndex(384), ReferenceIndex(384)
        numbers = rng.permutation(500)
        index.put(numbers, vectors)
        reference.put(numbers, vectors)
        for found, expected in zip(index.search(query, 40), reference.search(query, 40), strict=True):
            np.testing.assert_array_equal(found, expected)


class TestPhysicalRemoval:
    def test_no_byte_of_a_removed_vector_stays_in_the_memory_of_the_index(self) -> None:
        index = filled(FlatIndex)
        gone = index.vectors(np.array([0, 300, 597]))
        index.remove(np.array([0, 300, 597]))
        for vector in gone:
            assert vector.astype(np.float16).tobytes() not in _memory(index)

    def test_no_byte_stays_where_the_last_vector_was_moved_from(self) -> None:
        index = filled(FlatIndex)
        last = index.vectors(np.array([597])).astype(np.float16).tobytes()
        index.remove(np.array([0]))  # moves the last row into the gap
        assert _memory(index).count(last) == 1
        index.remove(np.array([597]))
        assert _memory(index).count(last) == 0

    def test_an_emptied_index_is_all_zeros_and_so_is_the_memory_it_grew_out_of(self) -> None:
        index = FlatIndex(DIMENSION)
        index.put(np.arange(10), unit_vectors(10))
        codes = index._codes  # keeps a view of the memory that growth gives up
        owner = index._index
        index.put(np.arange(10, 200), unit_vectors(190, seed=3))
        assert owner is not index._index and not codes.any()
        index.remove(np.arange(200))
        assert not any(_memory(index)) and not index._number_at.any() and index._row_of == {}

    def test_a_saved_file_holds_nothing_of_the_removed(self, tmp_path: Path) -> None:
        index = filled(FlatIndex)
        gone = index.vectors(np.array([3])).astype(np.float16).tobytes()
        index.remove(np.array([3]))
        index.save(tmp_path)
        assert gone not in (tmp_path / FILE).read_bytes()

    def test_faiss_itself_sees_the_removal(self) -> None:
        index = filled(FlatIndex)
        index.remove(np.array([3]))
        assert index._index.ntotal == 199


def _memory(index: FlatIndex) -> bytes:
    """Every byte that FAISS holds for the index, beyond the rows in use too."""
    codes = index._index.codes
    return bytes(faiss.rev_swig_ptr(codes.data(), codes.size()))


class TestBadInput:
    @pytest.mark.parametrize(
        ("numbers", "vectors"),
        [
            ([1, 1], unit_vectors(2)),
            ([-1], unit_vectors(1)),
            ([1, 2], unit_vectors(1)),
            ([1], unit_vectors(1, dimension=5)),
            ([1], np.full((1, DIMENSION), np.nan, dtype=np.float32)),
            ([1], np.full((1, DIMENSION), np.inf, dtype=np.float32)),
            ([1], np.full((1, DIMENSION), 1e30, dtype=np.float32)),
            ([0.5], unit_vectors(1)),
            ([[1]], unit_vectors(1)),
        ],
    )
    def test_put_refuses_and_changes_nothing(self, numbers: list[int], vectors: Vectors) -> None:
        index = filled(FlatIndex)
        before = index.vectors(index.numbers())
        with pytest.raises(InvalidInput):
            index.put(np.array(numbers), vectors)
        np.testing.assert_array_equal(index.vectors(index.numbers()), before)

    @pytest.mark.parametrize(
        ("queries", "k"),
        [(unit_vectors(1), 0), (unit_vectors(1, dimension=3), 5), (np.full((1, DIMENSION), np.nan, np.float32), 5)],
    )
    def test_search_refuses(self, queries: Vectors, k: int) -> None:
        with pytest.raises(InvalidInput):
            filled(FlatIndex).search(queries, k)

    def test_a_dimension_must_be_positive(self) -> None:
        with pytest.raises(InvalidInput):
            FlatIndex(0)

    @pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
    def test_a_truncated_file_is_refused(self, tmp_path: Path, share: float) -> None:
        filled(FlatIndex).save(tmp_path)
        content = (tmp_path / FILE).read_bytes()
        (tmp_path / FILE).write_bytes(content[: int(len(content) * share)])
        with pytest.raises(CorruptIndex):
            FlatIndex.load(tmp_path)

    @pytest.mark.parametrize("content", [b"foreign", b"\x00" * 1000, b"\xff" * 1000, b"IxFI" + b"\x01" * 400])
    def test_a_foreign_file_is_refused(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / FILE).write_bytes(content)
        with pytest.raises(CorruptIndex):
            FlatIndex.load(tmp_path)

    @pytest.mark.parametrize(
        ("numbers", "codes"),
        [
            ([2, 1], np.zeros((2, 4))),
            ([1, 1], np.zeros((2, 4))),
            ([-5, 1], np.zeros((2, 4))),
            ([1], np.zeros((2, 4))),
            ([1, 2], np.zeros(2)),
            ([1, 2], np.full((2, 4), np.nan)),
        ],
    )
    def test_inconsistent_arrays_are_refused(self, numbers: list[int], codes: np.ndarray) -> None:
        with pytest.raises(CorruptIndex):
            FlatIndex.from_codes(np.array(numbers), codes.astype(np.float16), Path("vectors.safetensors"))


def test_searches_go_on_while_another_thread_writes() -> None:
    index, failures = filled(FlatIndex), list[BaseException]()
    queries, done = unit_vectors(4, seed=7), threading.Event()

    def search() -> None:
        try:
            while not done.is_set():
                numbers, scores = index.search(queries, 20)
                assert (numbers >= 0).all() and (np.diff(scores, axis=1) <= 0).all()
        except BaseException as failure:
            failures.append(failure)

    readers = [threading.Thread(target=search) for _ in range(3)]
    for reader in readers:
        reader.start()
    for step in range(300):
        index.put(np.arange(1000 + step * 3, 1030 + step * 3), unit_vectors(30, seed=step))
        index.remove(np.arange(1000, 1010 + step * 3))
    done.set()
    for reader in readers:
        reader.join()
    assert not failures
