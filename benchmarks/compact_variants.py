"""What the split of the compact generator reaches, and what each variant of it remembers of people.

Accuracy: NDCG@10 of the validation answers, the second to last positive of each user, for the model alone over the
whole catalogue and over 50 candidates, and fused with the candidates' scores (weight by cross-fitting). The test
answers are never looked at. Memory: every variant is trained again on a random half of the people, and two attacks try
to tell these from the others (:mod:`benchmarks.methods.membership`). The variant that remembers least at equal
accuracy wins.

Usage: ``python -m benchmarks.compact_variants [--dataset ml-100k] [--epochs 30] [--variants NAME,...] [--keep]``
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import orjson
import torch

from benchmarks.data import NAMES as DATASETS
from benchmarks.data import item_vectors, read_or_exit
from benchmarks.methods import semantic_ids
from benchmarks.methods.bucket_prompt import BucketReader, BucketSettings
from benchmarks.methods.candidate_lists import CandidateLists
from benchmarks.methods.compact_model import Trained, likelihoods, next_items, train, untrained
from benchmarks.methods.membership import attacks
from benchmarks.methods.semantic_ids import LEVELS, SemanticIds, semantic_base
from benchmarks.methods.validation import CANDIDATES, SEED, Floats, Integers, Row, Validation
from benchmarks.report import RESULTS, write_results
from rag_rec.candidates.reranker import Reranker
from rag_rec.compact.base import BaseSettings
from rag_rec.compact.training import AdapterSettings

MOST_CODES: Final = 198
"""Code tokens in a window: 66 items, as many as fit into the context of a base with a few to spare."""


@dataclass(frozen=True, slots=True)
class Variant:
    """A way to train the compact generator.

    Attributes:
        name: of its rows.
        width, layers: of the base.
        adapter: fields of :class:`AdapterSettings` that are not the default.
        frozen: modules that the adapter leaves alone.
        ranks: ranks that the adapter is cut to, each a row; None for the width, which loses nothing.
    """

    name: str
    width: int = 128
    layers: int = 2
    adapter: Mapping[str, Any] = field(default_factory=dict)
    frozen: tuple[str, ...] = ()
    ranks: tuple[int | None, ...] = (None,)


VARIANTS: Final = (
    Variant("width 128", ranks=(None, 64, 32, 16, 8, 4)),
    Variant("without embedding and head", frozen=("embed_tokens", "lm_head")),
    Variant("dropout 0.5", adapter={"dropout": 0.5}, ranks=(None, 32, 8)),
    Variant("width 64", width=64, ranks=(None, 16, 8)),
    Variant("decay 10", adapter={"decay": 10.0}, ranks=(None, 32)),
    Variant("1 layer", layers=1, ranks=(None, 32)),
    Variant("3 layers", layers=3, ranks=(None, 32)),
)
BASE: Final = "base alone"
READER: Final = "candidate model"
BUCKETS: Final = "bucket prompt"
SEMANTIC: Final = "semantic IDs"
NAMES: Final = (
    BASE,
    READER,
    *(each.name for each in VARIANTS[:4]),
    BUCKETS,
    SEMANTIC,
    *(each.name for each in VARIANTS[4:]),
)


def rows_of(name: str, validation: Validation, epochs: int) -> Iterator[Row]:
    """The rows of one of :data:`NAMES`."""
    fixed = {BASE: base_rows, READER: reranker_rows, BUCKETS: bucket_rows}
    if name in fixed:
        return fixed[name](validation)
    if name == SEMANTIC:
        return semantic_rows(validation, epochs)
    return variant_rows(next(variant for variant in VARIANTS if variant.name == name), validation, epochs)


def base_rows(validation: Validation) -> Iterator[Row]:
    """The base alone, in the architecture of the default."""
    trained = untrained(validation.bases.of(Variant(BASE).width, Variant(BASE).layers))
    context = AdapterSettings().context
    measured = {**_read(validation, trained, context), **_attacked(validation, validation.histories, trained, context)}
    yield {"name": BASE, "parameters": 0, **measured, "training cpu s": 0.0}


def variant_rows(variant: Variant, validation: Validation, epochs: int) -> Iterator[Row]:
    """A variant, whole and cut to each of its ranks."""
    base = validation.bases.of(variant.width, variant.layers)
    settings = replace(AdapterSettings(), **{"epochs": epochs, **variant.adapter})
    full = train(base, validation.histories, settings, variant.frozen)
    attacked = train(base, validation.inside, settings, variant.frozen)
    for rank in variant.ranks:
        yield {
            "name": variant.name if rank is None else f"{variant.name}, rank {rank}",
            "parameters": full.parameters(rank or variant.width),
            **_read(validation, full.truncated(rank), settings.context),
            **_attacked(validation, validation.histories, attacked.truncated(rank), settings.context),
            **_how(full, settings),
        }


def semantic_rows(validation: Validation, epochs: int) -> Iterator[Row]:
    """Three code tokens for an item, in width 64: full rank of a small vocabulary."""
    ids = SemanticIds.of(validation.vectors)
    base = semantic_base(validation.vectors, ids, BaseSettings())
    settings = replace(AdapterSettings(), epochs=epochs, context=MOST_CODES)
    histories, inside = ([ids.written(items) for items in each] for each in (validation.histories, validation.inside))
    full = train(base, histories, settings)
    lists, _ = validation.asked
    known = [ids.written(items)[-MOST_CODES:] for items in validation.asked_histories]
    llm = semantic_ids.score(full.model(), base.vocabulary, ids, known, np.maximum(lists.items, 0))
    yield {
        "name": SEMANTIC,
        "parameters": full.parameters(base.projection.width),
        **validation.accuracy(llm),
        **_attacked(validation, histories, train(base, inside, settings), MOST_CODES),
        **_how(full, settings),
        "tokens per item": LEVELS,
        "items that share their codes": ids.shared,
    }


def reranker_rows(validation: Validation) -> Iterator[Row]:
    """The candidate model: what everything is held against.

    Its numbers are also attacked with those of a reranker of the other half as the reference, which is the strongest of
    these attacks: it takes out everything but who was learned from.
    """
    started = time.process_time()
    fitted = validation.halved
    seconds = time.process_time() - started
    lists, others = fitted.splits[0], validation.fit(~validation.members)
    reached = lists.log_probability(lists.scores(fitted.reranker))
    opposite = others.splits[0].log_probability(others.splits[0].scores(others.reranker))
    against = attacks(reached, opposite, validation.members[lists.users], SEED)
    yield {
        "name": READER,
        "parameters": _numbers(fitted.reranker),
        **validation.accuracy(validation.asked[1]),
        **_listwise_attacks(validation, lists, reached),
        **{name.replace("calibrated", "other half"): value for name, value in against.items() if "calibrated" in name},
        "training cpu s": round(seconds, 1),
    }


def bucket_rows(validation: Validation) -> Iterator[Row]:
    """A language model that reads bucket tokens. For the attack it learns from members, as does the reranker below."""
    settings = BucketSettings(candidates=CANDIDATES)
    started = time.process_time()
    full = BucketReader.fit(validation.fitted, validation.reranker, settings)
    seconds = time.process_time() - started
    attacked = BucketReader.fit(validation.halved, validation.reranker, settings)
    lists = validation.halved.splits[0]
    yield {
        "name": BUCKETS,
        "parameters": full.parameters,
        **validation.accuracy(full.log_probabilities(*validation.asked)),
        **_listwise_attacks(validation, lists, attacked.answers(lists)),
        "training cpu s": round(seconds, 1),
        "epochs": settings.epochs,
        "dropout": settings.dropout,
        "decay": settings.decay,
    }


def _read(validation: Validation, trained: Trained, context: int) -> Row:
    logs = next_items(trained.model(), trained.base.vocabulary, validation.asked_histories, context)
    lists, _ = validation.asked
    llm = np.take_along_axis(logs, np.maximum(lists.items, 0), axis=1)
    return {"ndcg@10 of all": validation.whole(logs), **validation.accuracy(llm)}


def _attacked(validation: Validation, histories: list[Integers], trained: Trained, context: int) -> Row:
    """Attacks by the mean log-likelihood of everybody's own history; the reference is the base."""
    reached, reference = (
        likelihoods(model, trained.base.vocabulary, histories, context)
        for model in (trained.model(), trained.base.model)
    )
    return attacks(reached, reference, validation.members, SEED)


