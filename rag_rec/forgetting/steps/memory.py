"""Memory: this process and every other live replica pass the erasure epoch."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

from rag_rec.forgetting.steps.protocol import Group, deadline_of, erased_at, found, is_whole
from rag_rec.forgetting.system import System
from rag_rec.layers.finding import Finding, Layer, Status
from rag_rec.layers.memory import Memory
from rag_rec.presence.replicas import lagging
from rag_rec.store.records import ForgetRecord

POLL_SECONDS: Final = 0.02

NOTHING = "Counts, profiles and histories in memory hold nothing of the person and add up; no counts are on disk."
KEPT = (
    "Memory has of the person exactly the interactions that the store has, in history, vectors and counts. "
    "It adds up; no counts are on disk."
)
UNSEEN = "No counts are on disk, and every running service has passed the erasure epoch."

CHECKED = "Every answer is compared with the erasure epoch before it leaves; one that is older is made again."
CACHED = "Cached prefixes of prompts cannot be addressed any more, since their salt has changed."
SERVER = "A vLLM server overwrites them when it needs the memory; restart it where that is not soon enough."


class FollowErasure:
    """Subtracts from the statistics and indices in memory, and waits for the other replicas to do so.

    Args:
        system: where.
        pause: waits for so many seconds.
    """

    name = "memory"

    def __init__(self, system: System, pause: Callable[[float], None] = time.sleep) -> None:
        self._system = system
        self._pause = pause

    def act(self, group: Group) -> None:
        """Follow the change log, and give the other replicas the time of ``RAGREC_REPLICA_WAIT_MS``."""
        live = self._system.live
        if live is not None:
            live.follow()
        attempts = int(self._system.settings.replica_wait_ms / 1000 / POLL_SECONDS)
        while attempts and self._lagging(group):
            self._pause(POLL_SECONDS)
            attempts -= 1

    def verify(self, group: Group) -> Sequence[Finding]:
        """Nothing that was to go is in memory here, the counts add up, and no live replica is behind."""
        return [self._statistics(group), self._answers(group)]

    def _statistics(self, group: Group) -> Finding:
        live = self._system.live
        follows = live is None or (live.epoch >= erased_at(group) and live.sound())
        held = live is not None and follows and any(_is_held(live, record) for record in group)
        behind = self._lagging(group)
        proof = UNSEEN if live is None else NOTHING if is_whole(group) else KEPT
        rest = "A running service has not followed yet, or its memory holds what was to go, or does not add up."
        gone = follows and not held and not behind
        detail: dict[str, str | int] = {"replicas": len(self._system.store.replicas()), "lagging": len(behind)}
        detail |= {"waits_for": ", ".join(behind)} if behind else {}
        return found(Layer.STATISTICS, gone, proof, rest, deadline_of(group), **detail)

    def _answers(self, group: Group) -> Finding:
        erased = erased_at(group)
        live = self._system.live
        followed = live is None or live.epoch >= erased
        if not followed or self._system.store.erasure_epoch() < erased:
            rest = "The erasure epoch is not in force yet."
            return Finding(Layer.ANSWERS, Status.PENDING, rest, deadline_of(group))
        if self._system.settings.generator == "vllm":
            return Finding(Layer.ANSWERS, Status.OUT_OF_SCOPE, f"{CHECKED} {CACHED} {SERVER}")
        return Finding(Layer.ANSWERS, Status.PROVEN, f"{CHECKED} {CACHED}", None, {"erasure_epoch": erased})

    def _lagging(self, group: Group) -> list[str]:
        return lagging(self._system.store, erased_at(group), self._system.replica)


def _is_held(live: Memory, record: ForgetRecord) -> bool:
    """Whether memory holds anything of a person that the store does not, or anything at all of one who went."""
    if record.user_number is None:
        return False
    whole = record.scope == "user"
    return not live.agrees(record.user_number) or (whole and live.holds(record.user_number))
