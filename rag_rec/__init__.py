"""A recommendation service that ranks from retrieved evidence and from which a person can be removed exactly.

What an application needs is here: ``from rag_rec import open_engine, Interaction, RecommendationRequest``. Each name
is loaded when it is first used, so that ``import rag_rec`` alone brings no library. ``docs/python.md`` shows the way.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rag_rec.domain import (
        GateState,
        Interaction,
        Item,
        Provenance,
        Reason,
        Recommendation,
        RecommendationRequest,
        RecommendedItem,
        SimilarItem,
        Source,
        Strategy,
        User,
    )
    from rag_rec.engine.engine import Engine
    from rag_rec.engine.opening import open_engine, open_store
    from rag_rec.errors import (
        Busy,
        ConfirmationRequired,
        Forgotten,
        InvalidInput,
        InvalidSettings,
        LegalHold,
        NoSystem,
        NotReady,
        PlanChanged,
        RagRecError,
        Unfinished,
        UnknownItem,
        UnknownRequest,
        UnknownUser,
    )
    from rag_rec.events.rule import EventRule
    from rag_rec.forgetting.plan import Plan
    from rag_rec.forgetting.request import ForgetOutcome, ForgetRequest
    from rag_rec.settings import Settings
    from rag_rec.store.records import AppendResult, Selection

__version__ = "0.1.0"

__all__ = [
    "AppendResult",
    "Busy",
    "ConfirmationRequired",
    "Engine",
    "EventRule",
    "ForgetOutcome",
    "ForgetRequest",
    "Forgotten",
    "GateState",
    "Interaction",
    "InvalidInput",
    "InvalidSettings",
    "Item",
    "LegalHold",
    "NoSystem",
    "NotReady",
    "Plan",
    "PlanChanged",
    "Provenance",
    "RagRecError",
    "Reason",
    "Recommendation",
    "RecommendationRequest",
    "RecommendedItem",
    "Selection",
    "Settings",
    "SimilarItem",
    "Source",
    "Strategy",
    "Unfinished",
    "UnknownItem",
    "UnknownRequest",
    "UnknownUser",
    "User",
    "open_engine",
    "open_store",
]

_DOMAIN: Final = "rag_rec.domain"
_ERRORS: Final = "rag_rec.errors"
_MODULES: Final = {
    **dict.fromkeys(("GateState", "Interaction", "Item", "Provenance", "Reason", "Recommendation"), _DOMAIN),
    **dict.fromkeys(("RecommendationRequest", "RecommendedItem", "SimilarItem", "Source", "Strategy", "User"), _DOMAIN),
    **dict.fromkeys(("Busy", "ConfirmationRequired", "Forgotten", "InvalidInput", "InvalidSettings"), _ERRORS),
    **dict.fromkeys(("LegalHold", "NoSystem", "NotReady", "PlanChanged", "RagRecError", "Unfinished"), _ERRORS),
    **dict.fromkeys(("UnknownItem", "UnknownRequest", "UnknownUser"), _ERRORS),
    "Engine": "rag_rec.engine.engine",
    "open_engine": "rag_rec.engine.opening",
    "open_store": "rag_rec.engine.opening",
    "EventRule": "rag_rec.events.rule",
    "Plan": "rag_rec.forgetting.plan",
    "ForgetOutcome": "rag_rec.forgetting.request",
    "ForgetRequest": "rag_rec.forgetting.request",
    "Settings": "rag_rec.settings",
    "AppendResult": "rag_rec.store.records",
    "Selection": "rag_rec.store.records",
}
"""Where each public name lives."""

if not TYPE_CHECKING:  # type checkers would take any name at all for one that is there

    def __getattr__(name: str) -> object:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value: object = getattr(import_module(_MODULES[name]), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
