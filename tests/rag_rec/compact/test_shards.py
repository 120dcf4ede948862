from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rag_rec.adapters.folder import AdapterStore
from rag_rec.adapters.published import SHARDS, CompactFolder
from rag_rec.compact.adapter import Deltas, trained_weights
from rag_rec.compact.base import Base
from rag_rec.compact.projection import TextProjection
from rag_rec.compact.sequences import TokenSequence
from rag_rec.compact.shards import (
    SCALES,
    Shard,
    best_sum,
    key_of,
    read_shard,
    scaled_sum,
    settings_of,
    write_shards,
)
from rag_rec.compact.training import AdapterSettings, AdapterTraining
from rag_rec.compact.vocabulary import Vocabulary
from rag_rec.errors import CorruptIndex
from tests.rag_rec.adapters.places import put_base
from tests.rag_rec.compact.circling import CPU, FIRST_ITEM, ITEMS, KNOWN, a_base, windows

SETTINGS = AdapterSettings(reserve=0.1, shards=4)
KEY = "5" * 64


def person(*items: int) -> TokenSequence:
    return TokenSequence(np.array([0]), FIRST_ITEM + np.array(items))


def shard(seed: int, key: str = KEY) -> Shard:
    draws = torch.Generator().manual_seed(seed)
    deltas = {name: torch.randn(each.shape, generator=draws) for name, each in trained_weights(a_base()).items()}
    return Shard(key, deltas, 0.5 + seed)


def same(left: Deltas, right: Deltas) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def kept(tmp_path: Path, *shards: Shard) -> CompactFolder:
    compact = AdapterStore(tmp_path / "compact")

    def write(folder: Path) -> None:
        (folder / "weights").touch()
        write_shards(folder, shards)

    made = compact.publish_adapter(write, base=put_base(compact), epoch=1, settings={}, counts={})
    return compact.open_adapter(made.digest)


def test_each_place_is_trained_with_a_seed_of_its_own() -> None:
    first, second = settings_of(SETTINGS, 0), settings_of(SETTINGS, 1)
    assert first == settings_of(SETTINGS, 0) == replace(SETTINGS, seed=first.seed)
    assert len({first.seed, second.seed, settings_of(replace(SETTINGS, seed=1), 0).seed}) == 3


def test_a_key_is_of_all_that_a_training_depends_on_and_of_nothing_else() -> None:
    people = [person(1, 2), person(3)]

    def key(**changes: Any) -> str:
        return key_of("base", 20, replace(SETTINGS, **changes), "cpu", people)

    others = [
        key_of("another", 20, SETTINGS, "cpu", people),
        key_of("base", 21, SETTINGS, "cpu", people),
        key_of("base", 20, SETTINGS, "cuda", people),
        key_of("base", 20, SETTINGS, "cpu", people[:1]),
        key_of("base", 20, SETTINGS, "cpu", people[::-1]),
        key_of("base", 20, SETTINGS, "cpu", [person(1), person(2, 3)]),
        key(epochs=3),
        key(rate=0.5),
        key(seed=1),
        key(threads=2),
    ]
    assert len({key(), *others}) == len(others) + 1
    assert {key(rank=3), key(shards=8), key(together=0), key(reserve=0.2), key(held_out=0.5)} == {key()}


def test_the_sum_takes_the_scale_that_the_reserve_finds_likeliest() -> None:
    """Adapters that all learned to go round the catalogue: their mean does too, and people who do choose the scale."""
    settings = AdapterSettings(epochs=6, rate=1e-2, dropout=0.0, batch=4, context=8)
    training = AdapterTraining(a_base(), windows(settings), KNOWN, settings, CPU)
    for _ in range(settings.epochs):
        training.epoch(lambda _: None)
    part = Shard(KEY, {name: 0.25 * delta for name, delta in training.deltas().items()}, 0.0)
    vectors = np.random.default_rng(0).normal(size=(ITEMS, 24)).astype(np.float32)
    vocabulary = Vocabulary(("a=b",), (), tuple(str(n) for n in range(ITEMS)), 0)
    assert vocabulary.first_item == FIRST_ITEM
    base = Base(a_base(), vocabulary, TextProjection.of(vectors, 16))
    going = [person(*((start + n) % ITEMS for n in range(8))) for start in range(ITEMS)]
    back = [TokenSequence(each.prefix, each.items[::-1].copy()) for each in going]
    assert same(best_sum(base, [part, part], going, 8), scaled_sum([part, part], SCALES[-1] / 2))
    assert same(best_sum(base, [part, part], back, 8), scaled_sum([part, part], SCALES[0] / 2))
    assert same(trained_weights(base.model), trained_weights(a_base()))


def test_what_is_kept_comes_back_exactly(tmp_path: Path) -> None:
    first, second = shard(1), shard(2, "6" * 64)
    adapter = kept(tmp_path, first, second)
    for each in (first, second):
        found = read_shard(adapter, each.key)
        assert found is not None and same(found.deltas, each.deltas) and found.loss == each.loss
    assert read_shard(adapter, "7" * 64) is None
    assert sorted(path.stat().st_mode & 0o777 for path in (adapter.folder / SHARDS).iterdir()) == [0o600, 0o600]


@pytest.mark.parametrize("damage", ["gone", "other bytes", "cut short"])
def test_a_damaged_shard_is_noticed_and_the_adapter_can_be_used_without(tmp_path: Path, damage: str) -> None:
    adapter = kept(tmp_path, shard(1))
    (path,) = (adapter.folder / SHARDS).iterdir()
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(content[:-1] + b"?" if damage == "other bytes" else content[:100])
    with pytest.raises(CorruptIndex, match="adapter retrain"):
        read_shard(adapter, KEY)
    assert AdapterStore(tmp_path / "compact").open_adapter(adapter.digest) == adapter


def test_no_foreign_file_may_lie_among_the_shards(tmp_path: Path) -> None:
    adapter = kept(tmp_path, shard(1))
    (adapter.folder / SHARDS / "other").touch()
    with pytest.raises(CorruptIndex, match="not its own"):
        AdapterStore(tmp_path / "compact").open_adapter(adapter.digest)
