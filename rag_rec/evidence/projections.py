"""Trained query and key projections of attention, as a file of two tensors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from rag_rec.artifacts.private import write_durably
from rag_rec.errors import CorruptIndex, InvalidInput

QUERY, KEY = "query", "key"


@dataclass(frozen=True, slots=True)
class Projections:
    """Weights of h heads of width e over vectors of length d: ``query`` and ``key`` float32 [h, d, e].

    They are learned from people's choices: like every learned parameter they have to be fitted again, from what
    remains, after somebody was forgotten. The product works without them.
    """

    query: npt.NDArray[np.float32]
    key: npt.NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.query.ndim != 3 or self.query.shape != self.key.shape or not self.query.size:
            raise InvalidInput("Projections need a query and a key tensor of one shape [heads, dimension, width].")
        if self.query.dtype != np.float32 or self.key.dtype != np.float32:
            raise InvalidInput("Projections have to be float32.")
        if not (np.isfinite(self.query).all() and np.isfinite(self.key).all()):
            raise InvalidInput("Projections have to be finite; fit them again with a lower learning rate.")

    @property
    def dimension(self) -> int:
        """Length of the vectors that are projected."""
        return int(self.query.shape[1])

    def scores(self, queries: npt.NDArray[np.float32], keys: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """(queries Wq)(keys Wk)' / sqrt(width) for queries [c, d] and keys [n, d]: float32 [h, c, n]."""
        if queries.shape[1] != self.dimension or keys.shape[1] != self.dimension:
            raise InvalidInput(
                f"The projections were fitted for vectors of length {self.dimension}, not {keys.shape[1]}: "
                "fit them again for this embedding model."
            )
        scale = np.float32(self.query.shape[2] ** -0.5)
        return np.asarray((queries @ self.query) @ (keys @ self.key).transpose(0, 2, 1) * scale)

    def save(self, path: Path) -> None:
        """Write both tensors as safetensors."""
        write_durably(path, save({QUERY: self.query, KEY: self.key}))

    @classmethod
    def load(cls, path: Path) -> Projections:
        """Read them back. Raises ``CorruptIndex`` for a file that is truncated, foreign or inconsistent."""
        try:
            tensors = load(path.read_bytes())
            return cls(tensors[QUERY], tensors[KEY])
        except (OSError, SafetensorError, KeyError, ValueError, InvalidInput):
            raise CorruptIndex(
                f"The attention weights in {path.name} are damaged: fit them again or do without."
            ) from None
