"""What was measured of a removal from an adapter that is not exact: it stands on the receipts of its requests.

When an adapter is mended, the data of those who go are erased already, so that nothing can be measured of them. The
measurement is a trial on the same adapter: *stand-ins*, people who stay, are taken out together with those who go, and
an attack is made on the stand-ins, with people of a *reserve* whom no training has seen for comparison. The trial is
thrown away. What it says holds for the way of removal and this adapter, not for a single person.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Self

import orjson

from rag_rec.artifacts.private import make_private_folder, write_durably
from rag_rec.layers.finding import Finding, LayerName, Status

FILE: Final = "removal/measured.json"
"""In the folder of an adapter, below the files of LoRA: other programs that read the folder do not look there."""
MOST_LOST: Final = 0.1
"""By how many nats a choice of people whom no training has seen may become less likely."""

Range = tuple[float, float, float]
"""A figure, and the ends of its 95 % interval."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A removal, as far as it can be measured.

    Attributes:
        method: how people were removed.
        removed: how many requests have left the adapter in such a way since it was trained.
        learned: how many people that training learned from.
        stand_ins: how many people were taken out on trial.
        reserve: how many people whom no training has seen they were compared with.
        attack: which attack, the one that told more before.
        before: its AUC on the stand-ins under the adapter in use, with its 95 % interval; .5 is a guess.
        after: the same after the trial.
        gain_before: by how many nats the stand-ins' choices were likelier than those of the reserve, each by what they
            gained over the base.
        gain_after: the same after the trial.
        lost: by how many nats the choices of the reserve became less likely, with its interval.
    """

    method: str
    removed: int
    learned: int
    stand_ins: int
    reserve: int
    attack: str
    before: Range
    after: Range
    gain_before: float
    gain_after: float
    lost: Range

    @property
    def went_too_far(self) -> bool:
        """Whether it took more than there was to take: from the stand-ins, or from people who are not concerned."""
        return self.after[2] < 0.5 or self.lost[1] > MOST_LOST

    @property
    def problem(self) -> str | None:
        """Why the removal may not be used; None where it may."""
        if self.after[1] > 0.5:
            return f"an attack still finds {self.stand_ins} people taken out on trial: AUC {_interval(self.after)}"
        if self.after[2] < 0.5:
            return f"people taken out on trial stand out by being too unlikely: AUC {_interval(self.after)}"
        if self.lost[1] > MOST_LOST:
            return f"a choice of people who are not concerned becomes {self.lost[0]:.2f} nats less likely"
        return None

    def budget_left(self, share: float) -> int:
        """How many more requests may leave the adapter like this, where a share of the people in all may."""
        return max(0, int(share * self.learned) - self.removed)

    def finding(self, adapter: str, gone: str, budget: float) -> Finding:
        """What a receipt says.

        Args:
            adapter: digest of the adapter that came out of the removal.
            gone: what was to go.
            budget: see :meth:`budget_left`.
        """
        why = (
            f"The adapter suppresses {gone}, by a removal that is not exact ({self.method}); it is not proven that "
            f"nothing is left. On trial {self.stand_ins} other people of this system were taken out the same way: an "
            f"attack told them from {self.reserve} who were never in with an AUC of {self.before[0]:.3f} before, and "
            f"after it of {_interval(self.after)}. `rag-rec adapter retrain` removes what may be left."
        )
        detail: dict[str, str | int | float | None] = {"method": self.method, "adapter": adapter, "attack": self.attack}
        detail |= {"auc_before": self.before[0], "auc": self.after[0], "low": self.after[1], "high": self.after[2]}
        detail |= {"stand_ins": self.stand_ins, "reserve": self.reserve, "lost_nats": self.lost[0]}
        detail |= {"gain_before_nats": self.gain_before, "gain_nats": self.gain_after}
        detail |= {"removed": self.removed, "budget_left": self.budget_left(budget)}
        return Finding(LayerName.ADAPTER, Status.MEASURED, why, None, detail)

    def text(self) -> str:
        """As JSON."""
        return orjson.dumps(asdict(self)).decode()

    @classmethod
    def parse(cls, text: str | bytes) -> Self:
        """Back from :meth:`text`. Raises ``ValueError`` for what is none."""
        try:
            fields = orjson.loads(text)
            ranges = {name: _range(fields[name]) for name in ("before", "after", "lost")}
            return cls(**{**fields, **ranges})
        except (TypeError, KeyError) as error:
            raise ValueError("not a measured removal") from error


def write_measured(folder: Path, removals: Mapping[str, Measured]) -> None:
    """Write into the folder of an adapter which requests left it, and what was measured of each."""
    make_private_folder((folder / FILE).parent)
    fields = {request: asdict(removal) for request, removal in sorted(removals.items())}
    write_durably(folder / FILE, orjson.dumps(fields))


def read_measured(folder: Path) -> dict[str, Measured]:
    """What :func:`write_measured` wrote; nothing where an adapter was trained. Raises ``ValueError`` if damaged."""
    try:
        content = (folder / FILE).read_bytes()
    except FileNotFoundError:
        return {}
    fields = orjson.loads(content)
    if not isinstance(fields, dict):
        raise ValueError("not a mapping")
    return {request: Measured.parse(orjson.dumps(each)) for request, each in fields.items()}


def is_approximate(folder: Path) -> bool:
    """Whether an adapter came out of a removal that is not exact."""
    return (folder / FILE).exists()


def _range(values: Sequence[float]) -> Range:
    middle, low, high = (float(value) for value in values)
    return middle, low, high


def _interval(found: Range) -> str:
    return f"{found[0]:.3f} (95 % interval {found[1]:.3f} to {found[2]:.3f}; .5 is a guess)"
