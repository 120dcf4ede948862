"""Trains the adapter: what people liked goes into differences to the frozen base, never into the base itself.

Every matrix of the base gets a difference of its own shape, at first zero. It is trained whole and only afterwards
factored into the two matrices of LoRA (:mod:`rag_rec.compact.adapter`): at full rank that is the same class of
functions, at half the arithmetic. Norms stay as they are. Weight decay draws towards the base, that is towards
knowing nobody.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import LlamaForCausalLM

from rag_rec.adapters.checkpoint import Arrays, TrainingState
from rag_rec.compact.adapter import Deltas, trained_weights
from rag_rec.compact.sequences import NO_TARGET, Batch
from rag_rec.compact.softmax import sampled_loss
from rag_rec.errors import InvalidInput

DROPPED = ("embed_tokens", "o_proj", "down_proj")
"""Modules whose outputs are dropped out: the input embeddings, and what each layer adds to the stream."""

MOST_RESERVED = 0.5
"""The largest share of the people from whom nothing is learned."""

MOST_SHARDS = 64
"""So many adapters are kept, each as large as the one that is served."""

MOMENTS = ("step", "exp_avg", "exp_avg_sq")
"""What AdamW keeps of every weight."""

Targets = Callable[[Batch], Tensor]
"""What to learn at the targets of a batch: probabilities of the tokens in use, float32 [targets, tokens in use]."""


class Batches(Protocol):
    """The people, as batches of windows."""

    def batches(self, epoch: int) -> Sequence[Batch]:
        """The batches of an epoch, the same in every run."""


@dataclass(frozen=True, slots=True)
class AdapterSettings:
    """How to train an adapter.

    Attributes:
        epochs: passes over all people.
        rate: highest learning rate; it warms up, then follows a cosine to nearly zero.
        warm_up: share of the training in which the rate rises.
        dropout: share of the outputs that are dropped, see :data:`DROPPED`.
        decay: decoupled weight decay of the differences.
        clip: largest norm of a gradient.
        batch: windows in a batch.
        context: most items in a window.
        rank: of the LoRA matrices; None for the width of the model, which loses nothing.
        held_out: share of the people whose newest item is not learned, so that a fusion can be validated on it; None
            for as many as it takes, see :func:`rag_rec.compact.sequences.share_to_ask`.
        reserve: share of the people from whom nothing is learned, so that it can be measured what an adapter remembers
            of the others. With it a training also keeps what a removal by influence needs.
        shards: into how many shards the people are put, each with a training of its own, see
            :mod:`rag_rec.compact.shards`; 1 for one training of everybody.
        together: epochs on everybody, which begin at the sum of the shards; only where there are several.
        sampled_above: in catalogues larger than this the softmax is estimated from a sample of items.
        negatives: items in that sample, besides those of the batch.
        threads: of PyTorch on a CPU. One gives the same bytes on any number of cores.
        seed: of every draw.
    """

    epochs: int = 20
    rate: float = 2e-3
    warm_up: float = 0.05
    dropout: float = 0.3
    decay: float = 0.01
    clip: float = 1.0
    batch: int = 64
    context: int = 128
    rank: int | None = None
    held_out: float | None = None
    reserve: float = 0.0
    shards: int = 1
    together: int = 6
    sampled_above: int = 8000
    negatives: int = 2048
    threads: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be trained with."""
        whole = ("epochs", "batch", "context", "sampled_above", "negatives", "threads")
        for name in whole:
            if getattr(self, name) < 1:
                raise InvalidInput(f"{name} is {getattr(self, name)}; it must be at least 1.")
        if self.rank is not None and self.rank < 1:
            raise InvalidInput(f"rank is {self.rank}; it must be at least 1.")
        if not 0.0 <= self.reserve <= MOST_RESERVED:
            raise InvalidInput(f"reserve is {self.reserve}; it must be from 0 to {MOST_RESERVED}.")
        if not 0.0 <= self.dropout < 1.0:
            raise InvalidInput(f"dropout is {self.dropout}; it must be at least 0 and below 1.")
        self._check_shards()

    def _check_shards(self) -> None:
        if not 1 <= self.shards <= MOST_SHARDS:
            raise InvalidInput(f"shards is {self.shards}; it must be from 1 to {MOST_SHARDS}.")
        if self.together < 0:
            raise InvalidInput(f"together is {self.together}; it must be at least 0.")
        if self.shards > 1 and not self.reserve:
            raise InvalidInput(f"shards is {self.shards}: they are added up by a reserve, such as `--reserve 0.05`.")

    def content(self) -> dict[str, Any]:
        """Plain values for a manifest or a key. Those of shards are left out where there are none."""
        found = asdict(self)
        if self.shards == 1:
            del found["shards"], found["together"]
        return found

    def rate_at(self, finished: float) -> float:
        """The learning rate when this share of the training is finished."""
        rising = min(1.0, (finished + 1e-3) / max(self.warm_up, 1e-3))
        return self.rate * rising * (0.02 + 0.98 * 0.5 * (1.0 + math.cos(math.pi * min(1.0, finished))))


