"""Tries every layer, also those behind one that fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

from rag_rec.errors import RagRecError
from rag_rec.layers.finding import FINAL, Finding, Status
from rag_rec.layers.protocol import Layer
from rag_rec.layers.records import Group, deadline_of

FAILED: Final = "This step failed, and is tried again."


def attempt(
    layers: Sequence[Layer], group: Group, lap: Callable[[str], None]
) -> tuple[list[list[Finding]], list[Exception]]:
    """Remove from every layer once, then look at every layer: a long reader of the database keeps back no index file.

    Args:
        layers: in their order.
        group: the requests.
        lap: called with a layer's name when its removal, and when the look at it, has ended.

    Returns:
        What was found of each request, in the order of the layers, and what failed. Of a layer that failed nothing is
        final: it may have left what is not looked for. Only errors of the product and of the operating system are held
        back.
    """
    failed: dict[str, list[Exception]] = {layer.name: [] for layer in layers}
    for layer in layers:
        with noted_in(failed[layer.name]):
            layer.remove(group)
        lap(str(layer.name))
    findings: list[list[Finding]] = [[] for _ in group]
    for layer in layers:
        with noted_in(failed[layer.name]):
            for said, finding in zip(findings, layer.look(group), strict=True):
                said.append(_kept_open(finding, group) if failed[layer.name] else finding)
        lap(str(layer.name))
    return findings, [failure for failures in failed.values() for failure in failures]


@contextmanager
def noted_in(failures: list[Exception]) -> Iterator[None]:
    """Errors of the product and of the operating system are put into the list, and keep back nothing that follows."""
    try:
        yield
    except (RagRecError, OSError) as error:
        failures.append(error)


def _kept_open(finding: Finding, group: Group) -> Finding:
    """What was found in a layer whose removal failed."""
    if finding.status not in FINAL:
        return finding
    return replace(finding, status=Status.PENDING, why=FAILED, until=deadline_of(group))
