"""What the demonstration prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rag_rec.domain import Interaction, Item, Strategy
from rag_rec.proof.forensics import Traces

SHOWN_HISTORY = 6
SHOWN_ITEMS = 5


class Narration:
    """Prints the steps on a console."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._steps = 0

    def step(self, title: str, explanation: str) -> None:
        """Begin a step."""
        self._steps += 1
        self._console.print()
        self._console.rule(f"[bold]{self._steps}. {title}[/bold]", align="left")
        self._console.print(escape(explanation), style="dim")

    def line(self, text: str) -> None:
        """A line of text."""
        self._console.print(escape(text))

    def facts(self, facts: Mapping[str, Any]) -> None:
        """Names and values, nested ones in one line."""
        for name, value in facts.items():
            self._console.print(f"  [cyan]{escape(name)}[/cyan]  {escape(_short(value))}", highlight=False)

    def gate(self, gate: Mapping[str, Any] | str) -> None:
        """Whether the LLM ranks, and why."""
        if isinstance(gate, str):
            self.line(f"The gate: {gate}. The LLM takes no part, and the candidates' order is the answer.")
        elif gate["use"]:
            self.line(f"The gate is {gate['decision']}. The LLM ranks, together with the candidates' scores.")
        else:
            self.line(
                f"The gate is {gate['decision']}. The LLM takes no part in this world: the candidates' order is the "
                "answer, and everything else that is shown holds in the same way."
            )

    def rows(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """A table."""
        columns = [name for name, value in rows[0].items() if not isinstance(value, dict | list)]
        table = Table(*columns)
        for row in rows:
            table.add_row(*(escape(_short(row.get(column))) for column in columns))
        self._console.print(table)

    def history(self, user_id: str, interactions: Sequence[Interaction], items: Sequence[Item]) -> None:
        """The newest interactions of a user."""
        titles = _titles(items)
        newest = interactions[-SHOWN_HISTORY:]
        self._console.print(f"{user_id} has {len(interactions)} interactions, the newest of which are:")
        for row in newest:
            opinion = f"{row.value:.0f} stars" if row.value is not None else row.event
            self._console.print(f"  {opinion:>9}  {escape(titles[row.item_id])}", highlight=False)

    def recommendations(self, answers: Mapping[Strategy, Mapping[str, Any]], items: Sequence[Item]) -> None:
        """Each recommended film, and for every strategy the interaction that it is put down to most."""
        titles = _titles(items)
        table = Table("recommended", *(f"because of ({strategy})" for strategy in answers), show_lines=True)
        first = next(iter(answers.values()))
        listed = [{item["item_id"]: item for item in answer["items"]} for answer in answers.values()]
        for item in first["items"]:
            reasons = [_because(items_of.get(item["item_id"]), titles) for items_of in listed]
            table.add_row(escape(titles[item["item_id"]]), *map(escape, reasons))
        self._console.print(table)
        provenance = dict(first["provenance"])
        provenance["evidence_tokens"] = {str(s): a["provenance"]["evidence_tokens"] for s, a in answers.items()}
        provenance.pop("strategy")
        self.facts(provenance)

    def learnt(  # noqa: PLR0913 - both answers and what happened between them
        self,
        taken: str,
        sequel: str | None,
        places: Sequence[int | None],
        before: Mapping[str, Any],
        after: Mapping[str, Any],
        items: Sequence[Item],
    ) -> None:
        """Two answers beside each other, and the event between them."""
        titles = _titles(items)
        self.line(f"{titles[taken]} is watched and gets five stars.")
        table = Table(*(f"{when} (epoch {answer['provenance']['epoch']})" for when, answer in _both(before, after)))
        for old, new in list(zip(before["items"], after["items"], strict=False))[:SHOWN_ITEMS]:
            table.add_row(escape(titles[old["item_id"]]), escape(titles[new["item_id"]]))
        self._console.print(table)
        if sequel is not None:
            was, now = (f"place {place}" if place else f"not among the first {len(after['items'])}" for place in places)
            self.line(f"Its next part, {titles[sequel]}: {was} before, {now} after.")

    def forgotten(
        self,
        planned: Mapping[str, Any],
        outcome: Mapping[str, Any],
        before: Traces,
        after: Traces,
        facts: Mapping[str, Any],
    ) -> None:
        """What a forget removed, by layer, and what is left."""
        table = Table("would be touched (dry run)", "")
        for layer in ("users", "interactions", "statistics", "profile_vectors", "own_vectors", "index_files"):
            table.add_row(layer, str(planned[layer]))
        table.add_row("adapters that saw the person", str(len(planned["adapters"])))
        self._console.print(table)
        sides = Table("", "before", "after")
        sides.add_row("interactions to export", str(facts["interactions_exported_before"]), "404")
        sides.add_row("the id in files (occurrences)", str(before.occurrences), str(after.occurrences))
        sides.add_row("files scanned", str(before.scanned), str(after.scanned))
        provenance = facts["provenance_after"]
        sides.add_row("known user", "True", str(provenance["known_user"]))
        sides.add_row("source of the answer", facts["source_before"], provenance["source"])
        self._console.print(sides)
        self.line(f"Took {sum(outcome['timings_ms'].values()):.0f} ms.")

    def layers(self, receipt: Mapping[str, Any]) -> None:
        """What a receipt says of each layer."""
        table = Table("layer", "status", "why")
        for line in receipt["layers"]:
            table.add_row(line["layer"], line["status"], line["why"])
        self._console.print(table)

    def end(self, seconds: float, folder: Path) -> None:
        """The last words."""
        self._console.print()
        self._console.rule("[bold green]Everything held[/bold green]", align="left")
        self.line(f"{seconds:.0f} s. World, store, index and log are in {folder}.")


def _titles(items: Sequence[Item]) -> dict[str, str]:
    return {item.id: str(item.attributes["title"]) for item in items}


def _because(item: Mapping[str, Any] | None, titles: Mapping[str, str]) -> str:
    reasons = item["reasons"] if item else []
    return f"{titles[reasons[0]['item_id']]} ({reasons[0]['weight']:.0%})" if reasons else "-"


def _both(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    return [("before", before), ("after", after)]


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_short(inner)}" for name, inner in value.items())
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
    return str(value)
