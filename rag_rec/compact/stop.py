"""What a training leaves behind for removals that are not exact: the gradient at which it stopped, and how long it was.

A removal by influence compares what the training of everybody left with what those who remain pull at
(:mod:`rag_rec.influence.removal`). So the mean gradient of all windows at the adapter is kept in its folder: one vector
for all people together, of the size of the adapter, destroyed with it. Beside it is the number of windows, since a
training on fewer of them goes less far.

Both sides read people in windows that are cut alike, so that a person who stays pulls the same on both. Each window
counts once, as in the training (:class:`rag_rec.compact.likelihood.Likelihood`): were each choice to count once, people
with a long history would be taken out twice over, and those with a short one hardly.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from rag_rec.artifacts.private import make_private_folder, write_durably
from rag_rec.compact.adapter import Deltas
from rag_rec.compact.base import Base
from rag_rec.compact.likelihood import Likelihood
from rag_rec.compact.sequences import NO_TARGET, Tokens, TokenSequence, Windows
from rag_rec.compact.training import AdapterSettings
from rag_rec.compact.vocabulary import PAD
from rag_rec.errors import CorruptIndex, InvalidInput
from rag_rec.influence.curvature import NO_TARGETS, Samples, count_of, total_gradient
from rag_rec.influence.newton import Drawn
from rag_rec.influence.vectors import Vector, scaled
from rag_rec.progress.protocol import SILENT, Progress

FILE: Final = "removal/gradient.safetensors"
"""In the folder of an adapter, below the files of LoRA: other programs that read the folder do not look there.
Gradients in which each choice counted once had another name, and are not read."""
WINDOWS: Final = 32
"""Windows in a batch: products of second derivatives hold several times as much as a step of training."""
FEW: Final = 2
"""Windows in a batch whose gradient counts once for the preconditioner: smaller ones say more at the same cost."""
LENGTH: Final = 3 / 4
"""Of a training, as a share of its steps. Its rate is half of the highest one on the mean, which is the share that the
theory of plain descent has; three quarters was chosen on the first draws of MovieLens."""
GROWTH: Final = 0.4
"""The length of what was learned grows as this power of the number of windows; see :func:`shorter`."""
COUNT: Final = "windows"
"""In the file, beside the matrices: their names have dots."""
DRAWN: Final = 8
"""Batches that the curvature is taken from: the cost of a solve does not grow with the data."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Where a training stopped.

    Attributes:
        gradient: the mean over all windows, by the names of the base's matrices.
        windows: how many there are.
    """

    gradient: Vector
    windows: int

    @classmethod
    def of(cls, deltas: Deltas, samples: Sequence[Samples], told: Progress = SILENT) -> Stop:
        """Of everybody in some samples, at some differences, a step of progress for each batch.

        Raises:
            InvalidInput: there is no sample.
        """
        return cls.summed(total_gradient(deltas, samples, told), windows_of(samples))

    @classmethod
    def summed(cls, total: Vector, windows: int) -> Stop:
        """Of the sum of the gradients of so many windows. Raises ``InvalidInput`` where there is none."""
        if not windows:
            raise InvalidInput(NO_TARGETS)
        return cls(scaled(total, 1.0 / windows), windows)


def require_whole_softmax(known: int, settings: AdapterSettings) -> None:
    """Refuse a catalogue so large that the training estimates its softmax from a sample of items.

    Raises:
        InvalidInput: it is so large.
    """
    if known > settings.sampled_above:
        raise InvalidInput(
            f"This needs a training with the whole softmax, and trainings of more than {settings.sampled_above} tokens "
            "estimate it: train without a reserve, and remove people by `rag-rec adapter retrain`."
        )


def samples_of(
    base: Base, people: Sequence[TokenSequence], known: int, settings: AdapterSettings, windows: int = WINDOWS
) -> list[Samples]:
    """Every choice of some people, in batches whose order follows from the seed.

    Args:
        base: the model that reads them; it is changed, see :class:`rag_rec.compact.likelihood.Likelihood`.
        people: what was learned from.
        known: tokens below this number were in use at the training.
        settings: of the training.
        windows: in a batch.

    Raises:
        InvalidInput: see :func:`require_whole_softmax`.
    """
    require_whole_softmax(known, settings)
    pieces = [piece for person in people for piece in _pieces(person, settings.context)]
    batches = Windows(pieces, settings.context, windows, PAD, settings.seed).batches(0)
    return Likelihood(base.model, known).samples(batches)


def owners_of(people: Sequence[TokenSequence], settings: AdapterSettings, windows: int = WINDOWS) -> Tokens:
    """Whose each choice of :func:`samples_of` is, by the place of the person, in the same order, int64 [choices]."""
    return _marked(people, [np.full_like(each.items, place) for place, each in enumerate(people)], settings, windows)


def places_of(people: Sequence[TokenSequence], settings: AdapterSettings, windows: int = WINDOWS) -> Tokens:
    """Where each choice of :func:`samples_of` stands in the person's sequence, in the same order, int64 [choices]."""
    return _marked(people, [np.arange(len(each.items)) for each in people], settings, windows)


