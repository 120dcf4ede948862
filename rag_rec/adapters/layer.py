"""What a receipt says of the adapters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property

from rag_rec.adapters.folder import AdapterStore
from rag_rec.adapters.lineage import adapter_in_use, adapters_that_saw, ensure_lineage, unrecorded
from rag_rec.adapters.measured import Measured, read_measured
from rag_rec.adapters.memory import lingering, wait_for_release
from rag_rec.adapters.policy import serves_until
from rag_rec.adapters.removal import destroy_unused
from rag_rec.layers.finding import Finding, LayerName, Status
from rag_rec.layers.protocol import Preview, QuietLayer
from rag_rec.layers.records import ForgetRecord, ForgetState, Group, Target
from rag_rec.presence.awaited import awaited, named
from rag_rec.settings import Settings
from rag_rec.store.protocol import Store
from rag_rec.store.records import Place


class AdapterLayer(QuietLayer):
    """Adapters, each of which has a lineage: whom it saw.

    Args:
        store: knows lineages, debts and services.
        compact: the adapters of this folder.
        settings: policy, and how long services are waited for.
        place: the id of this folder, if it is a place.
    """

    name = LayerName.ADAPTER
    state = ForgetState.UNLEARNED

    def __init__(self, store: Store, compact: AdapterStore, settings: Settings, place: str | None = None) -> None:
        self._store = store
        self._compact = compact
        self._settings = settings
        self._place = place

    def preview(self, targets: Sequence[Target]) -> Preview:
        """Digests of the adapters that saw any of these people."""
        ensure_lineage(self._store, self._compact)
        saw = (adapters_that_saw(self._store, self._compact, target.number) for target in targets)
        return {"adapters": tuple(sorted({adapter for adapters in saw for adapter in adapters}))}

    @contextmanager
    def prepare(self, targets: Sequence[Target]) -> Iterator[None]:  # noqa: ARG002 - a lineage is of everybody
        """Give adapters without a lineage one, so that the acceptance finds all that saw the person."""
        ensure_lineage(self._store, self._compact)
        yield

    def remove(self, group: Group) -> None:
        """Destroy the adapters that are not in use and saw the person.

        Where requests are effective already, and wait for nothing but this, running services get the time of
        ``RAGREC_REPLICA_WAIT_MS`` to let go of an adapter that is gone from the disk.
        """
        destroy_unused(self._compact, self._store, self._place)
        if all(record.user_number is None for record in group):
            wait_for_release(self._store, self._compact, self._settings.replica_wait_ms, place=self._place)

    def look(self, group: Group) -> Sequence[Finding]:
        """What is known of each request, by the adapters at this moment."""
        findings = AdapterFindings(self._store, self._compact, self._settings, self._place)
        return [findings.of(record) for record in group]


class AdapterFindings:
    """The adapters at one moment, and what they mean for any number of requests: it is looked up once for all.

    Looked at are the debts of the requests, the lineage of every adapter from before the erasure, folders of adapters
    that are being written, and what running services have in memory. For requests with debts one query is made, however
    many they are.
    """

    def __init__(self, store: Store, compact: AdapterStore, settings: Settings, place: str | None = None) -> None:
        self._store = store
        self._compact = compact
        self._settings = settings
        self._place = place
        self._owing: dict[str, list[str]] = {}
        for debt in store.debts():
            self._owing.setdefault(debt.request_id, []).append(debt.adapter)

    def of(self, record: ForgetRecord) -> Finding:
        """PROVEN where no adapter on disk or in the memory of a running service saw what was to go, MEASURED where one
        did, and a removal that is not exact took it out, else PENDING."""
        if owing := self._owing.get(record.request_id, []):
            return self._pending(record, owing, unknown=0, in_memory=[])
        unknown = self._unfinished + sum(epoch < record.epoch_after for epoch in self._unrecorded)
        unknown += len(self._unreadable)
        if unknown or self._in_memory:
            return self._pending(record, [], unknown, self._in_memory)
        if waiting := awaited(self._places, record.epoch_after, self._place):
            return self._elsewhere(record, waiting)
        if record.request_id in self._measured:
            return self._suppressed(record, *self._measured[record.request_id])
        return self._proven(record)

    @cached_property
    def _places(self) -> list[Place]:
        return self._store.places()

    @cached_property
    def _in_memory(self) -> list[str]:
        return sorted(lingering(self._store, self._compact, self._place))

    @cached_property
    def _unfinished(self) -> int:
        return len(self._compact.unfinished_adapters())

    @cached_property
    def _unrecorded(self) -> list[int]:
        """Epochs of the adapters of which it is unknown whom they saw."""
        return [self._compact.epoch_of_adapter(name) for name in unrecorded(self._store, self._compact)]

    @cached_property
    def _epochs(self) -> dict[str, int]:
        """Of all adapters on disk, up to which change their people were read."""
        return {name: self._compact.epoch_of_adapter(name) for name in self._compact.adapter_digests()}

    @cached_property
    def _in_use(self) -> str | None:
        return adapter_in_use(self._compact)

    @cached_property
    def _measured(self) -> dict[str, tuple[str, Measured | None]]:
        """The adapter that each request left by a way that is not exact, and what was measured; None if it is lost.

        The store knows it of all data folders. After a restore, only the folder of the adapter does.
        """
        found: dict[str, tuple[str, Measured | None]] = {}
        for name, measured in self._on_disk.items():
            found |= {request: (name, each) for request, each in (measured or {}).items()}
        for told in self._store.measured_removals():
            found[told.request_id] = (told.adapter, _parsed(told.measured))
        return found

    @cached_property
    def _unreadable(self) -> set[str]:
        """Adapters of which it is not known any more who left them by a way that is not exact."""
        damaged = {name for name, measured in self._on_disk.items() if measured is None}
        if not damaged:  # nearly always: no query
            return set()
        return damaged - {told.adapter for told in self._store.measured_removals()}

    @cached_property
    def _on_disk(self) -> dict[str, dict[str, Measured] | None]:
        """What the folders of adapters say was measured; None of one that is damaged."""
        return {name: _read(self._compact, name) for name in self._compact.adapter_digests()}

    def _pending(self, record: ForgetRecord, owing: list[str], unknown: int, in_memory: list[str]) -> Finding:
        settings = self._settings
        strict = settings.adapter_policy == "strict"
        why = f"An adapter saw {_gone(record)}, or may have; `rag-rec adapter retrain` trains one that did not. "
        why += "It does not rank meanwhile." if strict else "It may rank until then, and not any longer."
        if not owing and not unknown:
            gone = f"The adapter that may have seen {_gone(record)} is destroyed"
            why = f"{gone}, but a running service has it in memory yet."
        until = record.deadline if strict else serves_until(record, settings)
        detail: dict[str, str | int | float | None] = {"policy": settings.adapter_policy}
        detail |= {"owing": len(owing), "unknown": unknown, "in_memory": len(in_memory)}
        if which := sorted({*owing, *in_memory}):
            detail["waits_for"] = ", ".join(which)
        return Finding(LayerName.ADAPTER, Status.PENDING, why, until, detail)

    def _suppressed(self, record: ForgetRecord, adapter: str, measured: Measured | None) -> Finding:
        if measured is not None:
            return measured.finding(adapter, _gone(record), self._settings.adapter_budget)
        why = (
            f"A removal that is not exact took {_gone(record)} out of an adapter, and what was measured of it is lost: "
        )
        why += "`rag-rec adapter retrain` trains one that did not see what was to go."
        return Finding(LayerName.ADAPTER, Status.PENDING, why, record.deadline, {"waits_for": adapter})

    def _elsewhere(self, record: ForgetRecord, waiting: Sequence[Place]) -> Finding:
        why = f"Adapters were not looked at since in {len(waiting)} other data folders: {named(waiting)}."
        return Finding(LayerName.ADAPTER, Status.PENDING, why, record.deadline, {"places": len(waiting)})

    def _proven(self, record: ForgetRecord) -> Finding:
        adapters = len(self._epochs)
        older = sum(epoch < record.epoch_after for epoch in self._epochs.values())
        none = f"No adapter on disk or in a running service saw {_gone(record)}"
        why = f"{none}: each was trained after the erasure, or without the person."
        if not adapters:
            why = "There is no adapter, on disk or in a running service."
        elif older == adapters:
            why = f"{none}: none of their lineages held the person."
        epoch = None if self._in_use is None else self._epochs.get(self._in_use)
        detail: dict[str, str | int | float | None] = {"adapter": self._in_use, "adapter_epoch": epoch}
        return Finding(LayerName.ADAPTER, Status.PROVEN, why, None, {**detail, "adapters": adapters, "older": older})


def _read(compact: AdapterStore, name: str) -> dict[str, Measured] | None:
    try:
        return read_measured(compact.adapters / name)
    except (OSError, ValueError):
        return None


def _parsed(text: str) -> Measured | None:
    try:
        return Measured.parse(text)
    except ValueError:
        return None


def _gone(record: ForgetRecord) -> str:
    """What was to go. An adapter that is trained after a partial erasure may see the person, and not that."""
    return "the person" if record.scope == "user" else "the interactions that were to go"
