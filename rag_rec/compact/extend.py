"""Gives new items their tokens: a base with their rows filled in, and nothing else changed.

The vocabulary keeps its size, so that every adapter of the lineage still fits, and all other tokens keep their logits.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import orjson
from safetensors.numpy import load_file, save

from rag_rec.adapters.folder import AdapterStore
from rag_rec.adapters.published import CompactFolder
from rag_rec.artifacts.private import write_durably
from rag_rec.compact.projection import FILE as PROJECTION
from rag_rec.compact.projection import TextProjection
from rag_rec.compact.tokenizer import write_tokenizer
from rag_rec.compact.vocabulary import Vocabulary
from rag_rec.errors import InvalidInput
from rag_rec.vectors.protocol import Vectors

WEIGHTS: Final = "model.safetensors"
CONFIG: Final = "config.json"
GENERATION: Final = "generation_config.json"
EMBEDDING: Final = ("model.embed_tokens.weight", "lm_head.weight")


def extend_base(
    store: AdapterStore, digest: str, item_ids: Sequence[str], vectors: Vectors, *, epoch: int
) -> CompactFolder:
    """Publish a base that knows new items by their texts. It is not put to use by that.

    Args:
        store: where the base is.
        digest: the base to extend.
        item_ids: items that have no token yet.
        vectors: their unit text vectors, float32 [n, d], by the same embedding model.
        epoch: the change of the store up to which the catalogue was read.

    Raises:
        InvalidInput: an item has a token already, or there are not enough spare rows.
    """
    base = store.open_base(digest)
    old = Vocabulary.load(base.folder)
    new = old.extended(item_ids)
    if len(vectors) != len(item_ids):
        raise InvalidInput("Every new item needs one text vector.")

    def write(folder: Path) -> None:
        for name in (CONFIG, GENERATION, PROJECTION):
            (folder / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(base.folder / name, folder / name)
        _write_weights(base.folder, folder, old.first_spare, vectors)
        new.save(folder)
        context = orjson.loads((folder / CONFIG).read_bytes())["max_position_embeddings"]
        write_tokenizer(new, context, folder)

    counts = {**base.manifest.counts, "items": len(new.items), "spare": new.spare}
    return store.publish_base(write, epoch=epoch, settings=base.manifest.settings, counts=counts, parent=digest)


def _write_weights(source: Path, target: Path, first: int, vectors: Vectors) -> None:
    weights = load_file(source / WEIGHTS)
    rows = TextProjection.load(source).rows(vectors)
    for name in EMBEDDING:
        weights[name][first : first + len(rows)] = rows
    write_durably(target / WEIGHTS, save(weights, {"format": "pt"}))  # transformers insists on this entry
