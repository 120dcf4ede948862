"""Index types by size, time and recall, and the cost of embedding, of a user's list and of the files.

``python -m benchmarks.vector_indices`` reads the titles and positive ratings of ML-1M from ``../shared/data`` where it
is there, else it draws titles and users from a seed. Recall is against an exact search in single precision.
"""

from __future__ import annotations

import gzip
import sys
import tempfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import faiss
import numpy as np

from benchmarks.report import Row, without_options, write_results
from rag_rec.events.history import HISTORY_DTYPE, History
from rag_rec.index.people import People
from rag_rec.index.shards import SHARDS, read_people, rewrite_without, shard_files, write_shard
from rag_rec.vectors.embedding import PACKAGED, ModelSource, load_model, open_embedder, packaged_folder
from rag_rec.vectors.flat import FlatIndex
from rag_rec.vectors.interactions import ROW_DTYPE, InteractionIndex
from rag_rec.vectors.protocol import Vectors

ML_1M = Path(__file__).resolve().parents[2] / "shared" / "data" / "ml-1m"
SEED = 0
K = 50
QUERIES = 500
TIMED_TEXTS = 300
DIRECT_SCALE = 400.0
"""Fixed scale of the eight-bit codes: components up to 0.317 fit, which those of MiniLM do."""

Histories = dict[int, History]


def main() -> None:
    """Measure and write ``benchmarks/results/vector_indices.json``."""
    without_options(__doc__)
    faiss.omp_set_num_threads(1)
    name, texts, histories = ml_1m() if ML_1M.is_dir() else seeded()
    vectors = open_embedder(PACKAGED, 2).embed(texts)
    people, seconds = load_people(vectors, histories)
    profiles = people.profiles.vectors(people.profiles.numbers())
    queries = profiles[np.random.default_rng(SEED).choice(len(profiles), min(QUERIES, len(profiles)), replace=False)]
    rows: list[Row] = [
        *index_rows("items", vectors, queries),
        *index_rows("profiles", profiles, queries),
        *embedding_rows(texts),
        *people_rows(people, histories, seconds),
    ]
    print(write_results("vector_indices", rows, SEED, {name: rows}))  # noqa: T201 - the command's result


def ml_1m() -> tuple[str, list[str], Histories]:
    """Titles with genres of ML-1M, and each user's positive ratings in order of time."""
    lines = (ML_1M / "movies.dat").read_text("latin-1").splitlines()
    movies = [line.split("::") for line in lines]
    column = {int(movie): place for place, (movie, _, _) in enumerate(movies)}
    with gzip.open(ML_1M / "derived" / "ratings_known.dat.gz", "rt") as stream:
        table = np.array([line.split("::") for line in stream], dtype=np.int64)
    table = table[table[:, 2] >= 4]
    table = table[np.lexsort((table[:, 3], table[:, 0]))]
    items = np.array([column[int(movie)] for movie in table[:, 1]], dtype=np.int32)
    texts = [f"{title}. {', '.join(genres.split('|'))}" for _, title, genres in movies]
    return "ml-1m", texts, histories_of(table[:, 0], items, table[:, 3] * 1000)


def seeded(items: int = 3000, users: int = 3000) -> tuple[str, list[str], Histories]:
    """Texts of words drawn from a vocabulary, and users who like items that share a word."""
    rng = np.random.default_rng(SEED)
    words = [line for line in (packaged_folder() / "vocab.txt").read_text().split() if line.isalpha() and len(line) > 4]
    drawn = rng.choice(words[:2000], (items, 8))
    texts = [" ".join(row[: rng.integers(3, 9)]) for row in drawn]
    owners = np.repeat(np.arange(users), rng.integers(5, 80, users))
    liked = (owners * 37 + rng.integers(0, 200, len(owners))) % items
    return "seeded", texts, histories_of(owners, liked.astype(np.int32), np.arange(len(owners)))


