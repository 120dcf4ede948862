"""The commands ``rag-rec adapter unlearn | retrain | list``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from typing import Annotated, Any, Literal

import typer

from indexer.compact_training import (
    Context,
    Device,
    DeviceOption,
    Epochs,
    HeldOut,
    Rank,
    Reserve,
    Shards,
    Together,
    changed,
    train,
)
from rag_rec.adapters.folder import AdapterStore
from rag_rec.adapters.policy import NEVER, AdapterPolicy
from rag_rec.adapters.removal import waiting
from rag_rec.clock import iso
from rag_rec.commands.app import command
from rag_rec.commands.printing import Answer
from rag_rec.errors import needs
from rag_rec.home.opening import check_system, existing_store_of
from rag_rec.settings import Settings
from rag_rec.store.protocol import Store

app = typer.Typer(help="Take the forgotten out of the adapter, and see which adapters saw them.", no_args_is_help=True)


@app.command("retrain")
@command
def retrain(  # noqa: PLR0913 - one parameter for each option
    epochs: Epochs = None,
    rank: Rank = None,
    context: Context = None,
    held_out: HeldOut = None,
    reserve: Reserve = None,
    shards: Shards = None,
    together: Together = None,
    device: DeviceOption = Device.AUTO,
) -> Mapping[str, Any]:
    """Train the adapter in use again, the same way and without the forgotten, and put it to use.

    The adapters that saw them are destroyed, and forget requests that waited for it are settled. Options that are not
    given are as they were. Interrupted, the same command goes on where it was.
    """
    with needs("llm"):
        from indexer.compact_build import choose_device  # noqa: PLC0415 - imports torch
        from indexer.retraining import Retraining, settings_in_use  # noqa: PLC0415 - imports torch

    settings = Settings()
    check_system(settings)
    before = settings_in_use(AdapterStore(settings.compact), choose_device(device.value), settings.seed)
    adapter = {"epochs": epochs, "rank": rank, "context": context, "held_out": held_out, "reserve": reserve}
    adapter |= {"shards": shards, "together": together}
    done = train(
        "adapter retrain", settings, changed(before, {}, adapter), lambda builder: Retraining(builder).remove([])
    )
    how_removed = {"removal": Retraining.name, "exact": Retraining.exact}
    return Answer(how_removed | done, how_removed | dict(done.words))


Method = Annotated[
    Literal["retrain", "shards", "influence"] | None,
    typer.Option(
        help="`retrain` is exact. `shards` is exact too, and trains only the shards again that held somebody: it needs "
        "an adapter built with `--shards`. `influence` trains nothing: it suppresses people, is tried on others first, "
        "and is measured. Default: RAGREC_ADAPTER_METHOD."
    ),
]

Damping = Annotated[
    float | None,
    typer.Option(
        min=1e-9,
        help="Of `influence`: a larger one spares the others and leaves more of those who are to go. Default: one "
        "divided by three quarters of the steps of the training, and more where a trial goes too far.",
    ),
]


@app.command("unlearn")
@command
def unlearn(method: Method = None, damping: Damping = None, device: DeviceOption = Device.AUTO) -> Mapping[str, Any]:
    """Take everybody out of the adapter in use whose forget request waits for it, and settle these requests.

    The adapter that saw them is destroyed, and a running service takes up the new one. A removal that is not exact is
    refused where its trial fails, and where RAGREC_ADAPTER_BUDGET is spent the adapter is trained again. Interrupted,
    the same command goes on, or begins anew.
    """
    settings = Settings()
    check_system(settings)
    compact = AdapterStore(settings.compact)
    with closing(existing_store_of(settings)) as store:
        requests = waiting(compact, store)
    with needs("llm"):
        from indexer.compact_build import choose_device  # noqa: PLC0415 - imports torch
        from indexer.retraining import settings_in_use  # noqa: PLC0415 - imports torch
        from indexer.unlearning import Method as Known  # noqa: PLC0415 - imports torch
        from indexer.unlearning import Plan  # noqa: PLC0415 - imports torch

    plan = Plan.of(compact, requests, Known(method or settings.adapter_method), settings.adapter_budget)
    before = settings_in_use(compact, choose_device(device.value), settings.seed)
    done = train("adapter unlearn", settings, before, lambda builder: plan.removal(builder, damping).remove(requests))
    how_removed = {
        "removal": plan.method.value,
        "exact": plan.method.exact,
        "requests": len(requests),
        "instead": plan.why,
    }
    return Answer(how_removed | done, how_removed | dict(done.words))


@app.command("list")
@command
def list_adapters() -> Mapping[str, Any]:
    """The adapters: whom each saw, in numbers, how many forget requests wait for it, and until when it may rank."""
    settings = Settings()
    compact = AdapterStore(settings.compact)
    with closing(existing_store_of(settings)) as store:
        return _listed(settings, compact, store)


def _listed(settings: Settings, compact: AdapterStore, store: Store) -> Mapping[str, Any]:
    used, policy = compact.current(), AdapterPolicy(store, settings)
    debts = Counter(debt.adapter for debt in store.debts())
    suppressed = Counter(each.adapter for each in store.measured_removals())
    adapters = [
        {
            "digest": digest,
            "current": used is not None and used.adapter == digest,
            "epoch": compact.epoch_of_adapter(digest),
            "users": len(store.lineage(digest)),
            "debts": debts[digest],
            "suppressed": suppressed[digest],
            "may_serve_until": _time(policy.limit(digest)),
        }
        for digest in compact.adapter_digests()
    ]
    return {"adapter": used and used.adapter, "policy": settings.adapter_policy, "adapters": adapters}


def _time(limit: int | None) -> str | None:
    """ISO 8601; ``never`` where it may not rank at all, None where it may without limit."""
    if limit == NEVER:
        return "never"
    return None if limit is None else iso(limit, "seconds")
