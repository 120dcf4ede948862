from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rag_rec.candidates.reranker import Reranker
from rag_rec.domain import Interaction, Item
from rag_rec.engine.engine import Engine
from rag_rec.errors import Busy, CorruptIndex
from rag_rec.index.item_space import ItemSpace
from rag_rec.proof.table import compare
from rag_rec.proof.twin import Twin, build_twin
from tests.embedders import HashEmbedder
from tests.homes import ITEMS, build, running
from tests.rag_rec.forgetting.asking import forget
from tests.rag_rec.forgetting.homes import CANARY, DAY, log, number_of


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = running(tmp_path, log(), reranker=Reranker.default())
    yield engine
    engine.close()


def twin_of(engine: Engine) -> Twin:
    return build_twin(engine.live, engine.store, engine.settings, engine.embedder)


def assert_equal(engine: Engine, twin: Twin) -> None:
    proof = compare(engine.live, twin)
    assert [row.check for row in proof.rows if not row.equal] == []


class CountingEmbedder(HashEmbedder):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def embed(self, texts: Any) -> Any:
        self.texts += texts
        return super().embed(texts)


def test_a_twin_embeds_every_text_of_a_person_anew_and_no_item(engine: Engine) -> None:
    embedder = CountingEmbedder()
    build_twin(engine.live, engine.store, engine.settings, embedder)
    own = [row.text for row in log() if row.text]
    assert sorted(embedder.texts) == sorted(own)


def test_a_twin_holds_what_the_store_holds_and_shares_no_memory(engine: Engine) -> None:
    twin = twin_of(engine).live
    number = number_of(engine.store, CANARY)
    before = twin.people.history(number).copy()
    assert len(before) == 6
    engine.live.people.history(number)["item"][:] = 0  # whatever happens to the one does not happen to the other
    engine.live.people.interactions.remove(number)
    assert twin.people.history(number).tobytes() == before.tobytes()
    assert len(twin.people.interactions.interactions(number)) == 6
    assert twin.statistics.equal(engine.live.statistics)
    assert twin.statistics is not engine.live.statistics


def test_a_twin_knows_events_users_and_items_that_came_after_the_index(engine: Engine) -> None:
    engine.put_item(Item("new", "a new garden of stars"))
    engine.put_item(Item("item-3", "another text altogether"))
    engine.add_interactions("newcomer", [Interaction("newcomer", "new", 300 * DAY, "bookmark")])
    engine.add_interactions(CANARY, [Interaction(CANARY, "new", 301 * DAY, "like", text="words of their own")])
    twin = twin_of(engine)
    assert len(twin.live.people.history(number_of(engine.store, "newcomer"))) == 1
    assert_equal(engine, twin)


def test_profiles_follow_a_changed_text_of_an_item(engine: Engine) -> None:
    before = engine.live.people.profile(number_of(engine.store, "user-0"))
    engine.put_item(Item(ITEMS[0].id, "nothing of what it was before"))
    after = engine.live.people.profile(number_of(engine.store, "user-0"))
    assert before is not None
    assert after is not None
    assert not np.array_equal(before, after)
    assert_equal(engine, twin_of(engine))


def test_a_twin_follows_the_store(engine: Engine) -> None:
    twin = twin_of(engine)
    forget(engine.officer, CANARY)
    engine.add_interactions("user-1", [Interaction("user-1", ITEMS[9].id, 300 * DAY, "like")])
    with twin.level(engine.live):
        assert twin.live.epoch == engine.live.epoch == engine.store.epoch()
        assert twin.live.statistics.equal(engine.live.statistics)
    assert_equal(engine, twin)


def test_level_waits_until_both_stand_at_the_store_s_epoch(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody writes between the follow of the one and that of the other."""
    twin = twin_of(engine)
    follow, late = twin.live.follow, [Interaction("user-2", ITEMS[10].id, 300 * DAY, "like")]

    def follow_and_write() -> None:
        follow()
        if late:
            engine.store.append([late.pop()])

    monkeypatch.setattr(twin.live, "follow", follow_and_write)
    with twin.level(engine.live):
        assert twin.live.epoch == engine.live.epoch == engine.store.epoch()
        assert twin.live.statistics.equal(engine.live.statistics)


def test_a_state_stands_still_while_it_is_compared(engine: Engine) -> None:
    twin, row = twin_of(engine), Interaction("user-3", ITEMS[11].id, 300 * DAY, "like")
    with twin.level(engine.live):
        writer = threading.Thread(target=engine.add_interactions, args=("user-3", [row]))
        writer.start()
        while engine.store.epoch() == engine.live.epoch:
            pass
        assert len(engine.live.people.history(number_of(engine.store, "user-3"))) == 5
    writer.join()
    assert len(engine.live.people.history(number_of(engine.store, "user-3"))) == 6
    assert_equal(engine, twin)


def test_a_twin_counts_as_the_state_does(tmp_path: Path) -> None:
    """The catalogue has grown beyond the limit, which a running system notices only at its next start."""
    engine = running(tmp_path, log(), dense_items_limit=len(ITEMS), reranker=Reranker.default())
    engine.put_item(Item("one-more", "one more item"))
    twin = twin_of(engine)
    assert engine.live.statistics.dense
    assert twin.live.statistics.dense
    assert_equal(engine, twin)
    engine.close()


def test_a_twin_needs_the_index_that_is_in_use(engine: Engine) -> None:
    build(engine.settings)
    with pytest.raises(Busy):
        twin_of(engine)
    engine.refresh()
    assert_equal(engine, twin_of(engine))


def test_an_index_that_a_removal_replaces_meanwhile_is_read_again(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    load, times = ItemSpace.load, []

    def replaced_once(*args: Any) -> ItemSpace:
        times.append(1)
        if len(times) == 1:
            forget(engine.officer, CANARY)
            raise CorruptIndex("gone")
        return load(*args)

    monkeypatch.setattr(ItemSpace, "load", replaced_once)
    twin = twin_of(engine)
    assert len(times) == 2
    assert twin.live.generation.id == engine.current.generations.current_id()


def test_a_damaged_index_is_an_error(engine: Engine) -> None:
    current = engine.current.generations.current()
    (current.folder / "items" / "index" / "vectors.safetensors").unlink()
    with pytest.raises(CorruptIndex):
        twin_of(engine)


def test_a_store_without_people_has_a_twin(tmp_path: Path) -> None:
    engine = running(tmp_path, [], reranker=Reranker.default())
    assert len(twin_of(engine).live.people) == 0
    assert_equal(engine, twin_of(engine))
    engine.close()
