"""Where a removal can be interrupted: before, halfway through and after each of its parts, and at file operations.

The product has no hooks for this: its functions are replaced from outside, in a process that is about to die or, for an
interruption by an exception, for as long as a context lasts.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final, Literal
from unittest.mock import patch

Stop = Callable[[], object]
"""Ends what is under way: kills the process, or raises. One that returns has ended something else."""

LAYERS: Final = (
    "rag_rec.index.memory_layers:StatisticsLayer",
    "rag_rec.store.layer:StoreLayer",
    "rag_rec.index.files_layer:FilesLayer",
    "rag_rec.places.temporary_layer:TemporaryLayer",
    "rag_rec.adapters.layer:AdapterLayer",
    "rag_rec.index.memory_layers:AnswersLayer",
    "rag_rec.index.reranker_layer:RerankerLayer",
    "rag_rec.layers.stated:StatedLayer",
    "rag_rec.presence.freed_layer:FreedLayer",
)
TRANSACTION: Final = (
    "rag_rec.forgetting.acceptance:Acceptance.accept",
    "rag_rec.store.acceptance:Acceptance.accept",
    "rag_rec.store.acceptance:remove_users",
    "rag_rec.store.acceptance:record_removal",
    "rag_rec.store.acceptance:suppress",
    "rag_rec.store.acceptance:incur_debts",
    "rag_rec.store.acceptance:write_records",
    "rag_rec.store.acceptance:append_entries",
)
FILES: Final = (
    "rag_rec.store.scrubbing:_empty_log",
    "rag_rec.store.scrubbing:zero_residue",
    "rag_rec.index.generation:Generations._seal",
    "rag_rec.artifacts.immutable:Publication.point_to",
    "rag_rec.artifacts.immutable:Folders.destroy",
    "rag_rec.artifacts.destruction:_fill",
    "rag_rec.artifacts.manifest:write_durably",
    "rag_rec.index.shards:write_arrays",
    "rag_rec.index.erasing:overwrite",
    "rag_rec.index.erasing:_replace",
    "rag_rec.adapters.folder:AdapterStore.discard_training",
)
RECEIPT: Final = (
    "rag_rec.forgetting.receipts.conclusion:ReceiptIssuer.issue",
    "rag_rec.forgetting.receipts.conclusion:write_receipt",
    "rag_rec.store.requests:Requests.extend_ledger",
    "rag_rec.store.requests:write_records",
    "rag_rec.forgetting.receipts.conclusion:ReceiptIssuer.copy_ledger",
    "rag_rec.forgetting.ledger.file:LedgerFile._append",
)
PLACES: Final = (
    *TRANSACTION,
    *(f"{layer}.{part}" for layer in LAYERS for part in ("remove", "look")),
    *FILES,
    *RECEIPT,
)
"""Functions at which a removal is interrupted, as ``module:name``."""

OPERATIONS: Final = frozenset({"open", "os.rename", "os.link", "os.remove", "os.rmdir", "os.mkdir", "os.truncate"})
"""Audit events of file operations."""


@dataclass(frozen=True, slots=True)
class Point:
    """A moment of a removal: of the ``nth`` call of a function, or of the ``nth`` file operation (place ``""``)."""

    place: str
    nth: int
    when: Literal["before", "halfway", "after"] = "before"


def half_of_zeros(descriptor: int, size: int) -> None:
    """Overwrite the first half of an open file."""
    os.pwrite(descriptor, bytes(size // 2), 0)


def half_of_arrays(path: Path, _kind: str, arrays: Mapping[str, Any]) -> None:
    """Write the first half of some arrays into a new file."""
    content = b"".join(array.tobytes() for array in arrays.values())
    path.write_bytes(content[: len(content) // 2])


def half_of_content(path: Path, content: bytes) -> None:
    """Write the first half of a file."""
    path.write_bytes(content[: len(content) // 2])


def half_of_a_line(copy: Any, entries: Sequence[Any]) -> None:
    """Write half of what should be appended to a copy of the ledger."""
    with copy.path.open("ab") as stream:
        stream.writelines(entry.body.encode()[: len(entry.body) // 2] for entry in entries[:1])


HALVES: Final[Mapping[str, Callable[..., None]]] = {
    "rag_rec.artifacts.destruction:_fill": half_of_zeros,
    "rag_rec.artifacts.manifest:write_durably": half_of_content,
    "rag_rec.index.shards:write_arrays": half_of_arrays,
    "rag_rec.forgetting.ledger.file:LedgerFile._append": half_of_a_line,
}
"""What is done of a write that is interrupted halfway."""


def points_of(calls: Mapping[str, int], most: int) -> list[Point]:
    """The points of a removal in which each place was called so often; of many calls, ``most`` spread evenly."""
    points = []
    for place, count in calls.items():
        whens: tuple[Literal["before", "halfway", "after"], ...] = ("before", "halfway", "after")
        for nth in sorted({1 + round(at * (count - 1) / max(1, most - 1)) for at in range(most)} if count else ()):
            points += [Point(place, nth, when) for when in whens if when != "halfway" or place in HALVES]
    return points


@contextmanager
def stopped_at(point: Point, stop: Stop) -> Iterator[None]:
    """Replace a function so that ``stop`` is called at a point."""
    calls = _Calls()
    half = HALVES.get(point.place)

    def replacement(original: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any, **named: Any) -> Any:
            if calls.count(point.place) != point.nth:
                return original(*arguments, **named)
            if point.when == "after":
                result = original(*arguments, **named)
                stop()
                return result
            if point.when == "halfway" and half is not None:
                half(*arguments, **named)
            stop()
            return original(*arguments, **named)

        return called

    with _replaced(point.place, replacement):
        yield


@contextmanager
def counted() -> Iterator[Mapping[str, int]]:
    """Count the calls of every place."""
    calls = _Calls()

    def replacement(place: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        def counting(original: Callable[..., Any]) -> Callable[..., Any]:
            def called(*arguments: Any, **named: Any) -> Any:
                calls.count(place)
                return original(*arguments, **named)

            return called

        return counting

    with ExitStack() as replaced:
        for place in PLACES:
            replaced.enter_context(_replaced(place, replacement(place)))
        yield calls.counts


def watch_operations(home: Path, nth: int | None, stop: Stop) -> Mapping[str, int]:
    """Call ``stop`` before the ``nth`` file operation under a folder; counts them. For the rest of the process."""
    calls, root = _Calls(), str(home)

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event in OPERATIONS and _concerns(root, event, arguments) and calls.count("") == nth:
            stop()

    sys.addaudithook(watch)
    return calls.counts


def _concerns(root: str, event: str, arguments: tuple[Any, ...]) -> bool:
    """Whether an operation changes something under a folder; those relative to an open folder come from a removal."""
    path = arguments[0]
    if event == "open":
        flags = arguments[2] or 0
        return isinstance(path, str | os.PathLike) and str(path).startswith(root) and bool(flags & os.O_ACCMODE)
    return not Path(path).is_absolute() or str(path).startswith(root)


class _Calls:
    """Counts calls from any thread."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def count(self, place: str) -> int:
        """Count one more; returns how many there are."""
        with self._lock:
            self.counts[place] += 1
            return self.counts[place]


@contextmanager
def _replaced(place: str, replacement: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Iterator[None]:
    module, _, path = place.partition(":")
    *owners, name = path.split(".")
    owner: Any = import_module(module)
    for part in owners:
        owner = getattr(owner, part)
    original = getattr(owner, name)
    with patch.object(owner, name, replacement(original)):
        yield
