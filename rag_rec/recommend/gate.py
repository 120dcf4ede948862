"""The gate: whether an LLM takes part at all, and what was measured to decide it."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import orjson

from rag_rec.artifacts.private import make_private_folder, replace_durably
from rag_rec.domain import GateState
from rag_rec.errors import CorruptIndex
from rag_rec.evaluation.ranking import DEPTH

MOST_WEIGHT: Final = 100.0
"""Stands for an LLM whose opinion is worth nothing beside the candidates' scores."""
UNGATED_WEIGHT: Final = 1.0
METRIC: Final = f"ndcg@{DEPTH}"


@dataclass(frozen=True, slots=True)
class Gate:
    """Whether an LLM is used, with which weight of the candidates' scores, and what was measured to decide it.

    Attributes:
        use: whether the LLM takes part: the gate is open. What was measured decides, see :func:`helps`.
        weight: of the candidates' log-probability in the fusion; 0 leaves the order to the LLM alone.
        model: digest or name of the model that was measured.
        adapter: digest of its adapter.
        users: how many people's last choices were asked.
        candidates, llm, fused: NDCG@10 of the candidates' order, of the LLM's, and of the fusion (cross-fitted).
        gain: 95 % bootstrap interval over users of fused minus candidates.
    """

    use: bool
    weight: float
    model: str | None = None
    adapter: str | None = None
    users: int = 0
    candidates: float | None = None
    llm: float | None = None
    fused: float | None = None
    gain: tuple[float, float] | None = None

    def save(self, path: Path) -> None:
        """Write as JSON."""
        make_private_folder(path.parent)
        replace_durably(path, orjson.dumps(asdict(self), option=orjson.OPT_INDENT_2))

    @classmethod
    def load(cls, path: Path) -> Gate | None:
        """Read back; None where nothing was measured. Raises ``CorruptIndex``.

        What was measured is judged anew: earlier versions opened a gate whose gain may be none.
        """
        try:
            fields = orjson.loads(path.read_bytes())
            bounds = fields.pop("gain")
            gain = None
            if bounds is not None:
                low, high = bounds
                gain = float(low), float(high)
            gate = cls(**fields, gain=gain)
            if not isinstance(gate.use, bool) or not 0 <= float(gate.weight) <= MOST_WEIGHT:
                raise ValueError
            return replace(gate, use=helps(gain))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError, AttributeError):
            raise CorruptIndex(f"{path.name} is damaged: measure again with `rag-rec generator gate`.") from None

    @property
    def state(self) -> GateState:
        """What an answer says of it."""
        return GateState(self.use, METRIC, self.gain, self.users)

    def document(self) -> Mapping[str, Any]:
        """What commands show: everything, and the decision in words."""
        return {"decision": self.words, "metric": METRIC, **asdict(self)}

    @property
    def words(self) -> str:
        """What was measured and what follows from it, in a sentence."""
        if self.gain is None or self.fused is None or self.candidates is None or self.llm is None:
            return f"{'open' if self.use else 'closed'}: nothing was measured"
        state = "open" if self.use else "closed"
        low, high = self.gain
        why = "the whole interval is above zero" if self.use else "the interval does not lie above zero"
        gain = f"{self.fused - self.candidates:+.4f}, with a 95 % interval of {low:+.4f} to {high:+.4f}"
        return (
            f"{state}, because {why}: the fusion changes the {METRIC.upper()} of the candidates' order, "
            f"{self.candidates:.4f}, by {gain} over {self.users} people; the LLM alone has {self.llm:.4f}"
        )


def helps(gain: tuple[float, float] | None) -> bool:
    """Whether an LLM may take part: the lower bound of the 95 % interval of its gain lies above zero.

    Of LLMs that help nothing, one in forty gets through.
    """
    return gain is not None and gain[0] > 0.0


def gate_path(folder: Path, model: str, adapter: str | None) -> Path:
    """Where the gate of a model with an adapter is kept."""
    name = hashlib.sha256(f"{model}\0{adapter or ''}".encode()).hexdigest()[:32]
    return folder / f"{name}.json"


def discard_gates(folder: Path, gone: Collection[str], adapters: Collection[str]) -> None:
    """Remove what was measured of models that are gone, and of adapters other than those there are."""
    for path in folder.glob("*.json"):
        with suppress(CorruptIndex):
            gate = Gate.load(path)
            if gate is not None and (gate.model in gone or gate.adapter not in {None, *adapters}):
                path.unlink(missing_ok=True)
