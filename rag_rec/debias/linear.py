"""What the removal of training samples does to figures of the served order, to first order in the weights.

Without samples of which m_i is the mask, the weights of a training move by ::

    step = (G + damping)^-1 sum_i m_i c_i grad l_i / n

with the curvature G of the mean loss, how much each sample counts (c_i) and how much all of them do (n). So a figure F
changes by ``sum_i m_i a_i`` with ``a_i = c_i <grad l_i, (G + damping)^-1 grad F> / n``: one solve for each direction,
and two passes over the samples without gradients (Koh and Liang, "Understanding black-box predictions via influence
functions", ICML 2017, arXiv 1703.04730).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from rag_rec.debias.mask import Flags
from rag_rec.fairness.served import Floats
from rag_rec.influence.curvature import Samples, count_of
from rag_rec.influence.newton import Newton
from rag_rec.influence.scores import WIDTHS, scores
from rag_rec.influence.vectors import Vector, add, norm, scaled, zeros
from rag_rec.progress.protocol import SILENT, Progress


@dataclass(frozen=True, slots=True)
class Linear:
    """The weights that are to be changed, and what they were trained on.

    Attributes:
        deltas: the weights.
        samples: all of what was learned, in batches.
        newton: solves at weights near these.
        damping: of the solves.
        told: hears of a step for each batch that is scored or pulled at.
    """

    deltas: Vector
    samples: Sequence[Samples]
    newton: Newton
    damping: float
    told: Progress = SILENT

    def scores(self, gradient: Vector) -> Floats:
        """What the going of each sample does to a number with this gradient, float64 [samples]; two passes.

        Raises:
            InvalidInput: the solve diverged.
        """
        if not norm(gradient):
            return np.zeros(sum(len(batch.targets) for batch in self.samples))
        towards = self.newton.step(gradient, self.damping).vector
        found = []
        for batch in self.samples:
            found.append(scores(self.deltas, [batch], towards, WIDTHS[0]) * batch.counts)
            self.told.advance(1)
        return np.asarray(torch.cat(found).double().numpy() / count_of(self.samples))

    def step(self, rows: Flags) -> dict[str, Tensor]:
        """How far the weights move where the samples of a mask go: one pass with gradients over the batches that have
        any, and one solve.

        Raises:
            InvalidInput: the solve diverged.
        """
        pull = scaled(self._pull(rows), 1.0 / count_of(self.samples))
        return self.newton.step(pull, self.damping).vector if norm(pull) else zeros(self.deltas)

    def _pull(self, rows: Flags) -> dict[str, Tensor]:
        total, start = zeros(self.deltas), 0
        for batch in self.samples:
            going = torch.as_tensor(rows[start : start + len(batch.targets)])
            start += len(batch.targets)
            if bool(going.any()):
                total = add(total, replace(batch, shares=batch.counts * going).gradient(self.deltas))
            self.told.advance(1)
        return total
