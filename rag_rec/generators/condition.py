"""How the generator is: whether it can be asked, and if not why and since when. The words name no address and no path,
so that they may be shown to anybody."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import structlog

from rag_rec.generators.failures import GeneratorFailure, Reason

log = structlog.get_logger()


class Standing(StrEnum):
    """Whether the LLM can be asked."""

    OFF = "off"  # the settings ask for none, or none has been built
    UP = "up"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Condition:
    """How the generator is.

    Attributes:
        state: whether it can be asked.
        reason: in a word, why it is down or, where it is up, why it takes no part; None where it ranks.
        since: milliseconds since 1970 UTC from when on it has been down.
        detail: the same in a sentence that says what to do.
    """

    state: Standing
    reason: str | None = None
    since: int | None = None
    detail: str = ""


OFF: Final = Condition(Standing.OFF, detail="No LLM ranks: the candidates' order is the answer.")

WORDS: Final[dict[str, str]] = {
    Reason.ABSENT: "No server of the LLM can be reached: start it, or correct RAGREC_GENERATOR_URLS.",
    Reason.REFUSED: "The LLM's server refuses the requests: check its key (RAGREC_GENERATOR_KEY) and its version.",
    Reason.OVERLOADED: "The LLM's server is too busy: give it more capacity, or ask it less.",
    Reason.LATE: "The LLM's server does not answer in time: look at its load and its log.",
    Reason.BROKEN: "What the LLM's server sends cannot be read: check that the address is that of a vLLM server.",
    Reason.WRONG_MODEL: "The LLM's server serves another model, base or adapter than the settings ask for.",
    Reason.MODEL_NOT_FOUND: "The model cannot be loaded: RAGREC_GENERATOR_MODEL has to be the name or the folder of a "
    "causal language model in the Hugging Face format.",
    Reason.DAMAGED: "Files of the generator are damaged: run `rag-rec doctor`.",
    Reason.CIRCUIT_OPEN: "Every server of the LLM has failed repeatedly and is left alone for a while.",
    "not_measured": "The LLM takes no part, since it has not been measured: run `rag-rec generator gate`.",
    "bypassed": "The LLM takes no part: it was measured not to improve on the candidates' order.",
    "adapter_withheld": "The adapter saw a forgotten person and does not rank: run `rag-rec adapter retrain`.",
}
OTHER: Final = "The LLM cannot be asked: run `rag-rec doctor`, and look at the log."


def in_words(reason: str | None) -> str:
    """A reason as a sentence; that the LLM ranks where there is none."""
    return "The LLM ranks." if reason is None else WORDS.get(reason, OTHER)


class ConditionKeeper:
    """The last known condition. Each change is logged once.

    Args:
        clock: the time in milliseconds since 1970 UTC.
    """

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self.last = OFF

    @property
    def problem(self) -> Reason | None:
        """Why the generator cannot be asked; None where it can, or where there is none."""
        down = self.last.state is Standing.DOWN
        return Reason(self.last.reason) if down and self.last.reason is not None else None

    def off(self) -> None:
        """There is no generator."""
        self.last = OFF

    def up(self) -> None:
        """It can be asked, as far as is known."""
        if self.last.state is Standing.DOWN:
            log.info("generator_up", was=self.last.reason, since=self.last.since)
        self.last = Condition(Standing.UP)

    def tell(self, failure: GeneratorFailure | None) -> None:
        """It can be asked, or not for this reason."""
        if failure is None:
            self.up()
        else:
            self.down(failure.reason, type(failure).__name__)

    def down(self, reason: Reason, kind: str | None = None) -> None:
        """It cannot be asked. ``kind`` names the exception, for the log."""
        if self.problem is reason:
            return
        since = self.last.since if self.last.state is Standing.DOWN else self._clock()
        self.last = Condition(Standing.DOWN, reason.value, since, in_words(reason))
        log.warning("generator_down", reason=reason.value, kind=kind, detail=self.last.detail)
