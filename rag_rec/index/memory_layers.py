"""The state in memory: the statistics and indices of a service, and the answers that were made from them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from rag_rec.layers.finding import Finding, LayerName, Status
from rag_rec.layers.memory import Memory
from rag_rec.layers.protocol import Preview, QuietLayer, found
from rag_rec.layers.records import ForgetRecord, ForgetState, Group, Target, deadline_of, erased_at, is_whole
from rag_rec.presence.replicas import lagging
from rag_rec.settings import Settings
from rag_rec.store.protocol import Store

POLL_SECONDS: Final = 0.02

IN_MEMORY: Final = ("profile_vectors", "own_vectors", "statistics")
"""What of a plan only a loaded index knows."""

NOTHING = "Counts, profiles and histories in memory hold nothing of the person and add up; no counts are on disk."
KEPT = (
    "Memory has of the person exactly the interactions that the store has, in history, vectors and counts. "
    "It adds up; no counts are on disk."
)
UNSEEN = "No counts are on disk, and every running service has passed the erasure epoch."

CHECKED = "Every answer is compared with the erasure epoch before it leaves; one that is older is made again."
CACHED = "Cached prefixes of prompts cannot be addressed any more, since their salt has changed."
SERVER = "A vLLM server overwrites them when it needs the memory; restart it where that is not soon enough."


class StatisticsLayer(QuietLayer):
    """Subtracts from the statistics and indices in memory. Every answer waits for it: it is the first to remove.

    Args:
        live: the state in memory of this process, or of the service that asked; None where nothing is loaded.
        store: knows the other services.
        replica: the id of this service, if it is one.
    """

    name = LayerName.STATISTICS
    state = ForgetState.EFFECTIVE

    def __init__(self, live: Memory | None, store: Store, replica: str | None) -> None:
        self._live = live
        self._store = store
        self._replica = replica

    def preview(self, targets: Sequence[Target]) -> Preview:
        """Counts and vectors that would go; None of each without a loaded index."""
        live = self._live
        if live is None:
            return dict.fromkeys(IN_MEMORY)
        reached = [live.reach(each.number, each.interactions) for each in targets]
        return {kind: sum(reach[kind] for reach in reached) for kind in IN_MEMORY}

    @contextmanager
    def prepare(self, targets: Sequence[Target]) -> Iterator[None]:
        """Do the slow part of one person's subtraction before anybody has to wait for it."""
        if self._live is None or len(targets) > 1:
            yield
            return
        self._live.prepare(targets[0].number, None if targets[0].whole else targets[0].interactions)
        try:
            yield
        except BaseException:
            self._live.discard()
            raise

    def remove(self, group: Group) -> None:  # noqa: ARG002 - the change log says what has to go
        """Follow the change log."""
        if self._live is not None:
            self._live.follow()

    def look(self, group: Group) -> Sequence[Finding]:
        """Nothing that was to go is in memory here, the counts add up, and no live replica is behind."""
        live = self._live
        follows = live is None or (live.epoch >= erased_at(group) and live.sound())
        held = live is not None and follows and any(_is_held(live, record) for record in group)
        behind = lagging(self._store, erased_at(group), self._replica)
        proof = UNSEEN if live is None else NOTHING if is_whole(group) else KEPT
        rest = "A running service has not followed yet, or its memory holds what was to go, or does not add up."
        gone = follows and not held and not behind
        detail: dict[str, str | int] = {"replicas": len(self._store.replicas()), "lagging": len(behind)}
        detail |= {"waits_for": ", ".join(behind)} if behind else {}
        return [found(self.name, gone, proof, rest, deadline_of(group), **detail)] * len(group)


class AnswersLayer(QuietLayer):
    """Answers that were made from memory, and what a server of the LLM caches. Waits for the other services.

    Args:
        live: as of :class:`StatisticsLayer`.
        store: knows the other services.
        replica: the id of this service, if it is one.
        settings: say how long the other services are waited for, and what generates.
        pause: waits for so many seconds.
    """

    name = LayerName.ANSWERS
    state = ForgetState.EFFECTIVE

    def __init__(
        self,
        live: Memory | None,
        store: Store,
        replica: str | None,
        settings: Settings,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._live = live
        self._store = store
        self._replica = replica
        self._settings = settings
        self._pause = pause

    def preview(self, targets: Sequence[Target]) -> Preview:  # noqa: ARG002 - the same for everybody
        """What happens to answers and prompts."""
        return {"caches": "answers under way are made again; cached prompts cannot be read any more"}

    def remove(self, group: Group) -> None:
        """Give the other replicas the time of ``RAGREC_REPLICA_WAIT_MS`` to follow."""
        attempts = int(self._settings.replica_wait_ms / 1000 / POLL_SECONDS)
        while attempts and lagging(self._store, erased_at(group), self._replica):
            self._pause(POLL_SECONDS)
            attempts -= 1

    def look(self, group: Group) -> Sequence[Finding]:
        """The erasure epoch is in force."""
        return [self._finding(group)] * len(group)

    def _finding(self, group: Group) -> Finding:
        erased = erased_at(group)
        followed = self._live is None or self._live.epoch >= erased
        if not followed or self._store.erasure_epoch() < erased:
            rest = "The erasure epoch is not in force yet."
            return Finding(self.name, Status.PENDING, rest, deadline_of(group))
        if self._settings.generator == "vllm":
            return Finding(self.name, Status.OUT_OF_SCOPE, f"{CHECKED} {CACHED} {SERVER}")
        return Finding(self.name, Status.PROVEN, f"{CHECKED} {CACHED}", None, {"erasure_epoch": erased})


def _is_held(live: Memory, record: ForgetRecord) -> bool:
    """Whether memory holds anything of a person that the store does not, or anything at all of one who went."""
    if record.user_number is None:
        return False
    whole = record.scope == "user"
    return not live.agrees(record.user_number) or (whole and live.holds(record.user_number))
