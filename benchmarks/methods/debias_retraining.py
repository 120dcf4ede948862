"""Trainings of the adapter in use without some of the choices: what a removal without a training is held against."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from indexer.learned import Learned
from rag_rec.compact.adapter import Deltas
from rag_rec.compact.sequences import NO_TARGET, Batch, TokenSequence, Windows
from rag_rec.compact.stop import owners_of, places_of
from rag_rec.compact.training import AdapterTraining
from rag_rec.compact.vocabulary import PAD
from rag_rec.debias.mask import Flags


@dataclass(frozen=True, slots=True)
class KeptTargets:
    """Windows in which some choices are read and not learned.

    Attributes:
        windows: of the people.
        kept: the same with 1 in the place of each choice that is learned, and 0 of the others; windows are cut and put
            together by lengths alone.
    """

    windows: Windows
    kept: Windows

    def batches(self, epoch: int) -> Sequence[Batch]:
        """The batches of an epoch."""
        pairs = zip(self.windows.batches(epoch), self.kept.batches(epoch), strict=True)
        return [
            replace(batch, targets=np.where(flags.targets == 0, NO_TARGET, batch.targets)) for batch, flags in pairs
        ]


def retrained(learned: Learned, people: Sequence[TokenSequence], gone: Flags, seed: int) -> Deltas:
    """Train as the adapter in use was, with another seed, without the choices that are gone.

    Args:
        learned: the adapter in use.
        people: whom it learned from.
        gone: which choices, bool [choices], in the order of :func:`rag_rec.compact.stop.samples_of`.
        seed: of the training.
    """
    settings = replace(learned.settings, seed=seed)
    flags = [TokenSequence(each.prefix, np.ones_like(each.items)) for each in people]
    owners, places = owners_of(people, learned.settings), places_of(people, learned.settings)
    for owner, place in zip(owners[gone].tolist(), places[gone].tolist(), strict=True):
        flags[owner].items[place] = 0
    windows = [Windows(each, settings.context, settings.batch, PAD, seed) for each in (people, flags)]
    base = copy.deepcopy(learned.base.model)
    base.set_attn_implementation("sdpa")  # as a training has it; the solves need another one
    training = AdapterTraining(base, KeptTargets(windows[0], windows[1]), learned.known, settings, torch.device("cpu"))
    for _ in range(settings.epochs):
        training.epoch(lambda _: None)
    return training.deltas()