def _marked(
    people: Sequence[TokenSequence], marks: Sequence[Tokens], settings: AdapterSettings, windows: int
) -> Tokens:
    """The mark of each choice. How people are cut and put in batches goes by the lengths of their sequences alone, so
    that sequences of marks come out in the same places."""
    marked = [TokenSequence(each.prefix, mark) for each, mark in zip(people, marks, strict=True)]
    pieces = [piece for each in marked for piece in _pieces(each, settings.context)]
    batches = Windows(pieces, settings.context, windows, PAD, settings.seed).batches(0)
    return np.concatenate([batch.targets[batch.targets != NO_TARGET] for batch in batches])


def drawn_of(samples: Sequence[Samples], small: Sequence[Samples]) -> Drawn:
    """The part of some samples that the curvature is taken from; ``small`` are the same in batches of :data:`FEW`."""
    return Drawn(samples[:DRAWN], small[: WINDOWS * DRAWN // FEW])


def usual_damping(settings: AdapterSettings, windows: int) -> float:
    """One divided by the length of a training of so many windows, which is three quarters of its steps.

    A training that ends after a length t is about one to the end with a decay of 1/t: neither goes far along what is
    less curved (Ali, Kolter and Tibshirani, "A continuous-time view of early stopping for least squares regression",
    AISTATS 2019, arXiv 1810.10082). So a removal has to undo no more there. The length is in steps of the highest rate;
    see :data:`LENGTH`.
    """
    return 1.0 / (LENGTH * settings.epochs * max(1, math.ceil(windows / settings.batch)))


def shorter(deltas: Deltas, windows: int, before: int) -> dict[str, Tensor]:
    """Differences as long as a training on fewer windows would leave them.

    With people go steps of the training, which then stops less far from the base, in all directions about alike. This
    is not in the gradients, which only tell what people pull at. More windows than before lengthen nothing.

    Args:
        deltas: of so many windows as ``before``.
        windows: that remain.
        before: at least 1.
    """
    return scaled(deltas, min(1.0, windows / before) ** GROWTH)


def windows_of(samples: Sequence[Samples]) -> int:
    """How many windows there are: each counts once, shared out among its choices."""
    return round(count_of(samples))


def write_stop(folder: Path, stop: Stop) -> None:
    """Write into the folder of an adapter. Equal gradients give equal bytes."""
    make_private_folder((folder / FILE).parent)
    matrices = {name: stop.gradient[name].contiguous() for name in sorted(stop.gradient)}
    write_durably(folder / FILE, save({**matrices, COUNT: torch.tensor(stop.windows)}))


def read_stop(folder: Path) -> Stop | None:
    """What :func:`write_stop` wrote; None where the training kept nothing. Raises ``CorruptIndex`` if it is damaged."""
    if not (folder / FILE).exists():
        return None
    try:
        found = load_file(folder / FILE)
        return Stop(found, int(found.pop(COUNT)))
    except (OSError, SafetensorError, KeyError):
        raise CorruptIndex("The gradient in the adapter in use is damaged: run `rag-rec adapter retrain`.") from None


def _pieces(person: TokenSequence, context: int) -> Iterator[TokenSequence]:
    """As few windows as there can be, of about equal length: a short one would count as much as a long one. What is
    read before a window, and not learned, is a part of its prefix."""
    start = 0
    for items in np.array_split(person.items, max(1, math.ceil(len(person.items) / context))):
        before = person.items[max(0, start - 1) : start]
        yield TokenSequence(np.concatenate([person.prefix, before]), items)
        start += len(items)
