"""The learned fusion: a few thousand global numbers that read the features, and hold nothing about a single person.

A linear model over the coarse features picks the items worth a closer look; a linear model plus a few small networks
over the fine features orders them. Fitting needs torch (:mod:`rag_rec.candidates.fitting`); reading is NumPy alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import orjson
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from rag_rec.artifacts.private import make_private_folder, write_durably
from rag_rec.candidates.features import COARSE, FINE
from rag_rec.errors import CorruptIndex
from rag_rec.evaluation.membership import Membership

Floats = npt.NDArray[np.float64]
Weights = npt.NDArray[np.float32]

FORMAT = 1
TENSORS_FILE = "reader.safetensors"
DESCRIPTION_FILE = "reader.json"
CLIP = 5.0
"""Standardised features are cut off here, so that an unheard-of value cannot dominate."""

DEFAULT_SCALE = 4.0

DEFAULT_WEIGHTS: Mapping[str, float] = {
    "followed 1.5": 0.3,
    "followed 5": 0.3,
    "preceded 5": 0.1,
    "likes 5": 1.0,
    "likes 15": 1.0,
    "passages 2": 0.2,
    "passages 4": 0.2,
    "content 5": 1.0,
    "popularity": 0.1,
}
"""Weights of features that are not standardised, used until there is enough data to fit a reranker."""


_SOURCES: Final = tuple(dict.fromkeys(COARSE.values()))
_MEMBERSHIP: Final = np.array([[source == each for each in _SOURCES] for source in COARSE.values()], dtype=np.float32)
"""Which coarse feature belongs to which source, [COARSE, sources]."""


@dataclass(frozen=True, slots=True)
class Standard:
    """Mean and scale that bring each feature to mean 0 and deviation 1."""

    mean: Weights
    scale: Weights

    def apply(self, features: Floats) -> Weights:
        """Standardised features, clipped, float32."""
        standardised = (features.astype(np.float32) - self.mean) / self.scale
        return np.asarray(np.clip(standardised, -CLIP, CLIP), dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Network:
    """Two hidden layers with GELU (tanh form) and one output."""

    weight1: Weights  # [features, hidden]
    bias1: Weights
    weight2: Weights  # [hidden, hidden]
    bias2: Weights
    weight3: Weights  # [hidden]

    def apply(self, inputs: Weights) -> Weights:
        """One number for each row of ``inputs`` [c, features]."""
        hidden = _gelu(inputs @ self.weight1 + self.bias1)
        return np.asarray(_gelu(hidden @ self.weight2 + self.bias2) @ self.weight3, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Reranker:
    """The fitted numbers.

    ``networks`` may be empty: then the reranker is linear. The scores of the networks are averaged and added to the
    linear one. ``neighbours`` says whether it was fitted with the votes of neighbours by profile; where not, nobody
    needs to search for them. ``examples`` counts the choices that it was fitted on, 0 for the built-in default.
    ``membership`` says what an attack on the numbers told of the people that they were fitted on; None where nobody has
    tried.
    """

    coarse_standard: Standard
    coarse_weights: Weights
    fine_standard: Standard
    fine_weights: Weights
    networks: tuple[Network, ...] = ()
    neighbours: bool = False
    examples: int = 0
    measures: Mapping[str, float] = field(default_factory=dict)
    membership: Membership | None = None

    @classmethod
    def default(cls) -> Reranker:
        """A linear reranker with built-in weights, for when there is too little data to fit one."""
        coarse = np.array([DEFAULT_SCALE * DEFAULT_WEIGHTS.get(name, 0.0) for name in COARSE], dtype=np.float32)
        fine = np.array([DEFAULT_SCALE * DEFAULT_WEIGHTS.get(name, 0.0) for name in FINE], dtype=np.float32)
        return cls(_unstandardised(len(COARSE)), coarse, _unstandardised(len(FINE)), fine)

    @property
    def digest(self) -> str:
        """SHA-256 of the numbers."""
        return hashlib.sha256(save_tensors(_tensors(self))).hexdigest()

    def of(self, generation: str | None) -> Reranker:
        """The same, with the origin of what was measured of it, where none is noted yet."""
        measured = self.membership
        if measured is None or measured.generation is not None or generation is None:
            return self
        return replace(self, membership=replace(measured, generation=generation))

    def taken_over(self) -> Reranker:
        """The same, to be part of another generation: what was measured goes along only if its origin is noted."""
        measured = self.membership
        return replace(self, membership=None) if measured and measured.generation is None else self

    def coarse_scores(self, features: Floats) -> Weights:
        """Scores from coarse features [n, COARSE]: one for each item."""
        return np.asarray(self.coarse_standard.apply(features) @ self.coarse_weights)

    def fine_scores(self, features: Floats) -> Floats:
        """Scores from fine features [c, FINE]: one for each item."""
        inputs = self.fine_standard.apply(features)
        scores = (inputs @ self.fine_weights).astype(np.float64)
        for network in self.networks:
            scores += network.apply(inputs) / len(self.networks)
        return scores

    def sources(self, features: Floats, background: Floats) -> list[tuple[str, ...]]:
        """For each row of coarse features, the one to three sources that lift it most above the ``background`` rows."""
        if not len(features):
            return []
        weighed = self.coarse_standard.apply(features) * self.coarse_weights
        usual = (self.coarse_standard.apply(background) * self.coarse_weights).mean(axis=0)
        lift = (weighed - usual) @ _MEMBERSHIP
        order = np.argsort(-lift, axis=1, kind="stable")[:, :3]
        enough = np.take_along_axis(lift, order, axis=1) >= np.maximum(0.2 * lift.max(axis=1, keepdims=True), 1e-9)
        enough[:, 0] = True
        return [
            tuple(_SOURCES[group] for group, taken in zip(row, kept, strict=True) if taken)
            for row, kept in zip(order.tolist(), enough.tolist(), strict=True)
        ]

    def save(self, folder: Path) -> None:
        """Write the reranker into a folder."""
        make_private_folder(folder)
        content = save_tensors(_tensors(self))
        description = {
            "format": FORMAT,
            "sha256": hashlib.sha256(content).hexdigest(),
            "coarse": list(COARSE),
            "fine": list(FINE),
            "networks": len(self.networks),
            "neighbours": self.neighbours,
            "examples": self.examples,
            "measures": dict(self.measures),
            "membership": self.membership and self.membership.fields(),
        }
        write_durably(folder / TENSORS_FILE, content)
        write_durably(folder / DESCRIPTION_FILE, orjson.dumps(description, option=orjson.OPT_INDENT_2))

    @classmethod
    def load(cls, folder: Path, generation: str | None = None) -> Reranker:
        """Read a reranker back.

        Args:
            folder: where it was saved.
            generation: name of the index generation whose build fitted it: the origin of what was measured of it,
                where no other origin was noted.

        Raises:
            CorruptIndex: the files are damaged or were made for other features.
        """
        try:
            description = orjson.loads((folder / DESCRIPTION_FILE).read_bytes())
            content = (folder / TENSORS_FILE).read_bytes()
            fits = (description["format"], description["coarse"], description["fine"]) == (
                FORMAT,
                list(COARSE),
                list(FINE),
            )
            if not fits or description["sha256"] != hashlib.sha256(content).hexdigest():
                raise CorruptIndex(_DAMAGED)
            return _from_tensors(load_tensors(content), description).of(generation)
        except (OSError, ValueError, KeyError, TypeError):
            raise CorruptIndex(_DAMAGED) from None


_DAMAGED = "The reranker of the candidate model is damaged or of another version: run `rag-rec index rebuild`."


def _unstandardised(count: int) -> Standard:
    # One scale for all, wide enough that the clip does not bite: logarithms of shares reach down to -10.
    return Standard(np.zeros(count, dtype=np.float32), np.full(count, DEFAULT_SCALE, dtype=np.float32))


def _gelu(values: Weights) -> Weights:
    inner = np.float32(np.sqrt(2.0 / np.pi)) * (values + np.float32(0.044715) * values * values * values)
    return np.asarray(np.float32(0.5) * values * (np.float32(1.0) + np.tanh(inner)), dtype=np.float32)


def _tensors(reranker: Reranker) -> dict[str, Weights]:
    tensors = {
        "coarse.mean": reranker.coarse_standard.mean,
        "coarse.scale": reranker.coarse_standard.scale,
        "coarse.weights": reranker.coarse_weights,
        "fine.mean": reranker.fine_standard.mean,
        "fine.scale": reranker.fine_standard.scale,
        "fine.weights": reranker.fine_weights,
    }
    for position, network in enumerate(reranker.networks):
        for name in Network.__dataclass_fields__:
            tensors[f"network{position}.{name}"] = getattr(network, name)
    return {name: np.ascontiguousarray(values) for name, values in tensors.items()}


def _from_tensors(tensors: Mapping[str, Weights], description: Mapping[str, Any]) -> Reranker:
    networks = tuple(
        Network(**{name: tensors[f"network{position}.{name}"] for name in Network.__dataclass_fields__})
        for position in range(description["networks"])
    )
    return Reranker(
        Standard(tensors["coarse.mean"], tensors["coarse.scale"]),
        tensors["coarse.weights"],
        Standard(tensors["fine.mean"], tensors["fine.scale"]),
        tensors["fine.weights"],
        networks,
        bool(description["neighbours"]),
        description["examples"],
        description["measures"],
        Membership.read(description.get("membership")),
    )
