"""The commands ``rag-rec forget user | interactions | batch | status | find | list | resume``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from rag_rec.commands.app import command
from rag_rec.commands.forget_batch import forget_batch, report_in_words
from rag_rec.commands.place import place
from rag_rec.commands.printing import Answer, said
from rag_rec.engine.tending import open_saga, tend
from rag_rec.errors import InvalidInput
from rag_rec.forgetting.receipts.outlook import Outlook
from rag_rec.forgetting.receipts.records import (
    described,
    described_batch,
    least_advanced,
    row,
    status_in_words,
    status_of,
    waits_for,
)
from rag_rec.forgetting.request import ForgetOutcome, ForgetRequest
from rag_rec.forgetting.saga import Saga
from rag_rec.home.keys import open_pseudonyms
from rag_rec.home.opening import existing_store_of
from rag_rec.index.memory_layers import IN_MEMORY
from rag_rec.layers.records import ForgetRecord, ForgetState
from rag_rec.progress.shown import Shown
from rag_rec.settings import Settings
from rag_rec.store.records import Selection

app = typer.Typer()
forget = typer.Typer(
    help="Forget a user, some of a user's interactions, or many users. This cannot be undone.", no_args_is_help=True
)
app.add_typer(forget, name="forget")
app.add_typer(place, name="place")

DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Say what would go, and the plan's hash to quote; change nothing.")
]
Confirm = Annotated[str | None, typer.Option("--confirm", help="Repeat the user's id to confirm.")]
PlanHash = Annotated[str | None, typer.Option("--plan", help="The plan's hash, as the dry run gave it.")]


@forget.command("user")
@command
def forget_user(
    user_id: str,
    dry_run: DryRun = False,
    confirm: Confirm = None,
    plan: PlanHash = None,
) -> Mapping[str, Any]:
    """Forget a user: attributes, interactions, vectors, and their share of every statistic."""
    return _run(ForgetRequest.of(user_id, None, confirm, plan), dry_run)


@forget.command("interactions")
@command
def forget_interactions(  # noqa: PLR0913 - one parameter per option of the command
    user_id: str,
    number: Annotated[list[int] | None, typer.Option("--id", help="The interaction of this id (repeatable).")] = None,
    item: Annotated[list[str] | None, typer.Option("--item", help="Interactions with this item (repeatable).")] = None,
    before: Annotated[str | None, typer.Option(help="Interactions before this time (ISO 8601; exclusive).")] = None,
    after: Annotated[str | None, typer.Option(help="Interactions from this time on (ISO 8601; inclusive).")] = None,
    dry_run: DryRun = False,
    confirm: Confirm = None,
    plan: PlanHash = None,
) -> Mapping[str, Any]:
    """Forget some of a user's interactions; the conditions given are joined by "and". An export shows the ids."""
    times = _milliseconds("before", before), _milliseconds("after", after)
    selection = Selection(frozenset(item or ()), *times, frozenset(number or ()))
    return _run(ForgetRequest.of(user_id, selection, confirm, plan), dry_run)


@forget.command("batch")
@command
def forget_users(
    path: Annotated[Path, typer.Argument(help="File with one user id on each line; blanks around it do not count.")],
    dry_run: DryRun = False,
    confirm: Annotated[str | None, typer.Option("--confirm", help="Repeat the number of users to confirm.")] = None,
    plan: PlanHash = None,
    report: Annotated[
        bool, typer.Option(help="Measure what it changes for others: needs an index, and some time.")
    ] = True,
) -> Mapping[str, Any]:
    """Forget many users at once, all or none. Each gets a request, told by the line of the file, and a receipt."""
    people = _people_in(path)
    request = ForgetRequest(tuple(people.values()), None, confirm, plan, tuple(people))
    if dry_run:
        return _run(request, dry_run)
    done = _forgotten_with_report(request) if report else _forgotten(request)
    requests = [{"line": line, "request": each} for line, each in zip(people, done["requests"], strict=True)]
    with _saga() as saga:
        outlook, names = _outlook(saga, done["request_id"]), saga.services()
    words = report_in_words(done) | outlook.words(names) | {"requests": requests}
    return Answer({**done, **outlook.content(), "lines": list(people)}, words)


@forget.command("status")
@command
def status(request_id: Annotated[str, typer.Argument(help="Id of a request or of a batch.")]) -> Mapping[str, Any]:
    """How far a request has come and what it waits for, or each request of a batch, in the batch's order."""
    with _saga() as saga:
        records, names = saga.records(request_id), saga.services()
    each = {"requests": [status_of(record) for record in records]}
    if records[0].request_id == request_id:
        return Answer({**status_of(records[0]), **each}, status_in_words(records[0], names))
    batch = described_batch(records)
    outlook = Outlook.of(least_advanced(records)).words(names)
    words = {name: value for name, value in batch.items() if name != "request"} | outlook
    lines = [row(record) | {"batch": None, "waits for": waits_for(record)} for record in records]
    return Answer({**batch, **each}, {**words, "requests": lines})


