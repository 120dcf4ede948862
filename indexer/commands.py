"""The commands ``rag-rec ingest`` and ``rag-rec dataset fetch``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

import indexer.audit_commands
import indexer.fairness_commands  # noqa: F401 - a command of `rag-rec audit`
from indexer.adapter_commands import app as adapter_app
from indexer.compact_commands import app as compact_app
from indexer.datasets import DATASETS, fetch
from indexer.debias_commands import app as debias_app
from indexer.generator_commands import app as generator_app
from indexer.index_commands import app as index_app
from indexer.ingest import Ingest, Reading
from indexer.ingest_report import Tolerance, report
from indexer.sources.batch import Kind, Source
from indexer.sources.csv import CsvSource
from indexer.sources.files import File
from indexer.sources.jsonl import JsonlSource
from indexer.sources.movielens import movielens_1m, movielens_100k
from indexer.sources.parquet import ParquetSource
from indexer.times import TimeUnit
from rag_rec.clock import now_ms
from rag_rec.commands.app import command
from rag_rec.errors import InvalidInput
from rag_rec.home.opening import store_of
from rag_rec.index.tally import Tally
from rag_rec.progress.shown import Shown
from rag_rec.settings import Settings
from rag_rec.validation import Limits, event_problem

app = typer.Typer(no_args_is_help=True)
dataset_app = typer.Typer(help="Get public data sets.", no_args_is_help=True)
app.add_typer(dataset_app, name="dataset")
app.add_typer(index_app, name="index")
app.add_typer(compact_app, name="compact")
app.add_typer(adapter_app, name="adapter")
app.add_typer(generator_app, name="generator")
app.add_typer(debias_app)


class Format(StrEnum):
    """File formats."""

    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"
    MOVIELENS_100K = "movielens-100k"
    MOVIELENS_1M = "movielens-1m"


_FIXED_LAYOUTS = (Format.MOVIELENS_100K, Format.MOVIELENS_1M)


class DatasetName(StrEnum):
    """Data sets that can be fetched."""

    ML_100K = "ml-100k"
    ML_1M = "ml-1m"


Where = Annotated[Path, typer.Argument(help="The file; for MovieLens the folder or the zip file.")]
FormatOption = Annotated[Format, typer.Option("--format", help="Format of the file. csv and jsonl may be gzipped.")]
KindOption = Annotated[Kind, typer.Option(help="What the rows are (MovieLens has all three).")]
MapOption = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        metavar="FIELD=COLUMN",
        help="Which column holds a field. Fields: user_id, item_id, time, event, value, text of interactions; "
        "item_id, text, provider of items; user_id of users. By default a field is in the column of its own name. "
        "Every other column of items and users becomes an attribute.",
    ),
]
ListOption = Annotated[
    list[str] | None, typer.Option("--list-column", help="An attribute's column that holds a list: a|b|c.")
]
UnitOption = Annotated[
    TimeUnit,
    typer.Option(
        help="How times are written. auto: numbers below 1e11 are seconds, others milliseconds, else ISO 8601."
    ),
]
EventOption = Annotated[
    str | None,
    typer.Option(help="Event of rows that name none. Default: rating for rows with a value, interaction for others."),
]
RejectsOption = Annotated[
    Path | None, typer.Option(help="Where to list rows that cannot be stored. Default: RAGREC_HOME/rejects/.")
]
TolerateOption = Annotated[
    str,
    typer.Option(
        "--max-rejects",
        metavar="NUMBER|PERCENT",
        help="How many rows may be rejected (20), or which share of them (5%), before the command counts as failed; 0 "
        "for none. Every row that can be stored is stored in either case.",
    ),
]
BatchOption = Annotated[int, typer.Option(min=1, help="Rows in one transaction.", hidden=True)]


@app.command("ingest")
@command
def ingest(  # noqa: PLR0913 - one parameter for each option
    path: Where,
    file_format: FormatOption,
    kind: KindOption = Kind.INTERACTIONS,
    columns: MapOption = None,
    list_column: ListOption = None,
    time_unit: UnitOption = TimeUnit.AUTO,
    event: EventOption = None,
    rejects: RejectsOption = None,
    max_rejects: TolerateOption = "5%",
    batch_rows: BatchOption = 100_000,
) -> Mapping[str, Any]:
    """Store items, users or interactions from a file. Safe to repeat and to interrupt."""
    settings, tolerance = Settings(), Tolerance.parse(max_rejects)
    reading = Reading(tuple(columns or ()), frozenset(list_column or ()), event, time_unit)
    if file_format in _FIXED_LAYOUTS and reading != Reading():
        raise InvalidInput(
            f"--map, --list-column, --time-unit and --event do not apply to {file_format}: leave them out."
        )
    if event is not None and (problem := event_problem(event, Limits(events=settings.event_rules))):
        raise InvalidInput(f"--event {problem}.")
    sources = _sources(path, file_format, kind)
    with closing(store_of(settings)) as store:
        with Shown("ingest") as progress:
            limits = Limits.at(now_ms(), settings)
            job = Ingest(store, limits, progress, batch_rows, reading)
            results = [job.run(source, rejects or _rejects_path(settings, path, source.kind)) for source in sources]
        return report(results, tolerance, store.epoch(), Tally.of(store, settings.event_rules))


@dataset_app.command("fetch")
@command
def fetch_dataset(
    name: DatasetName,
    to: Annotated[Path, typer.Option(help="Folder for the archive.")] = Path(),
) -> Mapping[str, Any]:
    """Download a public data set and check it. Its own licence applies."""
    with Shown("dataset fetch") as progress:
        path = fetch(DATASETS[name], to, progress)
    return {"path": str(path), "bytes": path.stat().st_size, "md5": DATASETS[name].md5}


def _sources(path: Path, file_format: Format, kind: Kind) -> Sequence[Source]:
    if not path.exists():
        raise InvalidInput(f"There is no file or folder {path}.")
    readers: dict[Format, Callable[[], Sequence[Source]]] = {
        Format.CSV: lambda: [CsvSource(File.at(path), kind)],
        Format.JSONL: lambda: [JsonlSource(File.at(path), kind)],
        Format.PARQUET: lambda: [ParquetSource(path, kind)],
        Format.MOVIELENS_100K: lambda: movielens_100k(path),
        Format.MOVIELENS_1M: lambda: movielens_1m(path),
    }
    return readers[file_format]()


def _rejects_path(settings: Settings, path: Path, kind: Kind) -> Path:
    return settings.home / "rejects" / f"{path.resolve().name}.{kind}.jsonl"
