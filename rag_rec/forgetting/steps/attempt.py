"""Tries every step, also those behind one that fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

from rag_rec.errors import RagRecError
from rag_rec.forgetting.steps.protocol import Group, Step, deadline_of
from rag_rec.layers.finding import FINAL, Finding, Status

FAILED: Final = "This step failed, and is tried again."


def attempt(steps: Sequence[Step], group: Group, lap: Callable[[str], None]) -> tuple[list[Finding], list[Exception]]:
    """Run every step once, whatever becomes of the others: a long reader of the database keeps back no index file.

    Args:
        steps: in their order.
        group: the requests.
        lap: called with a step's name when it has ended.

    Returns:
        What was found, and what failed, each in the order of the steps. Of a step that failed no layer is final: it may
        have left what nobody looks for. Only errors of the product and of the operating system are held back.
    """
    findings: list[Finding] = []
    failures: list[Exception] = []
    for step in steps:
        failed: list[Exception] = []
        with noted_in(failed):
            step.act(group)
        with noted_in(failed):
            found = step.verify(group)
            findings += [_kept_open(finding, group) for finding in found] if failed else found
        failures += failed
        lap(step.name)
    return findings, failures


@contextmanager
def noted_in(failures: list[Exception]) -> Iterator[None]:
    """Errors of the product and of the operating system are put into the list, and keep back nothing that follows."""
    try:
        yield
    except (RagRecError, OSError) as error:
        failures.append(error)


def _kept_open(finding: Finding, group: Group) -> Finding:
    """What was found after a step that failed."""
    if finding.status not in FINAL:
        return finding
    return replace(finding, status=Status.PENDING, why=FAILED, until=deadline_of(group))
