"""Exact removal from the adapter: it is trained again, the same way, from the base in use and without the forgotten."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar

from indexer.compact_build import CompactBuilder, CompactSettings
from rag_rec.adapters.folder import AdapterStore
from rag_rec.adapters.removal import Removal
from rag_rec.compact.base import BaseSettings
from rag_rec.compact.training import AdapterSettings
from rag_rec.compact.walks import WalkSettings


@dataclass(frozen=True, slots=True)
class Retraining:
    """A :class:`rag_rec.adapters.removal.Removal` by training again. ``builder`` trains."""

    builder: CompactBuilder

    name: ClassVar[str] = "retrain"
    exact: ClassVar[bool] = True

    def remove(self, requests: Sequence[str]) -> str:  # noqa: ARG002 - nothing of the forgotten is in the store
        """See :meth:`rag_rec.adapters.removal.Removal.remove`; interrupted, it goes on where it was."""
        return self.builder.build().adapter.digest


if TYPE_CHECKING:
    _: type[Removal] = Retraining


def settings_in_use(compact: AdapterStore, device: str, seed: int) -> CompactSettings:
    """With what the base and the adapter in use were made.

    Args:
        compact: where they are.
        device: PyTorch's name of where to train now.
        seed: of an adapter, where none is in use.

    Raises:
        NotReady: there is no base yet.
        CorruptIndex: the base or the adapter in use is damaged.
    """
    base, adapter = compact.open_current()
    built = dict(base.manifest.settings)
    built["walks"] = WalkSettings(**built["walks"])
    trained = {"seed": seed} if adapter is None else dict(adapter.manifest.settings)
    if not trained.pop("held_out_given", False):  # chosen by the build, or the default of an earlier version
        trained.pop("held_out", None)
    return CompactSettings(
        BaseSettings(**_known(BaseSettings, built)), AdapterSettings(**_known(AdapterSettings, trained)), device
    )


def _known(kind: type[BaseSettings | AdapterSettings], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Those that are settings; a manifest holds results too."""
    return {each.name: settings[each.name] for each in fields(kind) if each.name in settings}
