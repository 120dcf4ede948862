"""The base of the compact generator: a small Llama that knows the catalogue and no person.

Rows of ``embed_tokens`` and ``lm_head`` are fixed: they come from the texts of items and attributes
(:mod:`rag_rec.compact.projection`), so that a new item has rows at once. Attention, MLP and norms learn from walks over
the graph of similar items (:mod:`rag_rec.compact.walks`). What people like is left to an adapter.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file, save
from threadpoolctl import threadpool_limits
from torch import nn
from torch.nn import functional
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

from rag_rec.artifacts.private import write_durably
from rag_rec.compact.attributes import ItemAttributes, attribute_vectors
from rag_rec.compact.projection import TextProjection
from rag_rec.compact.softmax import sampled_loss
from rag_rec.compact.tokenizer import write_tokenizer
from rag_rec.compact.vocabulary import BOS, PAD, SPECIALS, Vocabulary
from rag_rec.compact.walks import Walks, WalkSettings
from rag_rec.domain import Item
from rag_rec.errors import InvalidInput
from rag_rec.vectors.protocol import Embedder, Vectors

WEIGHTS: Final = "model.safetensors"
MLP_SHARE: Final = 8 / 3
CLIP: Final = 1.0
Rows = npt.NDArray[np.float32]
Advance = Callable[[int, int, float], None]
"""Called after every step with the steps done, the steps in all, and the loss."""


@dataclass(frozen=True, slots=True)
class BaseSettings:
    """How a base is built.

    Attributes:
        width: hidden width.
        layers: number of layers.
        heads: attention heads per layer.
        context: the longest sequence in tokens.
        scale: length of every embedding row.
        epochs: passes over the walks.
        batch: walks per step.
        learning_rate: at the start; it falls to zero along a cosine.
        weight_decay: of matrices; norms have none.
        sampled_above: in vocabularies larger than this the softmax is estimated from a sample of tokens.
        negatives: tokens in that sample, besides those of the batch.
        threads: of the numerical libraries on a CPU. One gives the same bytes on any number of cores.
        seed: of every draw.
    """

    width: int = 128
    layers: int = 2
    heads: int = 4
    context: int = 256
    scale: float = 1.0
    epochs: int = 3
    batch: int = 64
    learning_rate: float = 3e-3
    weight_decay: float = 0.01
    sampled_above: int = 8000
    negatives: int = 2048
    threads: int = 1
    seed: int = 0
    walks: WalkSettings = field(default_factory=WalkSettings)


@dataclass(frozen=True)
class Base:
    """A base in memory: the model in float32 on the CPU, what its tokens are, and how texts become rows."""

    model: LlamaForCausalLM
    vocabulary: Vocabulary
    projection: TextProjection

    def write(self, folder: Path) -> None:
        """Write all files into an empty folder: what :meth:`AdapterStore.publish_base` asks for."""
        weights = {name: weight.contiguous() for name, weight in self.model.state_dict().items()}
        write_durably(folder / WEIGHTS, save(weights, {"format": "pt"}))  # transformers insists on this entry
        self.model.config.save_pretrained(folder)
        _generation_config().save_pretrained(folder)
        write_tokenizer(self.vocabulary, self.model.config.max_position_embeddings, folder)
        self.vocabulary.save(folder)
        self.projection.save(folder)

    @classmethod
    def load(cls, folder: Path) -> Base:
        """Read back from a folder that the store has checked."""
        model = LlamaForCausalLM(LlamaConfig.from_pretrained(folder))
        model.load_state_dict(load_file(folder / WEIGHTS))
        nn.Module.train(model, False)
        return cls(model, Vocabulary.load(folder), TextProjection.load(folder))

    def counts(self) -> dict[str, int]:
        """What a manifest shows."""
        return {
            "items": len(self.vocabulary.items),
            "attributes": len(self.vocabulary.attribute_texts()),
            "spare": self.vocabulary.spare,
            "parameters": sum(parameter.numel() for parameter in self.model.parameters()),
        }


def build_base(  # noqa: PLR0913 - the catalogue and its vectors
    items: Sequence[Item],
    vectors: Vectors,
    vocabulary: Vocabulary,
    embedder: Embedder,
    settings: BaseSettings | None = None,
    advance: Advance | None = None,
    device: str = "cpu",
) -> Base:
    """Project the texts, walk the graph, and train. The same inputs give the same base on one machine.

    Args:
        items: the catalogue, in the order of the vocabulary's items.
        vectors: unit text vectors of the items, float32 [n, d].
        vocabulary: the tokens.
        embedder: for the texts of user attributes.
        settings: how to build it.
        advance: called after every step.
        device: where to train; the result is on the CPU.
    """
    settings = settings or BaseSettings()
    if tuple(item.id for item in items) != vocabulary.items or len(vectors) != len(items):
        raise InvalidInput("The vocabulary, the items and their vectors do not fit: make them from one catalogue.")
    attributes = ItemAttributes.of(items, vocabulary)
    texts = attribute_vectors(vocabulary, attributes, vectors, embedder)
    with limited_threads(settings.threads):
        projection = TextProjection.of(vectors, settings.width, settings.scale)
        model = initial_model(vocabulary, projection.rows(texts), projection.rows(vectors), settings)
        train(model, Walks.over(vectors, attributes, vocabulary, settings.walks), settings, advance, device)
    return Base(model, vocabulary, projection)


def initial_model(vocabulary: Vocabulary, named: Rows, items: Rows, settings: BaseSettings) -> LlamaForCausalLM:
    """A model whose embedding and head are fixed to these rows, and whose other weights are drawn by the seed.

    Args:
        vocabulary: the tokens.
        named: rows of the attribute tokens, float32 [a, width].
        items: rows of the items, float32 [n, width].
        settings: the architecture and the seed.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        model = LlamaForCausalLM(_config(len(vocabulary), settings))
    rows = np.concatenate([named, items])
    first = len(SPECIALS)
    with torch.no_grad():
        for matrix in (model.model.embed_tokens.weight, model.lm_head.weight):
            matrix.zero_()
            matrix[first : first + len(rows)] = torch.from_numpy(rows)
            matrix.requires_grad_(False)
        model.model.embed_tokens.weight[BOS] = torch.full((settings.width,), settings.scale / settings.width**0.5)
    return model


