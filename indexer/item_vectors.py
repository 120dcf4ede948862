"""Embeds the items of a build: takes over what earlier generations have, embeds the rest, and resumes."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save

from indexer.reuse import Known
from rag_rec.artifacts.private import make_private_folder, replace_durably
from rag_rec.index.item_space import ItemTexts, text_digests
from rag_rec.vectors.flat import FlatIndex
from rag_rec.vectors.protocol import Embedder, Vectors

CHUNK = 2048
"""Items embedded between two checkpoints."""

SLICE = 64
"""Texts embedded in one call, so that the bar moves: about half a second's worth on two cores."""

Advance = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Chunk:
    """Vectors float32 [n, d] and token counts int32 [n] of consecutive items."""

    vectors: Vectors
    tokens: npt.NDArray[np.int32]


def build_items(folder: Path, texts: Sequence[str], embedder: Embedder, known: Known, advance: Advance) -> FlatIndex:
    """Write ``items/`` of a building folder: the index of text vectors, and what was embedded.

    Args:
        folder: the building folder.
        texts: texts of all items, by number.
        embedder: the model.
        known: vectors of texts that need not be embedded.
        advance: called with the number of items done.
    """
    target = folder / "items"
    if (target / "index").is_dir() and len(ItemTexts.load(target).tokens) == len(texts):
        advance(len(texts))
        return FlatIndex.load(target / "index")
    digests = text_digests(texts)
    index = FlatIndex(embedder.dimension)
    tokens = np.empty(len(texts), dtype=np.int32)
    for start, stop in _chunks(len(texts)):
        chunk = _checkpointed(folder, start, texts[start:stop], digests[start:stop], embedder, known, advance)
        index.put(np.arange(start, stop), chunk.vectors)
        tokens[start:stop] = chunk.tokens
    _write(target, index, ItemTexts(digests, tokens))
    shutil.rmtree(folder / "partial", ignore_errors=True)
    return index


def _chunks(count: int) -> Iterator[tuple[int, int]]:
    for start in range(0, count, CHUNK):
        yield start, min(start + CHUNK, count)


def _checkpointed(  # noqa: PLR0913 - one chunk and what it is made from
    folder: Path,
    start: int,
    texts: Sequence[str],
    digests: npt.NDArray[np.uint8],
    embedder: Embedder,
    known: Known,
    advance: Advance,
) -> Chunk:
    path = folder / "partial" / f"{start:09d}.safetensors"
    if path.is_file():
        held = load_file(path)
        if np.array_equal(held["digests"], digests):
            advance(len(texts))
            return Chunk(held["vectors"], held["tokens"])
    chunk = _embedded(texts, digests, embedder, known, advance)
    make_private_folder(path.parent)
    replace_durably(path, save({"vectors": chunk.vectors, "tokens": chunk.tokens, "digests": digests.copy()}))
    return chunk


def _embedded(
    texts: Sequence[str], digests: npt.NDArray[np.uint8], embedder: Embedder, known: Known, advance: Advance
) -> Chunk:
    """Vectors of texts: what is known is taken over, every other text is embedded once."""
    keys = [digest.tobytes() for digest in digests]
    unseen = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
    advance(sum(key in known for key in keys))
    made = _embed(unseen, embedder, advance, Counter(keys))
    rows = [known[key] if key in known else made[key] for key in keys]
    vectors = np.empty((len(texts), embedder.dimension), dtype=np.float32)
    for place, (vector, _) in enumerate(rows):
        vectors[place] = vector
    return Chunk(vectors, np.array([tokens for _, tokens in rows], dtype=np.int32))


def _embed(unseen: Mapping[bytes, str], embedder: Embedder, advance: Advance, times: Mapping[bytes, int]) -> Known:
    """Vectors and token counts of texts, a slice at a time; ``times`` says how many items have each text."""
    made: Known = {}
    keys = list(unseen)
    for start in range(0, len(keys), SLICE):
        part = keys[start : start + SLICE]
        texts = [unseen[key] for key in part]
        vectors, tokens = embedder.embed(texts), embedder.count_tokens(texts).tolist()
        made |= {key: (vectors[place], tokens[place]) for place, key in enumerate(part)}
        advance(sum(times[key] for key in part))
    return made


def _write(target: Path, index: FlatIndex, texts: ItemTexts) -> None:
    shutil.rmtree(target, ignore_errors=True)
    unfinished = target.with_name("items-unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    make_private_folder(unfinished / "index")
    index.save(unfinished / "index")
    texts.save(unfinished)
    unfinished.rename(target)
