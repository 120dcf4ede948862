"""Why a generator gave no answer that can be relied on. The pipeline then answers without it and says so."""

from __future__ import annotations

from enum import StrEnum

from rag_rec.errors import RagRecError


class Reason(StrEnum):
    """What went wrong, in a word that stays the same across versions: it is shown in provenance and metrics."""

    ABSENT = "absent"  # no server listens at the address
    REFUSED = "refused"  # the server answered with an error
    OVERLOADED = "overloaded"  # the server said that it is too busy (503)
    LATE = "late"  # no answer before the deadline
    BROKEN = "broken"  # the connection or the answer broke off
    WRONG_MODEL = "wrong_model"  # the server does not serve this model, base or adapter
    MODEL_NOT_FOUND = "model_not_found"  # there is no such model, or it cannot be loaded
    DAMAGED = "damaged"  # files of the generator are damaged
    LOW_LABEL_MASS = "low_label_mass"  # the model would rather have said something else
    MISSING_LABELS = "missing_labels"  # log-probabilities of some labels did not come back
    NOT_A_NUMBER = "not_a_number"  # NaN or infinity where a log-probability should be
    CIRCUIT_OPEN = "circuit_open"  # it failed several times in a row and is not asked for a while
    INTERNAL = "internal"  # an error that was not foreseen


class GeneratorFailure(RagRecError):
    """The generator has no answer; ``reason`` says why. A recommendation then falls back; only explanations, which are
    nothing without an LLM, pass it on to the caller."""

    code = "generator_failed"
    status = 503

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
