"""Shards: people who are learned apart, so that one who leaves takes the training of one shard along, and no other.

A shard is an adapter of its own, trained on the base alone; which people are in it depends on each of them alone. What
is served begins at one sum of all differences, times a scale that people choose from whom nothing is learned. So a
shard whose people are what they were is, to the byte, the shard of a system that never knew those who left another.

SISA: Bourtoule et al., "Machine Unlearning", IEEE S&P 2021, arXiv 1912.03817. Adapters for the shards of a
recommender's language model: APA, "Exact and Efficient Unlearning for Large Language Model-based Recommendation",
arXiv 2404.10327. ``docs/unlearning.md`` has what it costs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import orjson
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from rag_rec.adapters.published import SHARDS, CompactFolder
from rag_rec.artifacts.digests import digest_if_there
from rag_rec.artifacts.private import make_private_folder, write_durably
from rag_rec.compact.adapter import Deltas, merged
from rag_rec.compact.base import Base, limited_threads
from rag_rec.compact.reading import likelihoods
from rag_rec.compact.sequences import TokenSequence
from rag_rec.compact.training import AdapterSettings
from rag_rec.errors import CorruptIndex

FORMAT: Final = 1
"""Of shards and keys; one more where the same key would stand for another training."""
SCALES: Final = (0.8, 1.0, 1.2, 1.4, 1.7, 2.0)
"""Multiples of the mean of the differences that are tried; their sum is far out of what the base can bear."""
SERVED: Final = ("rank", "held_out", "reserve", "shards", "together")
"""Settings that a shard does not depend on, or only by its people."""


@dataclass(frozen=True, slots=True)
class Shard:
    """What the training of one shard came to.

    Attributes:
        key: of all that it depends on, see :func:`key_of`.
        deltas: its differences to the base, float32.
        loss: mean per target of its last epoch, in nats.
    """

    key: str
    deltas: Deltas
    loss: float


def settings_of(settings: AdapterSettings, place: int) -> AdapterSettings:
    """How the shard at a place is trained: as everybody would be, with a seed of its own."""
    digest = hashlib.blake2b(f"{settings.seed}:{place}".encode(), digest_size=4).digest()
    return replace(settings, seed=int.from_bytes(digest))


def key_of(base: str, known: int, settings: AdapterSettings, device: str, people: Sequence[TokenSequence]) -> str:
    """SHA-256 of all that the training of a shard depends on: equal keys, equal shards.

    Args:
        base: digest of the first base of the lineage; the items that were added since are not known to the training.
        known: tokens below this number are in use.
        settings: of this shard.
        device: PyTorch's name of where it is trained.
        people: as they are read, in their order.
    """
    used = {name: value for name, value in settings.content().items() if name not in SERVED}
    return digest_of(["shard", FORMAT, base, known, used, device], people)


def digest_of(fields: Sequence[Any], people: Iterable[TokenSequence]) -> str:
    """SHA-256 of plain values and of people."""
    digest = hashlib.sha256(orjson.dumps(fields, option=orjson.OPT_SORT_KEYS))
    for person in people:
        digest.update(b"%d %d " % (len(person.prefix), len(person.items)))
        digest.update(person.prefix.tobytes() + person.items.tobytes())
    return digest.hexdigest()


def scaled_sum(shards: Sequence[Shard], scale: float) -> Deltas:
    """The differences of all shards added up and scaled."""
    names = shards[0].deltas
    return {name: scale * torch.stack([each.deltas[name] for each in shards]).sum(dim=0) for name in names}


def best_sum(base: Base, shards: Sequence[Shard], reserve: Sequence[TokenSequence], context: int) -> Deltas:
    """The scaled sum under which the choices of the reserve are likeliest.

    Args:
        base: what the shards were trained on; it stays as it is.
        shards: those that have people, at least one.
        reserve: people from whom nothing is learned, at least one.
        context: most items in a window.
    """

    def likely(deltas: Deltas) -> float:
        return float(likelihoods(merged(base.model, deltas), base.vocabulary, reserve, context).mean())

    sums = (scaled_sum(shards, multiple / len(shards)) for multiple in SCALES)
    with limited_threads(1):  # the same choice on any number of cores
        return max(sums, key=likely)


def write_shards(folder: Path, shards: Iterable[Shard]) -> None:
    """Write into the folder of an adapter. Equal shards give equal bytes."""
    for each in shards:
        make_private_folder(folder / SHARDS)
        tensors = {name: each.deltas[name].contiguous() for name in sorted(each.deltas)}
        write_durably(folder / _file(each.key), save(tensors, {"shard": orjson.dumps({"loss": each.loss}).decode()}))


def read_shard(adapter: CompactFolder, key: str) -> Shard | None:
    """A shard with this key; None where an adapter keeps none. Raises ``CorruptIndex`` if it is damaged."""
    expected = adapter.manifest.files.get(_file(key))
    if expected is None:
        return None
    path = adapter.folder / _file(key)
    try:
        if digest_if_there(path) == expected:
            with safe_open(path, framework="pt") as file:
                loss = orjson.loads((file.metadata() or {})["shard"])["loss"]
                deltas = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
                return Shard(key, deltas, float(loss))
    except (OSError, SafetensorError, ValueError, KeyError, TypeError):
        pass
    raise CorruptIndex("A shard of the adapter in use is damaged: run `rag-rec adapter retrain`.")


def _file(key: str) -> str:
    return f"{SHARDS}{key}.safetensors"
