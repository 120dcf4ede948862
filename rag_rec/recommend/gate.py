"""The gate: whether an LLM takes part at all, and what was measured to decide it."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import orjson

from rag_rec.artifacts.private import make_private_folder, replace_durably
from rag_rec.domain import GateState
from rag_rec.errors import CorruptIndex
from rag_rec.evaluation.ranking import DEPTH
from rag_rec.fairness.control import Control
from rag_rec.generators.spec import GeneratorSpec
from rag_rec.settings import Settings

MOST_WEIGHT: Final = 100.0
"""Stands for an LLM whose opinion is worth nothing beside the candidates' scores."""
UNGATED_WEIGHT: Final = 1.0
METRIC: Final = f"ndcg@{DEPTH}"
NOTHING: Final = ""
"""The model of a gate that was measured without an LLM, for its control alone."""

Change = tuple[float, float, float]
"""A difference, and its 95 % interval."""


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
        fairness: of each figure that the operator named, by how much the fused order is farther from fair than the
            candidates' order, with its 95 % interval; see :func:`fair`.
        control: how far groups of items are held back; None where none is asked for.
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
    fairness: Mapping[str, Change] = field(default_factory=dict)
    control: Control | None = None

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
            bounds, told, held = fields.pop("gain"), fields.pop("fairness", {}), fields.pop("control", None)
            gain = None
            if bounds is not None:
                low, high = bounds
                gain = float(low), float(high)
            fairness = {str(name): _change(values) for name, values in told.items()}
            control = None if held is None else Control.parse(held)
            gate = cls(**fields, gain=gain, fairness=fairness, control=control)
            if not isinstance(gate.use, bool) or not 0 <= float(gate.weight) <= MOST_WEIGHT:
                raise ValueError
            return replace(gate, use=helps(gain) and not gate.unfair)
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
    def unfair(self) -> list[str]:
        """The figures by which the LLM makes the order less fair with the whole interval."""
        return [name for name, (_, low, _) in self.fairness.items() if low > 0.0]

    @property
    def words(self) -> str:
        """What was measured and what follows from it, in a sentence."""
        if self.gain is None or self.fused is None or self.candidates is None or self.llm is None:
            return f"{'open' if self.use else 'closed'}: nothing was measured"
        state = "open" if self.use else "closed"
        low, high = self.gain
        why = "the whole interval is above zero" if helps(self.gain) else "the interval does not lie above zero"
        if self.unfair and helps(self.gain):
            why = f"it is less fair than the candidates' order beyond noise, by {' and '.join(self.unfair)}"
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


def load_gate(settings: Settings, target: GeneratorSpec) -> Gate | None:
    """What was measured of this model and adapter; where gates are turned off, a neutral one."""
    if not settings.generator_gate:
        return Gate(use=True, weight=UNGATED_WEIGHT)
    return Gate.load(gate_path(settings.gates, target.digest, target.adapter_digest))


def load_control_gate(settings: Settings) -> Gate | None:
    """What was measured of the candidates' order, for its control. Raises ``CorruptIndex``."""
    return Gate.load(gate_path(settings.gates, NOTHING, None))


def load_control(settings: Settings, gate: Gate | None) -> Control | None:
    """The exposure control that the settings ask for: of a gate, or of the candidates' order; None without any.

    One that was learned for other figures than the settings name by now is none. Raises ``CorruptIndex``.
    """
    if not settings.exposure_figures:
        return None
    held = (
        gate if gate is not None and gate.control is not None else Gate.load(gate_path(settings.gates, NOTHING, None))
    )
    control = None if held is None else held.control
    return control if control is not None and list(control.figures) == settings.exposure_figures else None


def _change(values: Sequence[float]) -> Change:
    change, low, high = map(float, values)
    return change, low, high
