"""The part of the gate that is about fairness: the exposure control is learned, and the LLM's order judged.

Both are measured on the answers that the gate asks for anyway (:mod:`indexer.gate`). The control is learned first, for
the fused and for the candidates' order; then the order that would be served with the LLM is held against the one that
would be served without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from indexer.fairness import CANDIDATES, FUSED, order_of, world_of
from indexer.gate import Asked
from rag_rec.errors import InvalidInput
from rag_rec.evaluation.ranking import DEPTH
from rag_rec.fairness.control import POPULARITY, PROVIDER, Control, Grouping, Strengths, most_shown
from rag_rec.fairness.controlling import Aim, Order, cross_fitted, learned
from rag_rec.fairness.groups import Numbers
from rag_rec.fairness.judgement import judgement, rounded
from rag_rec.fairness.metric import change
from rag_rec.fairness.named import World, grouped, named
from rag_rec.fairness.served import NO_ITEM, Floats, Served
from rag_rec.index.serving_state import ServingState
from rag_rec.progress.protocol import Progress
from rag_rec.recommend.fusion import Trials
from rag_rec.recommend.gate import NOTHING, Gate
from rag_rec.settings import Settings

OF_THE_HEAD: Final = ("popularity", "aplt", "arp")
"""Figures for which the head alone is held back; for the others that name no attribute, the bands of popularity."""


@dataclass(frozen=True, slots=True)
class FairGate:
    """Completes a gate with what the settings ask for.

    Attributes:
        live: the state of the system.
        asked: what was said to the people asked.
        settings: name the figures and the budget.
        progress: hears how far it has come.
    """

    live: ServingState
    asked: Asked
    settings: Settings
    progress: Progress

    def of(self, gate: Gate) -> Gate:
        """The gate with its control and its figures of fairness; closed where by one of them the LLM is less fair.

        Raises:
            InvalidInput: there is no figure of a name, or its groups cannot be compared.
        """
        if not self.settings.exposure_figures and not self.settings.fairness_figures:
            return gate
        world = world_of(self.live, self.asked)
        control = self._control(gate, world) if self.settings.exposure_figures else None
        if gate.model == NOTHING:
            return replace(gate, control=control)
        without, fused = (self._served(gate, control, name) for name in (CANDIDATES, FUSED))
        figures = [named(name, world) for name in dict.fromkeys(self.settings.fairness_figures)]
        told = {each.name: rounded(*change(each, without, fused, self.settings.seed)) for each in figures}
        judged = replace(gate, control=control, fairness=told)
        return replace(judged, use=gate.use and not judged.unfair)

    def _served(self, gate: Gate, control: Control | None, name: str) -> Served:
        groupings = () if control is None else control.groupings
        held = [] if control is None else control.held(fused=name == FUSED)
        return self._order(gate, name, groupings).served(held)

    def _order(self, gate: Gate, name: str, groupings: Sequence[Grouping]) -> Order:
        return order_of(self.live, self.asked, scores_of(self.asked.trials, gate, name), DEPTH, groupings)

    def _control(self, gate: Gate, world: World) -> Control:
        names = list(dict.fromkeys(self.settings.exposure_figures))
        aim = Aim([named(name, world) for name in names], self.settings.exposure_budget)
        shown = self.asked.items[self.asked.items != NO_ITEM]
        groupings = list({_by(name): grouping_of(name, world, shown) for name in names}.values())
        found = {name: [np.zeros(len(each.names)) for each in groupings] for name in (CANDIDATES, FUSED)}
        judged: dict[str, Any] = {}
        for name in [CANDIDATES] if gate.model == NOTHING else found:
            self.progress.stage(f"exposure control of the {name} order", 0)
            found[name], judged[name] = self._learned(self._order(gate, name, groupings), aim, groupings)
        pairs = zip(groupings, found[FUSED], found[CANDIDATES], strict=True)
        strengths = tuple(Strengths(by, tuple(fused.tolist()), tuple(rest.tolist())) for by, fused, rest in pairs)
        return Control(tuple(self.settings.exposure_figures), aim.budget, strengths, judged)

    def _learned(self, order: Order, aim: Aim, groupings: Sequence[Grouping]) -> tuple[list[Floats], dict[str, Any]]:
        """Strengths, all 0 where on others than they were learned from they make nothing fairer at their price."""
        groups, seed = [len(grouping.names) for grouping in groupings], self.settings.seed
        before, after = order.served(), cross_fitted(order, aim, groups, seed)
        judged = judgement(aim.figures, before, after, seed)
        fairer = any(high < 0.0 for _, _, high in judged["figures"].values())
        worse = any(low > 0.0 for _, low, _ in judged["figures"].values())
        kept = fairer and not worse and judged["loss"] <= aim.budget
        found = learned(order, aim, groups) if kept else [np.zeros(count) for count in groups]
        return found, judged | {"kept": kept}


def scores_of(trials: Trials, gate: Gate, name: str) -> Floats:
    """The scores of an order by its name."""
    return trials.fused(gate.weight) if name == FUSED else trials.candidates


def _by(name: str) -> tuple[str, bool]:
    """What the groups of a figure are by; and whether all bands of popularity are meant, where they are by that."""
    what, *rest = name.split(":")
    if what == "exposure":
        return rest[0], False
    if len(rest) > 1:
        return rest[1], False
    return POPULARITY, name not in OF_THE_HEAD


def grouping_of(name: str, world: World, shown: Numbers) -> Grouping:
    """The groups that are held back for a figure.

    Args:
        name: of the figure.
        world: what it is made from.
        shown: item numbers of candidates; where there are many groups, those that are there most have a strength.

    Raises:
        InvalidInput: the groups are of numbers.
    """
    by, whole = _by(name)
    if by == POPULARITY:
        return Grouping.by_popularity(world.popularity, whole=whole)
    values = world.items[by]
    if any(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        raise InvalidInput(
            f"Items cannot be held back by {by!r}, whose values are numbers: choose an attribute of words, "
            f"{PROVIDER!r} or {POPULARITY!r}."
        )
    return Grouping(by, most_shown(grouped(values), shown))
