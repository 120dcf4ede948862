"""The compact generator's likelihood of people's choices, as a function of the adapter's differences to the base."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call
from transformers import LlamaForCausalLM

from rag_rec.compact.adapter import trained_weights
from rag_rec.compact.sequences import NO_TARGET, Batch
from rag_rec.influence.curvature import Samples
from rag_rec.influence.vectors import Vector

HEAD = "lm_head.weight"
BODY = "model."


class Likelihood:
    """Makes windows of people into samples whose weights are the differences, by the names of the base's matrices.

    Args:
        model: the base without an adapter; it is put into evaluation mode, with attention that has second derivatives.
        known: tokens below this number are in use; the softmax is over them, as in training.
    """

    def __init__(self, model: LlamaForCausalLM, known: int) -> None:
        model.requires_grad_(False)
        model.train(mode=False)
        model.set_attn_implementation("eager")
        self._model = model
        self._known = known
        self._base = {name: weight.detach() for name, weight in trained_weights(model).items()}

    def samples(self, batches: Iterable[Batch]) -> list[Samples]:
        """A batch of samples for each batch of windows that has a target. Each window counts once.

        A training takes the mean over the choices of a batch, whose windows are about equally long
        (:class:`rag_rec.compact.sequences.Windows`): there too a window counts once, and a choice the more the shorter
        its window is.
        """
        return [self._of(batch) for batch in batches if (batch.targets != NO_TARGET).any()]

    def _of(self, batch: Batch) -> Samples:
        learned = batch.targets != NO_TARGET
        shares = (learned / np.maximum(1, learned.sum(1, keepdims=True)))[learned]
        targets = torch.from_numpy(batch.targets[learned])
        return Samples(partial(self._logits, batch), targets, torch.from_numpy(shares).float())

    def _logits(self, batch: Batch, deltas: Vector) -> Tensor:
        weights = {name: self._base[name] + delta for name, delta in deltas.items()}
        body = {name.removeprefix(BODY): weight for name, weight in weights.items() if name != HEAD}
        asked = {"input_ids": torch.from_numpy(batch.tokens), "use_cache": False}
        hidden: Tensor = functional_call(self._model.model, body, (), asked).last_hidden_state
        return hidden[torch.from_numpy(batch.targets != NO_TARGET)] @ weights[HEAD][: self._known].T
