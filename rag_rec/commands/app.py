"""The command ``rag-rec``. Packages contribute commands through the entry point group ``rag_rec.commands``.

Every command takes ``--json``: then stdout is exactly one JSON object, progress goes to stderr, and the exit code is
0 only on success.
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from importlib.metadata import EntryPoint, entry_points
from inspect import Parameter
from typing import Annotated, Any, Final, ParamSpec

import orjson
import structlog
import typer
from pydantic import ValidationError
from pydantic_settings import SettingsError
from rich.console import Console
from typer.exceptions import TyperException

from rag_rec import __version__
from rag_rec.artifacts.private import OTHERS
from rag_rec.commands.printing import in_words
from rag_rec.errors import InvalidInput, InvalidSettings, MissingLibrary, RagRecError, needs
from rag_rec.settings import settings_problem

Json = Annotated[bool, typer.Option("--json", help="Print exactly one JSON object on stdout.")]
"""The option that every command has. A command returns its result as a mapping; :func:`command` prints it."""

_JSON = Parameter("json", Parameter.KEYWORD_ONLY, default=False, annotation=Json)

NEED_SERVING: Final = {"serving": ("serve", "openapi", "recommend"), "key": ("key",)}
"""Commands that need the extra ``serving``, by entry point."""

progress_console = Console(stderr=True)
P = ParamSpec("P")


def command(function: Callable[P, Mapping[str, Any]]) -> Callable[P, None]:
    """Wrap a command that returns its result: print it as JSON or in words, and turn errors into exit code 1.

    The command gets the option ``--json``. A function that has to know of it has a parameter ``json`` of type
    :data:`Json`.
    """
    signature = inspect.signature(function, eval_str=True)
    reads_json = "json" in signature.parameters

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        as_json = bool(kwargs.get("json", False))
        if not reads_json:
            kwargs.pop("json", None)
        try:
            result = function(*args, **kwargs)
        except RagRecError as error:
            print_failure(error, as_json)
            raise typer.Exit(1) from None
        except (SettingsError, ValidationError) as error:
            print_failure(InvalidSettings(settings_problem(error)), as_json)
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            print_failure(RagRecError("Interrupted; run the same command again to resume."), as_json)
            raise typer.Exit(130) from None
        print_result(result, as_json)
        if result.get("ok") is False:
            raise typer.Exit(1)

    if not reads_json:
        vars(run)["__signature__"] = signature.replace(parameters=[*signature.parameters.values(), _JSON])
    return run


def print_result(result: Mapping[str, Any], as_json: bool) -> None:
    """Print a command's result on stdout: as the one JSON object, or in words (:mod:`rag_rec.commands.printing`)."""
    if as_json:
        sys.stdout.write(orjson.dumps(result, option=orjson.OPT_NON_STR_KEYS).decode() + "\n")
        return
    typer.echo(in_words(result), nl=False)


def print_failure(error: RagRecError, as_json: bool) -> None:
    """Print an error: as the one JSON object on stdout, or in words on stderr."""
    if as_json:
        sys.stdout.write(orjson.dumps({"error": {"code": error.code, "message": str(error)}}).decode() + "\n")
    else:
        typer.echo(f"{typer.style('error', fg=typer.colors.RED, bold=True)} ({error.code}): {error}", err=True)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"rag-rec {__version__}")
        raise typer.Exit


def build_app() -> typer.Typer:
    """The command line application with the commands of every installed package."""
    app = typer.Typer(
        name="rag-rec",
        help="Recommend from retrieved evidence; forget a person completely.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    app.callback()(_options)
    for entry in sorted(entry_points(group="rag_rec.commands"), key=lambda entry: entry.name):
        app.add_typer(_commands(entry))
    return app


def _commands(entry: EntryPoint) -> typer.Typer:
    """The commands of an entry point. Those that an extra brings are named where it is missing; none is passed over."""
    try:
        with needs("serving") if entry.name in NEED_SERVING else nullcontext():
            loaded: typer.Typer = entry.load()
            return loaded
    except MissingLibrary as error:
        return _unavailable(NEED_SERVING[entry.name], error)


def _unavailable(names: Iterable[str], error: MissingLibrary) -> typer.Typer:
    """Commands that say which extra they need, whatever they are called with."""

    def fail() -> None:
        print_failure(error, "--json" in sys.argv)
        raise typer.Exit(1)

    app = typer.Typer()
    for name in names:
        anything = {"allow_extra_args": True, "ignore_unknown_options": True}
        app.command(name, help="Not installed: needs the extra `serving`.", context_settings=anything)(fail)
    return app


def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Recommend from retrieved evidence; forget a person completely."""


def main() -> None:
    """Run the command line. With ``--json``, a command that is called wrongly answers in JSON as well."""
    os.umask(OTHERS)  # what libraries write of people, and SQLite, is for its owner alone as well
    structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))  # stdout is for the result
    app = build_app()
    if "--json" not in sys.argv:
        app()
        return
    try:
        sys.exit(app(standalone_mode=False))
    except typer.Abort:
        print_failure(RagRecError("Interrupted; run the same command again to resume."), as_json=True)
        sys.exit(130)
    except TyperException as error:
        print_failure(InvalidInput(f"{error.format_message().rstrip('.')}. See the command's --help."), as_json=True)
        sys.exit(error.exit_code)