def train(
    model: LlamaForCausalLM, walks: Walks, settings: BaseSettings, advance: Advance | None = None, device: str = "cpu"
) -> None:
    """Teach a model, in place, to predict the next token of walks; new walks in every epoch."""
    nn.Module.to(model, device).train()
    optimizer = torch.optim.AdamW(_parameter_groups(model, settings.weight_decay), lr=settings.learning_rate)
    draws = np.random.default_rng(settings.seed)
    sample = torch.Generator(device).manual_seed(settings.seed)
    per_epoch = math.ceil(walks.count / settings.batch)
    steps = settings.epochs * per_epoch
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step, tokens in enumerate(_batches(walks, settings, draws), 1):
        loss = walk_loss(model, tokens.to(device), settings, sample)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        schedule.step()
        if advance is not None:
            advance(step, steps, float(loss.detach()))
    nn.Module.to(model, "cpu").train(False)


def walk_loss(
    model: LlamaForCausalLM, tokens: torch.Tensor, settings: BaseSettings, draws: torch.Generator
) -> torch.Tensor:
    """Mean cross-entropy of every token after the first of walks int64 [b, l].

    Spare rows count among the tokens that do not come next: their logit is zero, and items have to rise above it.
    """
    hidden = model.model(input_ids=tokens[:, :-1], use_cache=False).last_hidden_state.flatten(0, 1)
    head, targets = model.lm_head.weight, tokens[:, 1:].flatten()
    if len(head) <= settings.sampled_above:
        return functional.cross_entropy(hidden @ head.T, targets)
    return sampled_loss(hidden, head, targets, settings.negatives, draws)


def _config(tokens: int, settings: BaseSettings) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=tokens,
        hidden_size=settings.width,
        intermediate_size=8 * round(MLP_SHARE * settings.width / 8),
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        num_key_value_heads=settings.heads,
        max_position_embeddings=settings.context,
        attention_bias=False,
        mlp_bias=False,
        tie_word_embeddings=False,
        bos_token_id=BOS,
        eos_token_id=PAD,
        pad_token_id=PAD,
        dtype="float32",
        architectures=["LlamaForCausalLM"],
    )


def _generation_config() -> GenerationConfig:
    return GenerationConfig(bos_token_id=BOS, eos_token_id=PAD, pad_token_id=PAD)  # type: ignore[no-untyped-call]


def _parameter_groups(model: LlamaForCausalLM, weight_decay: float) -> list[dict[str, object]]:
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    matrices = [parameter for parameter in learned if parameter.ndim > 1]
    norms = [parameter for parameter in learned if parameter.ndim == 1]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": norms, "weight_decay": 0.0}]


def _batches(walks: Walks, settings: BaseSettings, draws: np.random.Generator) -> Iterator[torch.Tensor]:
    for _ in range(settings.epochs):
        tokens = walks.draw(draws)
        for chosen in np.array_split(tokens, math.ceil(len(tokens) / settings.batch)):
            yield torch.from_numpy(chosen)


@contextmanager
def limited_threads(count: int) -> Iterator[None]:
    """Let PyTorch and NumPy use this many threads. One gives the same bytes on any number of cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        with threadpool_limits(limits=count):
            yield
    finally:
        torch.set_num_threads(before)