class AdapterTraining:
    """A training of one adapter, epoch by epoch.

    Args:
        model: the base, which is changed in place; load it for this training alone.
        windows: the people.
        known: tokens below this number are in use. The softmax is over them; spare rows for items to come are no
            negatives, so that nothing is held against a new item.
        settings: how.
        device: where.
        targets: what to learn in place of the items that were chosen, over the whole softmax; see
            :mod:`rag_rec.compact.distillation`.
    """

    def __init__(  # noqa: PLR0913 - what is trained, on whom, and how
        self,
        model: LlamaForCausalLM,
        windows: Batches,
        known: int,
        settings: AdapterSettings,
        device: torch.device,
        targets: Targets | None = None,
    ) -> None:
        nn.Module.to(model, device)
        self._model = model
        model.train()
        self._windows = windows
        self._known = known
        self._settings = settings
        self._device = device
        self._targets = targets
        self._weights = _only_matrices(model)
        self._base = {name: weight.detach().clone() for name, weight in self._weights.items()}
        self._optimiser = torch.optim.AdamW(self._weights.values(), settings.rate, (0.9, 0.98), weight_decay=0.0)
        self._draws = torch.Generator(device)
        self._finished = 0
        self._loss = math.nan

    @property
    def finished(self) -> int:
        """Finished epochs."""
        return self._finished

    @property
    def loss(self) -> float:
        """Mean loss per target of the last epoch, in nats; NaN before the first."""
        return self._loss

    def state(self) -> TrainingState:
        """All that the next epoch depends on; everything else follows from the arguments and the seed."""
        return TrainingState(self._finished, self._loss, {**self._weight_arrays(), **self._moment_arrays()})

    def resume(self, state: TrainingState) -> None:
        """Go on from a state of the same training."""
        found = {name: torch.from_numpy(np.array(array)) for name, array in state.arrays.items()}
        moments: dict[int, dict[str, Tensor]] = {}
        with torch.no_grad():
            for place, (name, weight) in enumerate(self._weights.items()):
                weight.copy_(found[f"weight.{name}"])
                moments[place] = {kind: found[f"{kind}.{name}"] for kind in MOMENTS}
        groups = self._optimiser.state_dict()["param_groups"]
        self._optimiser.load_state_dict({"state": moments, "param_groups": groups})
        self._finished, self._loss = state.finished, state.loss

    def deltas(self) -> Deltas:
        """The differences to the base, by the name of the weight, float32 on the CPU."""
        return {name: _copy(weight - self._base[name]) for name, weight in self._weights.items()}

    def epoch(self, told: Callable[[float], None]) -> float:
        """Train one epoch; ``told`` hears the share of it that is finished. Returns the mean loss per target.

        Raises:
            InvalidInput: the settings make the training diverge.
        """
        with _threads(self._settings.threads), _dropout(self._model, self._settings.dropout, self._draws):
            self._draws.manual_seed(self._settings.seed * 1_000_003 + self._finished)
            self._loss = self._pass(self._windows.batches(self._finished), told)
        if not math.isfinite(self._loss):
            raise InvalidInput("The training of the adapter diverged: train with a lower rate.")
        self._finished += 1
        return self._loss

    def _pass(self, batches: Sequence[Batch], told: Callable[[float], None]) -> float:
        total, targets = torch.zeros((), dtype=torch.float64, device=self._device), 0
        for place, batch in enumerate(batches):
            finished = place / len(batches)
            loss = self._step(batch, self._settings.rate_at((self._finished + finished) / self._settings.epochs))
            count = int((batch.targets != NO_TARGET).sum())
            total += loss.double() * count
            targets += count
            told(finished)
        told(1.0)
        return float(total) / max(1, targets)

    def _step(self, batch: Batch, rate: float) -> Tensor:
        loss = self._batch_loss(batch)
        self._optimiser.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(self._weights.values(), self._settings.clip)
        self._decay(rate)
        self._optimiser.param_groups[0]["lr"] = rate
        self._optimiser.step()
        return loss.detach()

    def _decay(self, rate: float) -> None:
        """Decoupled weight decay of the differences (Loshchilov and Hutter, "Decoupled Weight Decay Regularization",
        arXiv 1711.05101), written on base plus difference."""
        with torch.no_grad():
            for name, weight in self._weights.items():
                weight.lerp_(self._base[name], rate * self._settings.decay)

    def _batch_loss(self, batch: Batch) -> Tensor:
        tokens = torch.from_numpy(batch.tokens).to(self._device)
        targets = torch.from_numpy(batch.targets).to(self._device)
        hidden = self._model.model(input_ids=tokens, use_cache=False).last_hidden_state
        learned = targets != NO_TARGET
        head = self._model.lm_head.weight[: self._known]
        if self._targets is not None:
            return functional.cross_entropy(hidden[learned] @ head.T, self._targets(batch))
        if self._known <= self._settings.sampled_above:
            return functional.cross_entropy(hidden[learned] @ head.T, targets[learned])
        return sampled_loss(hidden[learned], head, targets[learned], self._settings.negatives, self._draws)

    def _weight_arrays(self) -> Arrays:
        return {f"weight.{name}": _copy(weight).numpy() for name, weight in self._weights.items()}

    def _moment_arrays(self) -> Arrays:
        held = self._optimiser.state_dict()["state"]
        named = enumerate(self._weights)
        return {f"{kind}.{name}": _copy(held[place][kind]).numpy() for place, name in named for kind in MOMENTS}


def _only_matrices(model: LlamaForCausalLM) -> dict[str, nn.Parameter]:
    """The trained weights by name; everything else is frozen."""
    model.requires_grad_(False)
    weights = trained_weights(model)
    for weight in weights.values():
        weight.requires_grad_(True)
    return weights


@contextmanager
def _dropout(model: LlamaForCausalLM, share: float, draws: torch.Generator) -> Iterator[None]:
    with ExitStack() as hooks:
        for name, module in model.named_modules():
            if share and name.rpartition(".")[2] in DROPPED:
                hooks.callback(module.register_forward_hook(partial(_drop, share, draws)).remove)
        yield


def _drop(share: float, draws: torch.Generator, module: nn.Module, inputs: object, output: Tensor) -> Tensor:  # noqa: ARG001 - the hook's signature
    kept = torch.empty_like(output).bernoulli_(1.0 - share, generator=draws)
    return output * kept.div_(1.0 - share)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", copy=True).contiguous()
