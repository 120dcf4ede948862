"""What the files for Docker say, and what they may name."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import typer
import yaml
from fastapi import FastAPI
from typer.core import TyperGroup

from rag_rec.commands.app import build_app

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"
COMPOSE: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


def answers(app: FastAPI, path: str) -> bool:
    return "get" in cast(dict[str, Any], app.openapi()["paths"]).get(path, {})


def check_command(words: list[str]) -> None:
    """The words are a command of ``rag-rec``, with options that it has."""
    command: Any = typer.main.get_command(build_app())
    while isinstance(command, TyperGroup):
        assert words, f"{command.name} needs a subcommand"
        assert words[0] in command.commands, f"{words[0]} is no command of {command.name}"
        command, words = command.commands[words[0]], words[1:]
    options = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= options
