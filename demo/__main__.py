"""The demonstration from the command line: ``python -m demo`` in a checkout, or ``make demo``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from demo.parameters import WorldParameters
from demo.story import Story
from rag_rec.artifacts.private import OTHERS
from rag_rec.commands.app import Json, command, progress_console

DEFAULTS = WorldParameters()
WIDTH = 120

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
@command
def demo(
    folder: Annotated[Path, typer.Option(help="Where to work; what an earlier demo left is replaced.")] = Path(".demo"),
    items: Annotated[int, typer.Option(min=100, help="Films in the catalogue.")] = DEFAULTS.items,
    users: Annotated[int, typer.Option(min=20, help="Simulated people.")] = DEFAULTS.users,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the world.")] = DEFAULTS.seed,
    json: Json = False,
) -> Mapping[str, Any]:
    """Run everything on a simulated world: ingest, build, serve, recommend, learn, forget, rebuild."""
    parameters = WorldParameters(seed=seed, users=users, items=items)
    result = Story(folder.resolve(), parameters, _console(json)).run()
    return result if json else {}


def _console(json: bool) -> Console:
    """Where the story is told: beside the JSON object, or on stdout, wide enough for its tables in a file, too."""
    if json:
        return progress_console
    console = Console()
    return console if console.is_terminal else Console(width=WIDTH)


if __name__ == "__main__":
    os.umask(OTHERS)  # the folder holds the home of a system
    app()
