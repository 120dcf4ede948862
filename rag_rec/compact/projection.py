"""From text vectors to embedding rows: principal components, then unit length times a scale.

The projection is kept beside the model, so that the text of a new item becomes a row without any training.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from rag_rec.artifacts.private import make_private_folder
from rag_rec.errors import InvalidInput
from rag_rec.vectors.files import read_arrays, write_arrays
from rag_rec.vectors.protocol import Vectors

FILE: Final = "text/projection.safetensors"
"""In a folder of its own: vLLM takes every safetensors file beside the configuration for weights of the model."""
KIND: Final = "compact projection"
TYPES: Final = {
    "mean": np.dtype(np.float64),
    "components": np.dtype(np.float64),
    "scale": np.dtype(np.float64),
}
FILL_SEED: Final = 0
"""Of the directions that fill up the width where the texts have fewer of their own."""


@dataclass(frozen=True)
class TextProjection:
    """Attributes:
    mean: of the text vectors that it was made from, float64 [d].
    components: orthonormal columns by decreasing variance, float64 [d, width]; zero columns beyond d.
    scale: the length of every row.
    """

    mean: npt.NDArray[np.float64]
    components: npt.NDArray[np.float64]
    scale: float = 1.0

    @classmethod
    def of(cls, vectors: Vectors, width: int, scale: float = 1.0) -> Self:
        """The principal components of text vectors float32 [n, d].

        With fewer texts than the width asks for, directions that the texts do not use fill it up: they tell new texts
        apart. Raises ``InvalidInput`` without any text.
        """
        if not len(vectors):
            raise InvalidInput("There is no item to learn from: ingest a catalogue first.")
        exact = vectors.astype(np.float64)
        mean = exact.mean(axis=0)
        variances, directions = np.linalg.eigh((exact - mean).T @ (exact - mean))
        used = int(np.count_nonzero(variances > 1e-9 * max(variances.max(), 1e-30)))
        leading = directions[:, ::-1][:, : min(used, width)]
        return cls(mean, _filled(_signed(leading), width), scale)

    @property
    def width(self) -> int:
        """Length of a row."""
        return int(self.components.shape[1])

    def rows(self, vectors: Vectors) -> npt.NDArray[np.float32]:
        """Embedding rows float32 [n, width] of text vectors float32 [n, d]; zero for a text that is just the mean."""
        projected = (vectors.astype(np.float64) - self.mean) @ self.components
        lengths = np.linalg.norm(projected, axis=1, keepdims=True)
        return np.asarray(self.scale * projected / np.maximum(lengths, 1e-12), dtype=np.float32)

    def save(self, folder: Path) -> None:
        """Write into a folder, durably."""
        arrays = {"mean": self.mean, "components": self.components, "scale": np.array([self.scale])}
        make_private_folder((folder / FILE).parent)
        write_arrays(folder / FILE, KIND, arrays)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read back. Raises ``CorruptIndex``."""
        arrays = read_arrays(folder / FILE, KIND, TYPES)
        return cls(arrays["mean"], arrays["components"], float(arrays["scale"][0]))


def _signed(components: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The sign of a principal component is arbitrary: make its largest entry positive."""
    largest = np.abs(components).argmax(axis=0)
    signs = np.sign(components[largest, np.arange(components.shape[1])])
    return np.asarray(components * signs)


def _filled(components: npt.NDArray[np.float64], width: int) -> npt.NDArray[np.float64]:
    dimension, found = components.shape
    missing = min(width, dimension) - found
    if missing:
        draws = np.random.default_rng(FILL_SEED).normal(size=(dimension, missing))
        basis, _ = np.linalg.qr(np.concatenate([components, draws], axis=1))
        components = np.concatenate([components, basis[:, found:]], axis=1)
    return np.pad(components, ((0, 0), (0, width - components.shape[1])))
