"""The seam between a removal and the places that a person's data reaches.

Every room that holds personal data brings a layer. A removal knows this protocol and no room: the engine hands it the
list (:mod:`rag_rec.engine.system`). To add a layer, write one, and add it to that list.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, runtime_checkable

from rag_rec.layers.finding import Finding, Status
from rag_rec.layers.records import ForgetState, Group, Target

Preview = Mapping[str, int | str | tuple[str, ...] | None]
"""What a dry run says of a layer: counts, digests or words, by the names that a plan has for them."""


class Layer(Protocol):
    """A place that a person's data reaches.

    Attributes:
        name: as receipts call it.
        state: the state that a request cannot reach before the layer is final: ``erased``, ``effective``,
            ``unlearned`` or ``complete``; None where a request does not wait for it (a :class:`LaterLayer`).
    """

    @property
    def name(self) -> str:
        """See the class."""

    @property
    def state(self) -> ForgetState | None:
        """See the class."""

    def preview(self, targets: Sequence[Target]) -> Preview:
        """What would go, for the dry run. Removes nothing."""

    def prepare(self, targets: Sequence[Target]) -> AbstractContextManager[None]:
        """Around the acceptance of a request: what has to be known or computed before the store lets go of a person.

        An error inside means that the request was not accepted.
        """

    def remove(self, group: Group) -> None:
        """Remove what the requests mean. Called after their acceptance, any number of times."""

    def look(self, group: Group) -> Sequence[Finding]:
        """Look, on its own and whatever ``remove`` did, whether anything is left: one finding for each request, in
        their order. The requests may be effective already, and have no user number any more, where ``state`` is later
        than that."""


@runtime_checkable
class LaterLayer(Layer, Protocol):
    """A layer for which no request waits: a later revision of the receipt says that it is final."""

    def due(self, *, all_of_them: bool = False) -> Sequence[str]:
        """Ids of requests of whose receipts more can be said now.

        Args:
            all_of_them: also where nothing is known to have happened since receipts were last looked at.
        """

    def settle(self) -> None:
        """Called when :meth:`due` gave nothing: what was kept for receipts that waited can go."""


class QuietLayer:
    """What most layers have in common: nothing to say before a removal, and nothing to do."""

    def preview(self, targets: Sequence[Target]) -> Preview:  # noqa: ARG002 - the protocol's signature
        """Nothing."""
        return {}

    def prepare(self, targets: Sequence[Target]) -> AbstractContextManager[None]:  # noqa: ARG002
        """Nothing."""
        return nullcontext()

    def remove(self, group: Group) -> None:
        """Nothing has to be done."""


def found(layer: str, gone: bool, proof: str, rest: str, until: int, **detail: str | int | float | None) -> Finding:
    """PROVEN with ``proof`` where nothing is left, else PENDING with ``rest``, which says what is there still."""
    if gone:
        return Finding(layer, Status.PROVEN, proof, None, detail)
    return Finding(layer, Status.PENDING, rest, until, detail)
