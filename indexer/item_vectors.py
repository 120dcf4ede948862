"""Embeds the items of a build: takes over what an earlier generation has, embeds the rest, and resumes."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save

from rag_rec.artifacts.private import make_private_folder, write_durably
from rag_rec.generation import Generation
from rag_rec.item_space import ItemTexts, text_digests
from rag_rec.vectors.flat import FlatIndex
from rag_rec.vectors.protocol import Embedder, Vectors

CHUNK = 2048
"""Items embedded between two checkpoints."""

Advance = Callable[[int], None]
Known = dict[bytes, tuple[npt.NDArray[np.float32], int]]


@dataclass(frozen=True, slots=True)
class Chunk:
    """Vectors float32 [n, d] and token counts int32 [n] of consecutive items."""

    vectors: Vectors
    tokens: npt.NDArray[np.int32]


def build_items(
    folder: Path, texts: Sequence[str], embedder: Embedder, earlier: Generation | None, advance: Advance
) -> FlatIndex:
    """Write ``items/`` of a building folder: the index of text vectors, and what was embedded.

    Args:
        folder: the building folder.
        texts: texts of all items, by number.
        embedder: the model.
        earlier: a generation whose vectors may be taken over where the text is the same, if any.
        advance: called with the number of items done.
    """
    target = folder / "items"
    if (target / "index").is_dir() and len(ItemTexts.load(target).tokens) == len(texts):
        advance(len(texts))
        return FlatIndex.load(target / "index")
    digests = text_digests(texts)
    index = FlatIndex(embedder.dimension)
    known = _known(earlier)
    tokens = np.empty(len(texts), dtype=np.int32)
    for start, stop in _chunks(len(texts)):
        chunk = _checkpointed(folder, start, texts[start:stop], digests[start:stop], embedder, known)
        index.put(np.arange(start, stop), chunk.vectors)
        tokens[start:stop] = chunk.tokens
        advance(stop - start)
    _write(target, index, ItemTexts(digests, tokens))
    shutil.rmtree(folder / "partial", ignore_errors=True)
    return index


def _chunks(count: int) -> Iterator[tuple[int, int]]:
    for start in range(0, count, CHUNK):
        yield start, min(start + CHUNK, count)


def _known(earlier: Generation | None) -> Known:
    """Vectors and token counts of an earlier generation by digest of the text."""
    if earlier is None:
        return {}
    folder = earlier.folder / "items"
    index, texts = FlatIndex.load(folder / "index"), ItemTexts.load(folder)
    vectors = index.vectors(index.numbers())
    return {
        digest.tobytes(): (vector, int(tokens))
        for digest, vector, tokens in zip(texts.digests, vectors, texts.tokens, strict=True)
    }


def _checkpointed(  # noqa: PLR0913 - one chunk and what it is made from
    folder: Path,
    start: int,
    texts: Sequence[str],
    digests: npt.NDArray[np.uint8],
    embedder: Embedder,
    known: Known,
) -> Chunk:
    path = folder / "partial" / f"{start:09d}.safetensors"
    if path.is_file():
        held = load_file(path)
        if np.array_equal(held["digests"], digests):
            return Chunk(held["vectors"], held["tokens"])
    chunk = _embedded(texts, digests, embedder, known)
    make_private_folder(path.parent)
    unfinished = path.with_suffix(".unfinished")
    write_durably(unfinished, save({"vectors": chunk.vectors, "tokens": chunk.tokens, "digests": digests.copy()}))
    unfinished.replace(path)
    return chunk


def _embedded(texts: Sequence[str], digests: npt.NDArray[np.uint8], embedder: Embedder, known: Known) -> Chunk:
    vectors = np.empty((len(texts), embedder.dimension), dtype=np.float32)
    tokens = np.empty(len(texts), dtype=np.int32)
    missing = []
    for place, digest in enumerate(digests):
        found = known.get(digest.tobytes())
        if found is None:
            missing.append(place)
        else:
            vectors[place], tokens[place] = found
    if missing:
        unseen = [texts[place] for place in missing]
        vectors[missing] = embedder.embed(unseen)
        tokens[missing] = embedder.count_tokens(unseen)
    return Chunk(vectors, tokens)


def _write(target: Path, index: FlatIndex, texts: ItemTexts) -> None:
    shutil.rmtree(target, ignore_errors=True)
    unfinished = target.with_name("items-unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    make_private_folder(unfinished / "index")
    index.save(unfinished / "index")
    texts.save(unfinished)
    unfinished.rename(target)