def _listwise_attacks(validation: Validation, lists: CandidateLists, reached: Floats) -> Row:
    """Attacks by the log-probability of each user's last known positive, with statistics that lack it.

    The reference is the built-in reranker, whose numbers were learned from no person.
    """
    reference = lists.log_probability(lists.scores(Reranker.default()))
    return attacks(reached, reference, validation.members[lists.users], SEED)


def _how(trained: Trained, settings: AdapterSettings) -> Row:
    fields = {"epochs": settings.epochs, "dropout": settings.dropout, "decay": settings.decay}
    return {"training cpu s": round(trained.seconds, 1), **fields}


def _numbers(reranker: Reranker) -> int:
    networks = sum(
        getattr(network, name).size for network in reranker.networks for name in network.__dataclass_fields__
    )
    return int(networks) + 3 * (reranker.coarse_weights.size + reranker.fine_weights.size)  # weight, mean and scale


def main() -> None:
    """Run the benchmark; each row is written as soon as it is there."""
    arguments = _arguments()
    torch.set_num_threads(1)
    benchmark = read_or_exit(arguments.dataset)
    validation = Validation(benchmark, item_vectors(benchmark.texts))
    every = _earlier()
    rows = every.setdefault(benchmark.name, [])
    if not arguments.keep:
        rows.clear()
    for name in arguments.variants.split(","):
        if not any(row["name"] == name for row in rows):
            _append(rows, rows_of(name, validation, arguments.epochs), every)


def _append(rows: list[Row], new: Iterable[Row], every: Mapping[str, list[Row]]) -> None:
    for row in new:
        sys.stderr.write(f"{row}\n")
        rows.append(row)
        write_results("compact_variants", rows, SEED, every)


def _earlier() -> dict[str, list[Row]]:
    path = RESULTS / "compact_variants.json"
    document = orjson.loads(path.read_bytes()) if path.exists() else {}
    return {name: document[name] for name in DATASETS if name in document}


def _arguments() -> Any:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="ml-100k", choices=DATASETS)
    parser.add_argument("--epochs", type=int, default=30, help="passes over the people")
    parser.add_argument("--variants", default=",".join(NAMES), help=f"comma-separated: {', '.join(NAMES)}")
    parser.add_argument("--keep", action="store_true", help="keep the rows that are there, and add the others")
    arguments = parser.parse_args()
    unknown = set(arguments.variants.split(",")) - set(NAMES)
    if unknown:
        parser.error(f"there is no variant named {', '.join(sorted(unknown))}: choose from {', '.join(NAMES)}")
    return arguments


if __name__ == "__main__":
    main()
