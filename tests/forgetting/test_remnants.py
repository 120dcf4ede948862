from __future__ import annotations

from pathlib import Path

from rag_rec.domain import User
from rag_rec.forgetting.remnants import Remnants
from rag_rec.store import SqlStore, open_store


class Counting:
    """A store that was changed, and how often its connections were renewed."""

    def __init__(self) -> None:
        self.erased, self.unscrubbed, self.renewals = 3, False, 0

    def erasure_epoch(self) -> int:
        return self.erased

    def scrub_pending(self) -> bool:
        return self.unscrubbed

    def renew_connections(self) -> None:
        self.renewals += 1


def test_it_lets_go_once_after_each_removal_when_the_store_is_scrubbed() -> None:
    store = Counting()
    remnants = Remnants(store)  # type: ignore[arg-type]
    remnants.let_go_of_removed()
    assert store.renewals == 0
    store.erased, store.unscrubbed = 4, True
    remnants.let_go_of_removed()
    assert store.renewals == 0
    store.unscrubbed = False
    for _ in range(2):
        remnants.let_go_of_removed()
        assert store.renewals == 1


def test_renewed_connections_know_the_newest_state(tmp_path: Path) -> None:
    store: SqlStore = open_store(f"sqlite:///{tmp_path / 'store.sqlite3'}")
    store.put_users([User("u1", {"age": 30})])
    before = store.user("u1")
    assert before is not None
    store.renew_connections()
    store.put_users([User("u1", {"age": 31})])
    after = store.user("u1")
    assert after is not None
    assert (before[1].attributes["age"], after[1].attributes["age"]) == (30, 31)
    store.close()
