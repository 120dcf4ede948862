"""What a receipt says of the fusion reranker: a few thousand numbers shared by all, fitted anew by each build."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Final

from rag_rec.candidates.reranker import Reranker
from rag_rec.errors import RagRecError
from rag_rec.evaluation.membership import LEAST_PEOPLE, Membership
from rag_rec.index.generation import Generation, Generations
from rag_rec.layers.finding import Finding, LayerName, Status
from rag_rec.layers.protocol import QuietLayer
from rag_rec.layers.records import ForgetState, Group

REBUILD: Final = "the next rebuild fits them anew"


class RerankerLayer(QuietLayer):
    """Says what the reranker of the index in use may remember. Removes nothing: the next rebuild fits another one."""

    name = LayerName.READER
    state = ForgetState.COMPLETE

    def __init__(self, generations: Generations) -> None:
        self._generations = generations

    def look(self, group: Group) -> Sequence[Finding]:
        """What is known of each request, by the reranker at this moment."""
        findings = ReaderFindings(self._generations)
        return [findings.of(record.epoch_after) for record in group]


class ReaderFindings:
    """The reranker of the index in use at one moment: it is looked up once for any number of requests."""

    def __init__(self, generations: Generations) -> None:
        self._generations = generations

    def of(self, erased: int) -> Finding:
        """PROVEN where it cannot know what was erased, MEASURED where the build measured what its own reranker
        remembers, and OUT_OF_SCOPE with the reason where it did not.

        Args:
            erased: the erasure epoch.
        """
        name = self._generations.current_id()
        if name is None:
            return Finding(LayerName.READER, Status.PROVEN, "No reranker has been fitted.")
        if self._reader is None:
            why = f"The index in use is damaged, so that its reranker cannot be looked at; {REBUILD}."
            return Finding(LayerName.READER, Status.OUT_OF_SCOPE, why)
        generation, reranker = self._reader
        if not reranker.examples:
            why = "The reranker of the index in use is the built-in one, whose numbers were learned from no person."
            return Finding(LayerName.READER, Status.PROVEN, why)
        fitted = generation.manifest.epoch if generation.manifest.reader_fitted else None
        if fitted is not None and fitted >= erased:
            why = "The reranker of the index in use was fitted after the erasure."
            return Finding(LayerName.READER, Status.PROVEN, why)
        when = "perhaps fitted before the erasure" if fitted is None else "fitted before the erasure"
        return _remembered(f"A few thousand numbers shared by all people, {when}", reranker.membership)

    @cached_property
    def _reader(self) -> tuple[Generation, Reranker] | None:
        """The generation in use and its reranker; None where it is damaged."""
        try:
            generation = self._generations.current()
            return generation, Reranker.load(generation.folder / "reader", generation.fitted_in)
        except RagRecError:
            return None


def _remembered(what: str, measured: Membership | None) -> Finding:
    """What is known of what the numbers remember."""
    if measured is None:
        why = f"{what}; what they remember was not measured: the index is of an earlier version. {REBUILD.capitalize()}"
        return Finding(LayerName.READER, Status.OUT_OF_SCOPE, f"{why} and measures it.")
    people: dict[str, str | int | float | None] = {
        "members": measured.members,
        "held_out": measured.held_out,
        "generation": measured.generation,
    }
    if measured.auc is None:
        why = f"{what}; what they remember was not measured: the index has too few people, {LEAST_PEOPLE} are needed in"
        return Finding(
            LayerName.READER, Status.OUT_OF_SCOPE, f"{why} the fit and {LEAST_PEOPLE} beside it.", None, people
        )
    why = (
        f"{what}; {REBUILD}. Of this system's own reranker, an attack tells members from people kept out of its fit "
        f"with an AUC of {measured.auc:.3f} (95 % interval {measured.low:.3f} to {measured.high:.3f}; .5 is a guess)."
    )
    figure = {"membership_inference_auc": measured.auc, "low": measured.low, "high": measured.high}
    return Finding(LayerName.READER, Status.MEASURED, why, None, {**figure, "attack": measured.attack, **people})