@forget.command("find")
@command
def find(user_id: str) -> Mapping[str, Any]:
    """The requests about a person, oldest first, by the id that the person had."""
    settings = Settings()
    with closing(existing_store_of(settings)) as store:
        records = store.forget_records(subject=open_pseudonyms(settings).user(user_id))
    return _list(records)


@forget.command("list")
@command
def list_requests(
    pending: Annotated[bool, typer.Option("--pending", help="Only those that are not complete.")] = False,
) -> Mapping[str, Any]:
    """The requests there are, oldest first."""
    with closing(existing_store_of(Settings())) as store:
        records = store.forget_records(pending=pending)
    return _list(records)


@forget.command("resume")
@command
def resume() -> Mapping[str, Any]:
    """Finish requests that were accepted and not finished. A running service does so by itself."""
    with _saga() as saga:
        completed = saga.resume()
        with saga.turn.taken_if_free() as mine:
            while mine and saga.look_later(all_of_them=True):
                pass  # some hundred at once
        pending, names = saga.pending(), saga.services()
    done = {
        "ok": all(record.state in {ForgetState.EFFECTIVE, ForgetState.UNLEARNED} for record in pending),
        "completed": completed,
    }
    words = {**done, "pending": [row(record) for record in pending]}
    words |= Outlook.of(pending[0]).words(names) if pending else {}
    return Answer({**done, "pending": [described(record) for record in pending]}, words)


def _forgotten(request: ForgetRequest) -> Mapping[str, Any]:
    with _saga() as saga:
        return asdict(saga.forget(request))


def _forgotten_with_report(request: ForgetRequest) -> Mapping[str, Any]:
    with Shown("forget batch") as shown:
        return forget_batch(Settings(), request, progress=shown)


@contextmanager
def _saga() -> Iterator[Saga]:
    settings = Settings()
    with closing(existing_store_of(settings)) as store:
        yield open_saga(settings, store)
        tend(settings, store)  # this folder was cleaned by the removal: others need not wait for it


def _run(request: ForgetRequest, dry_run: bool) -> Mapping[str, Any]:
    with _saga() as saga:
        if not dry_run:
            return _outcome(saga, saga.forget(request))
        plan = asdict(saga.plan(request))
    return Answer(plan, _plan_in_words(plan, request))


def _outlook(saga: Saga, request_id: str) -> Outlook:
    """What the state of a request means; of a batch, that of the least advanced request."""
    return Outlook.of(least_advanced(saga.records(request_id)))


def _outcome(saga: Saga, outcome: ForgetOutcome) -> Answer:
    """What went, and what the state means."""
    outlook, done = _outlook(saga, outcome.request_id), asdict(outcome)
    return Answer({**done, **outlook.content()}, {**done, **outlook.words(saga.services())})


def _plan_in_words(plan: Mapping[str, Any], request: ForgetRequest) -> dict[str, Any]:
    """A dry run for people. Of a file, the holds are told by line."""
    words = {name: value for name, value in plan.items() if name not in {"held_at", "beyond"}} | dict(plan["beyond"])
    words |= dict.fromkeys(IN_MEMORY, "known to a running service only")
    if request.lines is not None:
        words["held"] = [f"line {at}: {reason}" for at, reason in zip(plan["held_at"], plan["held"], strict=True)]
    ids = plan["interaction_ids"]
    more = plan["interactions"] - len(ids)
    words["interaction_ids"] = said(ids) + (f" and {more} more" if more else "")
    if request.selection is None:
        del words["interaction_ids"]
    return words


def _list(records: list[ForgetRecord]) -> Answer:
    count = {"count": len(records)}
    return Answer(
        {**count, "requests": [described(record) for record in records]},
        {**count, "requests": [row(record) for record in records]},
    )


def _people_in(path: Path) -> dict[int, str]:
    """The user ids in a file by line, counted from 1. A byte order mark, empty lines and blanks around do not count."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError):
        raise InvalidInput(f"{path} cannot be read: give a text file with one user id on each line.") from None
    return {number: line.strip() for number, line in enumerate(lines, 1) if line.strip()}


def _milliseconds(option: str, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput(f"--{option} is not a time: write it as ISO 8601, such as 2026-01-31T12:00:00Z.") from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
