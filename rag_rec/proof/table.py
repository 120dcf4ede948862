"""The proof of a removal: a state compared with the twin that never knew the person, row by row of a table."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from rag_rec.index.serving_state import ServingState
from rag_rec.index.shards import SHARDS
from rag_rec.progress.protocol import SILENT, Progress
from rag_rec.proof import differences
from rag_rec.proof.differences import BAND, Difference
from rag_rec.proof.index_people import files
from rag_rec.proof.twin import Twin

EXACT_USERS: Final = 20_000
"""Up to so many users the lists of all are compared, unless a sample is asked for."""

SAMPLE: Final = 2_000
"""Beyond, the lists of so many."""

STANDSTILL: Final = 0.04
"""Seconds after which a standstill ends; the step that is under way is finished first."""

BREATH: Final = 0.005
"""Seconds between two standstills, so that waiting calls get a turn."""


@dataclass(frozen=True, slots=True)
class Row:
    """One check: how many things were compared, how many of them differ, and by how much at worst."""

    check: str
    compared: int
    different: int
    worst: float

    @property
    def equal(self) -> bool:
        """Whether nothing differs."""
        return not self.different


@dataclass(frozen=True, slots=True)
class Proof:
    """The table.

    Attributes:
        rows: the checks.
        epoch: of the store at the end.
        users: how many users the two states hold.
        listed: of how many of them the lists were compared.
        reranker: digest of the reranker, which both share.
    """

    rows: tuple[Row, ...]
    epoch: int
    users: int
    listed: int
    reranker: str

    @property
    def equal(self) -> bool:
        """Whether the state equals its twin in every row."""
        return all(row.equal for row in self.rows)


def compare(
    live: ServingState, twin: Twin, sample: int | None = None, seed: int = 0, progress: Progress = SILENT
) -> Proof:
    """Compare a state with its twin while the state goes on answering.

    Every count, vector, profile, history and file is compared. Lists are compared for all users, or for a random
    sample where there are more than :data:`EXACT_USERS`. Two states at work are never still for long: each step
    compares both at one and the same epoch of the store, and the epochs of two steps may differ.

    Args:
        live: the state.
        twin: its twin (:func:`rag_rec.proof.twin.build_twin`).
        sample: of how many users lists are compared; None decides by the number of users.
        seed: of the sample.
        progress: told of every check as a stage, and of its steps.
    """
    with twin.level(live):
        users = differences.users_of(live, twin)
    listed = _drawn(users, sample, seed)
    rows = tuple(_row(check, live, twin, progress) for check in _checks(live, twin, users, listed))
    return Proof(rows, twin.live.epoch, len(users), len(listed), live.reranker.digest)


def proof_table(proof: Proof) -> dict[str, Any]:
    """The table as plain JSON values, as a receipt holds it and a command prints it."""
    rows = [
        {
            "check": row.check,
            "compared": row.compared,
            "different": row.different,
            "equal": row.equal,
            "worst": row.worst,
        }
        for row in proof.rows
    ]
    return {
        "equal": proof.equal,
        "mode": "exact" if proof.listed == proof.users else "sampled",
        "users": proof.users,
        "users_listed": proof.listed,
        "epoch": proof.epoch,
        "reader": proof.reranker,
        "rows": rows,
    }


@dataclass(frozen=True, slots=True)
class Check:
    """One kind of comparison, its steps, and how many there are."""

    name: str
    total: int
    steps: Iterator[Difference]


def _checks(live: ServingState, twin: Twin, users: Sequence[int], listed: Sequence[int]) -> Iterator[Check]:
    people, bands = len(users), -(-len(live.items) // BAND)
    for name in ("together", *live.statistics.transitions):
        yield Check(f"counts: {name}", bands, differences.counts(live, twin, name))
    yield Check("counts: popularity", 2, differences.popularity(live, twin))
    yield Check("counted sequences", people + 2, differences.passages(live, twin, users))
    if live.statistics.dense:
        yield Check("inverse P (relative)", bands, differences.inverse(live, twin))
    yield Check("item vectors", 2 * bands, differences.item_vectors(live, twin))
    yield Check("histories", people, differences.histories(live, twin, users))
    yield Check("interaction vectors", people, differences.interaction_vectors(live, twin, users))
    yield Check("profile vectors", people, differences.profiles(live, twin, users))
    yield Check("index files", SHARDS, files(twin))
    yield Check("recommendation lists", len(listed) + 1, differences.lists(live, twin, [*listed, None]))


def _row(check: Check, live: ServingState, twin: Twin, progress: Progress) -> Row:
    found: list[Difference] = []
    progress.stage(f"compare {check.name}", check.total)
    while batch := _advance(check.steps, live, twin):
        found.extend(batch)
        progress.advance(len(batch))
        time.sleep(BREATH)
    return Row(
        check.name,
        sum(each.compared for each in found),
        sum(each.different for each in found),
        max((each.worst for each in found), default=0.0),
    )


def _advance(steps: Iterator[Difference], live: ServingState, twin: Twin) -> list[Difference]:
    """As many steps as fit into one standstill, at least one if there is one left."""
    done: list[Difference] = []
    with twin.level(live):
        end = time.monotonic() + STANDSTILL
        for step in steps:
            done.append(step)
            if time.monotonic() >= end:
                break
    return done


def _drawn(users: Sequence[int], sample: int | None, seed: int) -> list[int]:
    wanted = sample if sample is not None else len(users) if len(users) <= EXACT_USERS else SAMPLE
    chosen = np.random.default_rng(seed).permutation(np.array(users, dtype=np.int64))[:wanted]
    return sorted(chosen.tolist())
