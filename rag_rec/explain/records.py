"""What an explanation is: a recommended item, the numbered evidence that may be cited, and a text that streams.

Needs no chat model and no LangChain; :mod:`rag_rec.explain.explainer` writes the text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from rag_rec.domain import Item, Recommendation, RecommendedItem
from rag_rec.errors import NotReady

Lookup = Callable[[str], Item]
Question = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class CitedEvidence:
    """One of the user's own interactions as an explanation may cite it: its number, and the item in words."""

    number: int
    item_id: str
    text: str
    event: str
    time: int
    weight: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an explanation.

    Attributes:
        cited: numbers of the evidence that the text cites, ascending.
        removed: how many sentences of the LLM were left out, because they named what was not given.
        written_by: ``llm``, or ``template`` where nothing that the LLM wrote could be used.
    """

    cited: tuple[int, ...]
    removed: int
    written_by: str


@dataclass(slots=True)
class Explanation:
    """The explanation of one item, written while it is read; ``outcome`` is there once it has been read to its end.

    Reading raises ``GeneratorFailure`` where the LLM fails, and ``NotReady`` where what the explanation rests on has
    been removed meanwhile.
    """

    item: RecommendedItem
    evidence: tuple[CitedEvidence, ...]
    outcome: Outcome | None = None
    text: Iterator[str] = field(default_factory=lambda: iter(()))

    def __iter__(self) -> Iterator[str]:
        """The text in whole sentences; for one reader."""
        return self.text


@dataclass(frozen=True, slots=True)
class Conditions:
    """On what an explanation goes on. Both are asked again and again, from the thread that reads.

    Attributes:
        valid: whether everything that the answer was computed from is still there.
        stopped: whether the reader has left.
    """

    valid: Question = lambda: True
    stopped: Question = lambda: False

    def check(self) -> None:
        """Raise ``NotReady`` unless the answer is still valid."""
        if not self.valid():
            raise NotReady("Data was removed or replaced while this explanation was being written: ask again.")


@dataclass(frozen=True, slots=True)
class ExplainedRecommendation:
    """A recommendation, and explanations of some of its items, to be read one after another."""

    recommendation: Recommendation
    explanations: tuple[Explanation, ...]
    conditions: Conditions = field(default_factory=Conditions)

    def __iter__(self) -> Iterator[Explanation]:
        """The explanations in turn; ``NotReady`` where what they rest on has been removed meanwhile."""
        for explanation in self.explanations:
            self.conditions.check()
            yield explanation


class Explains(Protocol):
    """Explains recommendations. Any number of threads may ask at once."""

    def explain(
        self, answer: Recommendation, item_id: str | None, lookup: Lookup, conditions: Conditions
    ) -> ExplainedRecommendation:
        """Explain one item of an answer, or all of them if ``item_id`` is None.

        Raises:
            InvalidInput: the item is not part of the answer.
        """

    def close(self) -> None:
        """Release the chat model's connections."""