def histories_of(owners: np.ndarray[Any, Any], items: np.ndarray[Any, Any], times: np.ndarray[Any, Any]) -> Histories:
    """One history per user from rows that are sorted by user."""
    rows = np.zeros(len(owners), dtype=HISTORY_DTYPE)
    rows["interaction"], rows["item"], rows["value"], rows["time"] = np.arange(len(owners)), items, 5.0, times
    users, starts = np.unique(owners, return_index=True)
    return {int(user): part for user, part in zip(users, np.split(rows, starts[1:]), strict=True)}


def load_people(vectors: Vectors, histories: Histories) -> tuple[People, float]:
    """Put everybody into the indices; the seconds that it took."""
    items = FlatIndex(vectors.shape[1], capacity=len(vectors))
    items.put(np.arange(len(vectors)), vectors)
    people = People(InteractionIndex(items), FlatIndex(vectors.shape[1]))
    started = perf_counter()
    for user, history in histories.items():
        people.put(user, history, np.ones(len(history), dtype=np.bool_), {})
    return people, perf_counter() - started


def index_rows(name: str, vectors: Vectors, queries: Vectors) -> list[Row]:
    """One row per index type: FAISS's own, and the product's flat index at last."""
    exact = np.argsort(-(queries @ vectors.T), axis=1, kind="stable")[:, :K]
    rows = [faiss_row(f"{name} {kind}", kind, vectors, queries, exact) for kind in FAISS_TYPES]
    index = FlatIndex(vectors.shape[1], capacity=len(vectors))
    index.put(np.arange(len(vectors)), vectors)
    found, milliseconds = timed_search(index.search, queries)
    size = {"bytes_per_vector": round(vector_bytes(index), 1), "trained": False, "removes_physically": True}
    return [
        *rows,
        {"name": f"{name} FlatIndex", "vectors": len(vectors), **size, **quality(found, exact, milliseconds)},
    ]


FAISS_TYPES: dict[str, tuple[str, float]] = {
    "Flat fp32": ("Flat", 1.0),
    "SQ fp16": ("SQfp16", 1.0),
    "SQ bf16": ("SQbf16", 1.0),
    "SQ int8, fixed scale": ("SQ8_direct_signed", DIRECT_SCALE),
    "SQ int8, trained": ("SQ8", 1.0),
    "HNSW32 fp32": ("HNSW32,Flat", 1.0),
}


