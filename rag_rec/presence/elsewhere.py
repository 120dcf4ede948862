"""What a finding about files becomes by what is known of the other places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rag_rec.layers.finding import LATER, Finding, Status
from rag_rec.layers.records import Group, deadline_of, erased_at
from rag_rec.presence.awaited import awaited, named, unseen
from rag_rec.store.records import Place

PLACES = "places"
"""Name of the detail that says how many places a finding waits for."""

UNTIL_BACK = (
    "Each is cleaned when a service opens it, or by `rag-rec place clean` there; one whose disk is gone is taken out "
    "with rag-rec place retire ID --reason TEXT."
)


def in_every_place(finding: Finding, group: Group, places: Sequence[Place], own: str | None) -> Finding:
    """What was found in this folder, joined with what the other places have reported.

    PROVEN stays where every place in use has looked at its files since the erasure. Places that were taken out of use
    before they had are named, and make it OUT_OF_SCOPE.
    """
    if finding.status is not Status.PROVEN:
        return finding
    waiting = awaited(places, erased_at(group), own)
    if waiting:
        why = f"{len(waiting)} other data folders have not looked at their files since: {named(waiting)}. {UNTIL_BACK}"
        detail = {**finding.detail, PLACES: len(waiting), "awaited": named(waiting)}
        return replace(finding, status=Status.PENDING, why=why, until=deadline_of(group), detail=detail)
    lost = unseen(places, erased_at(group), min(record.created for record in group))
    if lost:
        reasons = "; ".join(f"{place.name} ({place.reason})" for place in lost)
        why = f"{finding.why} Not looked at, since they were taken out of use before: {reasons}."
        return replace(finding, status=Status.OUT_OF_SCOPE, why=why, detail={**finding.detail, "retired": len(lost)})
    return finding


def waits_for_places(findings: Sequence[Finding]) -> bool:
    """Whether there is nothing to do for a request, as far as its receipt says, until other places have reported."""
    pending = [finding for finding in findings if finding.status is Status.PENDING and finding.layer not in LATER]
    return bool(pending) and all(PLACES in finding.detail or "owing" in finding.detail for finding in pending)
