"""What a forget request means at present: what is in force, what is waited for, and what to do.

Every place that prints a state takes its words from here. What is waited for comes from the findings of the layers:
their ``why`` and ``until``, the ``waits_for`` of their detail (services and adapters by id), and the commands that a
``why`` names in backticks. A layer that is added needs no word here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from rag_rec.clock import milliseconds_of, now_ms
from rag_rec.errors import BrokenLedger
from rag_rec.forgetting.receipts.document import read_receipt
from rag_rec.layers.finding import FINAL, LayerName
from rag_rec.layers.records import ForgetRecord, ForgetState

WAITS_FOR: Final = "waits_for"
"""In the detail of a finding: ids of the services or adapters that are waited for, joined by commas."""

IN_FORCE: Final = {
    ForgetState.ACCEPTED: "The request is recorded and will be carried out, whatever happens to this process.",
    ForgetState.HIDDEN: "What was to go is deleted from the store, and nothing reads it any more. Bytes of it may be "
    "left in files, and a running service may have it in memory.",
    ForgetState.ERASED: "What was to go is overwritten in the store, in the index and in temporary files. It is not "
    "certain yet that every running service has dropped it from memory.",
    ForgetState.EFFECTIVE: "What was to go is erased from every file, and no running service answers with it. An "
    "adapter that learned from it may be left.",
    ForgetState.UNLEARNED: "What was to go is erased from every file, no running service answers with it, and no "
    "adapter is left that learned from it.",
    ForgetState.COMPLETE: "What was to go is gone from every layer that can be read, as the receipt says layer by "
    "layer. Memory that processes freed is a layer of its own, for which a request does not wait.",
}

NOTHING_TO_DO: Final = "Nothing."
BY_ITSELF: Final = (
    "Nothing while a service runs, which looks again by itself within seconds. Without one, run "
    "`rag-rec forget resume`."
)
COMMAND: Final = re.compile(r"`(rag-rec [^`]+)`")
NOT_SAID: Final = "The receipt says nothing of this layer yet."
UNREADABLE: Final = "The receipt cannot be read; `rag-rec ledger verify` says what is wrong."
NO_RECEIPT: Final = "Its first attempt to finish: there is no receipt yet."


@dataclass(frozen=True, slots=True)
class Wait:
    """One layer that keeps a request open.

    Attributes:
        layer: its name.
        why: what is left there.
        until: by when it will be gone, ISO 8601; None where nothing says so.
        overdue: whether that has passed.
        which: services or adapters that are waited for, by id.
    """

    layer: str
    why: str
    until: str | None = None
    overdue: bool = False
    which: tuple[str, ...] = ()

    def content(self) -> dict[str, Any]:
        """For programs."""
        return {"layer": self.layer, "why": self.why, "until": self.until, "which": list(self.which)}

    def in_words(self, names: Mapping[str, str]) -> str:
        """One line; ``names`` says what an id stands for."""
        when = f" ({'was due' if self.overdue else 'until'} {self.until})" if self.until else ""
        which = [f"{each}, {names[each]}" if each in names else each for each in self.which]
        return f"{self.layer}{when}: {self.why}" + (f" Waited for: {'; '.join(which)}." if which else "")


@dataclass(frozen=True, slots=True)
class Outlook:
    """See the module. ``waits_for`` is empty for a request that is complete; ``later`` are the layers that become final
    by themselves, for which it does not wait."""

    in_force: str
    waits_for: tuple[Wait, ...]
    to_do: str
    later: tuple[Wait, ...] = ()

    @classmethod
    def of(cls, record: ForgetRecord, now: int | None = None) -> Outlook:
        """Of a record, by its latest receipt."""
        if record.receipt is None:
            return cls.of_state(record.state)
        try:
            document = read_receipt(record.receipt)
        except BrokenLedger:  # a removal is acknowledged all the same
            if record.state is ForgetState.COMPLETE:
                return cls.of_state(record.state)
            return cls(IN_FORCE[record.state], (Wait("receipt", UNREADABLE),), _to_do((Wait("receipt", UNREADABLE),)))
        return cls._of(record.state, document, now_ms() if now is None else now)

    @classmethod
    def of_state(cls, state: ForgetState) -> Outlook:
        """Of a state of which nothing else is known."""
        return cls._of(state, None, 0)

    @classmethod
    def of_receipt(cls, document: Mapping[str, Any], now: int | None = None) -> Outlook:
        """Of a receipt's content."""
        return cls._of(ForgetState(document["state"]), document, now_ms() if now is None else now)

    @classmethod
    def _of(cls, state: ForgetState, document: Mapping[str, Any] | None, now: int) -> Outlook:
        later = () if document is None else _pending(document, now, holding_back=False)
        if state is ForgetState.COMPLETE:
            return cls(IN_FORCE[state], (), NOTHING_TO_DO, later)
        waits = () if document is None else _waits(document, now)
        return cls(IN_FORCE[state], waits, _to_do(waits), later)

    def content(self) -> dict[str, Any]:
        """For programs."""
        waits, later = ([each.content() for each in layers] for layers in (self.waits_for, self.later))
        return {"in_force": self.in_force, "waits_for": waits, "to_do": self.to_do, "later": later}

    def words(self, names: Mapping[str, str] | None = None) -> dict[str, Any]:
        """For people. ``names`` says what the ids of services stand for."""
        waits = [each.in_words(names or {}) for each in self.waits_for]
        later = {"final later": [each.in_words({}) for each in self.later]} if self.later else {}
        if self.to_do == NOTHING_TO_DO:
            return {"in force": self.in_force, **later}
        return {"in force": self.in_force, "waits for": waits or [NO_RECEIPT], "what to do": self.to_do, **later}


def _waits(document: Mapping[str, Any], now: int) -> tuple[Wait, ...]:
    """The layers that hold a request back and are pending, and those of which the receipt says nothing."""
    said = {line["layer"] for line in document.get("layers", [])}
    missing = (Wait(layer.value, NOT_SAID) for layer in LayerName if layer.holds_back and layer not in said)
    return (*_pending(document, now, holding_back=True), *missing)


def _pending(document: Mapping[str, Any], now: int, *, holding_back: bool) -> tuple[Wait, ...]:
    later = {layer for layer in LayerName if not layer.holds_back}
    lines = (line for line in document.get("layers", []) if (line["layer"] not in later) == holding_back)
    return tuple(_wait(line, now) for line in lines if line["status"] not in FINAL)


def _wait(line: Mapping[str, Any], now: int) -> Wait:
    until, which = line["until"], str(line["detail"].get(WAITS_FOR) or "")
    overdue = until is not None and milliseconds_of(until) < now
    return Wait(line["layer"], line["why"], until, overdue, tuple(filter(None, which.split(", "))))


def _to_do(waits: tuple[Wait, ...]) -> str:
    """The commands that the layers name; without any, a service or ``forget resume`` goes on."""
    commands = dict.fromkeys(command for each in waits for command in COMMAND.findall(each.why))
    if not commands:
        return BY_ITSELF
    return f"Run {' and '.join(f'`{command}`' for command in commands)}."