def faiss_row(name: str, kind: str, vectors: Vectors, queries: Vectors, exact: np.ndarray[Any, Any]) -> Row:
    """Size, time and recall of one of FAISS's index types."""
    factory, scale = FAISS_TYPES[kind]
    index: Any
    if factory == "SQ8_direct_signed":
        signed = faiss.ScalarQuantizer.QT_8bit_direct_signed
        index = faiss.IndexScalarQuantizer(vectors.shape[1], signed, faiss.METRIC_INNER_PRODUCT)
        # FAISS reads the query as whole numbers too, so both sides are scaled.
        vectors, queries = eight_bits(vectors, scale), eight_bits(queries, scale)
    else:
        index = faiss.index_factory(vectors.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
    trained = not index.is_trained
    index.train(vectors)
    index.add(vectors)
    found, milliseconds = timed_search(lambda query, k: index.search(query, k)[::-1], queries)
    size = len(faiss.serialize_index(index)) / len(vectors)
    return {
        "name": name,
        "vectors": len(vectors),
        "bytes_per_vector": round(size, 1),
        "trained": trained,
        "removes_physically": not factory.startswith("HNSW"),
        **quality(found, exact, milliseconds),
    }


def eight_bits(vectors: Vectors, scale: float) -> Vectors:
    """Whole numbers in [-127, 127]."""
    codes: Vectors = np.rint(vectors * scale).clip(-127, 127).astype(np.float32)
    return codes


def timed_search(
    search: Callable[[Vectors, int], tuple[Any, Any]], queries: Vectors
) -> tuple[np.ndarray[Any, Any], list[float]]:
    """Numbers found for each query, [q, K], and the milliseconds of each search of one query."""
    found, milliseconds = [], []
    for query in queries:
        started = perf_counter()
        numbers, _ = search(query[None], K)
        milliseconds.append(1000 * (perf_counter() - started))
        found.append(numbers[0])
    return np.stack(found), milliseconds


def quality(found: np.ndarray[Any, Any], exact: np.ndarray[Any, Any], milliseconds: list[float]) -> dict[str, float]:
    """Median time, and the share of the exact k best that were found."""

    def recall(k: int) -> float:
        hits = [len(set(row[:k]) & set(truth[:k])) for row, truth in zip(found.tolist(), exact.tolist(), strict=True)]
        return round(float(np.mean(hits)) / k, 4)

    return {"search_ms": round(float(np.median(milliseconds)), 4), "recall@10": recall(10), "recall@50": recall(50)}


def embedding_rows(texts: list[str]) -> list[Row]:
    """Texts a second one by one, as the product embeds, and in batches, with what a batch does to the last bits."""
    import torch  # noqa: PLC0415 - the other rows do not need it

    chosen = sorted(set(texts))[:TIMED_TEXTS]
    rows: list[Row] = []
    alone: Vectors | None = None
    for threads in (1, 2):
        embedder = open_embedder(PACKAGED, threads)
        embedder.embed(chosen[:20])
        started = perf_counter()
        alone = embedder.embed(chosen)
        rate = round(len(chosen) / (perf_counter() - started), 1)
        rows.append({"name": f"embedding one by one, {threads} threads", "texts_per_s": rate})
    model = load_model(ModelSource(str(packaged_folder())))
    torch.set_num_threads(1)
    started = perf_counter()
    batched = model.encode(chosen, batch_size=32, normalize_embeddings=True, show_progress_bar=False)
    row = {"name": "embedding in batches of 32, 1 thread", "texts_per_s": len(chosen) / (perf_counter() - started)}
    difference = np.abs(batched - alone)
    changed = {"changed_vectors": round(float((difference > 0).any(axis=1).mean()), 4)}
    return [*rows, {**row, **changed, "largest_difference": float(difference.max())}]


def _write(folder: Path, people: People) -> None:
    for shard in range(SHARDS):
        write_shard(folder, shard, people)


def people_rows(people: People, histories: Histories, seconds: float) -> list[Row]:
    """What a user's list and the files cost."""
    index = people.interactions
    assert isinstance(index, InteractionIndex)  # noqa: S101 - for the type checker
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        written = timed(lambda: _write(folder, people))
        read = timed(lambda: read_people(folder, index._items))
        size = sum(path.stat().st_size for path in folder.rglob("*.safetensors"))
        user = next(iter(histories))
        removal = timed(lambda: [rewrite_without(folder / file, folder / "new", {user}) for file in shard_files(user)])
    return [
        {
            "name": "interactions",
            "users": len(people),
            "interactions": len(index),
            "bytes_per_interaction": ROW_DTYPE.itemsize,
            "bytes_per_own_text": 2 * index._items.dimension + 8,
            "bytes_per_user": user_bytes(people),
            "put_everybody_s": round(seconds, 3),
        },
        {"name": "files", "bytes": size, "write_s": written, "read_s": read, "forget_one_user_ms": removal * 1000},
    ]


def user_bytes(people: People, users: int = 2000) -> float:
    """Memory that a user's list costs beside its interactions."""
    index = people.interactions
    assert isinstance(index, InteractionIndex)  # noqa: S101 - for the type checker
    fresh = InteractionIndex(index._items)
    tracemalloc.start()
    for user in range(users):
        fresh.put(user + 10**6, np.array([user]), np.array([0], dtype=np.int32), {})
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return round(taken / users - ROW_DTYPE.itemsize, 1)


def vector_bytes(index: FlatIndex) -> float:
    """Memory that one more vector costs: its codes, its number, and its place in the table of numbers."""
    table = sys.getsizeof(index._row_of) / len(index)
    return 2.0 * index.dimension + 8.0 + table + 2 * sys.getsizeof(1 << 20)


def timed(action: Callable[[], object]) -> float:
    """Seconds that an action takes."""
    started = perf_counter()
    action()
    return round(perf_counter() - started, 4)


if __name__ == "__main__":
    main()
