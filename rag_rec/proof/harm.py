"""What a batch of removals does to those who remain: their lists before and after, and in a twin.

Some of the remaining users are asked a question whose answer is known: their newest positive item is left out of what
the question says of them, and it is looked at where their list has it. The question is put to the state before the
removal, to the state after it, and to the twin that never knew the forgotten people. While they are asked, the answers
are subtracted from the counts, and added again afterwards; else the counts would give them away. So a state must be of
this process's own, and answer nobody else meanwhile.

Neither the photograph nor the report names a person, and the photograph is kept in memory only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from rag_rec.candidates.query import Query
from rag_rec.domain import AttributeValue, User
from rag_rec.evaluation.bootstrap import interval
from rag_rec.evaluation.ranking import DEPTH, PERSISTENCE, gains, rank_biased_overlap, rank_of
from rag_rec.index.serving_state import ServingState
from rag_rec.proof.twin import Twin
from rag_rec.recommend.pipeline import context_of, question
from rag_rec.recommend.prompting import Context
from rag_rec.settings import Settings
from rag_rec.store.protocol import Store
from rag_rec.vectors.profile import profile_vector

NEIGHBOURS: Final = "nearest to the forgotten"
OTHERS: Final = "others"

Groups = Mapping[str, Sequence[int]]
Items = npt.NDArray[np.int32]
Lists = Mapping[int, Items]


@dataclass(frozen=True, slots=True)
class Extent:
    """How much is looked at.

    Attributes:
        neighbours: users with the nearest profiles, for each forgotten one.
        searched: forgotten people whose neighbours are looked for.
        most_neighbours: neighbours asked in all.
        pool: users drawn from all who remain, whose attributes are read.
        values: an attribute with more distinct values than this makes no groups, nor does one with a single value.
        group: users asked of a group, at most.
        grouped: users asked of all attribute groups together; never fewer than ``smallest`` of each.
        others: users asked at random of those who are no neighbours.
        smallest: a group of fewer users is left out.
    """

    neighbours: int = 10
    searched: int = 60
    most_neighbours: int = 300
    pool: int = 2_000
    values: int = 20
    group: int = 50
    grouped: int = 500
    others: int = 200
    smallest: int = 10


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked for a user, and the number of the item that answers it."""

    query: Query
    answer: int


@dataclass(frozen=True, slots=True)
class Before:
    """The questions by user number, and the lists before a removal. ``omitted`` counts groups that were too small."""

    questions: Mapping[int, Question]
    lists: Lists
    groups: Groups
    omitted: int
    depth: int
    seed: int


@dataclass(frozen=True, slots=True)
class HarmRow:
    """One group. Changes are after minus before, over the same users, with 95 % bootstrap intervals.

    ``ndcg_change_twin`` is after minus twin, and ``rbo_twin`` the overlap of the two: a removal that does what a system
    without the people would do has 0 and 1 there.
    """

    group: str
    users: int
    ndcg_before: float
    ndcg_after: float
    ndcg_change: float
    ndcg_low: float
    ndcg_high: float
    rbo: float
    rbo_low: float
    rbo_high: float
    ndcg_change_twin: float
    rbo_twin: float


@dataclass(frozen=True, slots=True)
class HarmReport:
    """The rows, and what there is to know about them."""

    rows: tuple[HarmRow, ...]
    notes: tuple[str, ...]

    @property
    def as_twin(self) -> bool:
        """Whether every list is that of the twin."""
        return all(row.ndcg_change_twin == 0.0 and row.rbo_twin == 1.0 for row in self.rows)

    def table(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        rows = [{name: getattr(row, name) for name in HarmRow.__slots__} for row in self.rows]
        return {"as_twin": self.as_twin, "rows": rows, "notes": list(self.notes)}


def photograph(
    live: ServingState, store: Store, forgotten: Sequence[int], settings: Settings, extent: Extent | None = None
) -> Before:
    """Draw the users to ask and note their lists, before a removal is accepted.

    Args:
        live: the state that will forget.
        store: where attributes are read.
        forgotten: numbers of the users who are about to be forgotten.
        settings: of the system; their seed decides who is drawn.
        extent: how much is looked at.
    """
    extent, draws = extent or Extent(), np.random.default_rng(settings.seed)
    remaining = sorted({user for user, _ in live.people.histories()} - set(forgotten))
    pool = _drawn(draws, remaining, extent.pool)
    near = _neighbours(live, _drawn(draws, forgotten, extent.searched), set(forgotten), extent)
    groups = {
        NEIGHBOURS: _drawn(draws, sorted(near), extent.most_neighbours),
        **_attribute_groups(store, pool, extent),
        OTHERS: [user for user in pool if user not in near][: extent.others],
    }
    drawn = sorted({user for users in groups.values() for user in users})
    with live.paused():
        found = ((user, _question(live, settings, user)) for user in drawn)
        questions = {user: each for user, each in found if each is not None}
        lists = _lists(live, questions, settings.candidates)
    answerable = {name: [user for user in users if user in questions] for name, users in groups.items()}
    kept = {name: users for name, users in answerable.items() if len(users) >= extent.smallest}
    return Before(questions, lists, kept, len(groups) - len(kept), settings.candidates, settings.seed)


def assess(before: Before, live: ServingState, twin: Twin) -> HarmReport:
    """Put the same questions to the state after the removal and to its twin, and compare the answers.

    Users who have been forgotten since the photograph are left out.
    """
    with twin.level(live):
        questions = {user: each for user, each in before.questions.items() if live.people.has_history(user)}
        after, never = (_lists(each, questions, before.depth) for each in (live, twin.live))
    results = {
        user: _result(each.answer, before.lists[user], after[user], never[user]) for user, each in questions.items()
    }
    present = {name: [results[user] for user in users if user in results] for name, users in before.groups.items()}
    rows = tuple(_row(name, np.array(group), before.seed) for name, group in present.items() if group)
    return HarmReport(rows, _notes(before))


def _drawn(draws: np.random.Generator, users: Sequence[int], most: int) -> list[int]:
    return [int(user) for user in draws.permutation(np.array(users, dtype=np.int64))[:most]]


def _neighbours(live: ServingState, searched: Sequence[int], forgotten: set[int], extent: Extent) -> set[int]:
    """Those who remain and whose profiles are nearest to a forgotten person."""
    near: set[int] = set()
    for user in searched:
        profile = live.people.profile(user)
        if profile is not None:
            found, _ = live.people.profiles.search(profile[None], extent.neighbours + len(forgotten))
            remaining = [other for other in found[0].tolist() if other >= 0 and other not in forgotten]
            near.update(remaining[: extent.neighbours])
    return near


def _attribute_groups(store: Store, pool: Sequence[int], extent: Extent) -> dict[str, list[int]]:
    """The users of each value of each attribute that has few values, in the order of the pool."""
    members: dict[str, dict[str, list[int]]] = {}
    for user in pool:
        person = store.user_by_number(user)
        for name, value in person.attributes.items() if person else ():
            for part in _parts(value):
                members.setdefault(name, {}).setdefault(part, []).append(user)
    groups = {
        f"{name} = {value}": users
        for name, values in sorted(members.items())
        for value, users in sorted(values.items())
        if 2 <= len(values) <= extent.values
    }
    most = max(extent.smallest, min(extent.group, extent.grouped // max(1, len(groups))))
    return {name: users[:most] for name, users in groups.items()}


def _parts(value: AttributeValue) -> tuple[str, ...]:
    return value if isinstance(value, tuple) else (str(value),)


def _question(live: ServingState, settings: Settings, user: int) -> Question | None:
    """The question for a user; None without two positives at least."""
    context = context_of(live, User(""), user)
    if len(context.positives) < 2:
        return None
    answer = int(context.positives["item"][-1])
    return Question(_without(live, context, answer, settings), answer)


def _without(live: ServingState, context: Context, answer: int, settings: Settings) -> Query:
    """The question of a user who has not met the answer yet."""
    unmet = context.history["item"] != answer
    history, vectors = context.history[unmet], context.vectors[unmet]
    earlier = Context(context.user, context.number, history, context.positives[:-1], vectors)
    profile = profile_vector(vectors[settings.positive_rule.mask(history, live.events)])
    return replace(question(live, earlier), profile=profile)


def _lists(live: ServingState, questions: Mapping[int, Question], depth: int) -> Lists:
    """The list that a state answers to each question, best first."""
    with _held_out(live, questions):
        return {user: live.model.candidates(each.query, depth).items for user, each in questions.items()}


@contextmanager
def _held_out(live: ServingState, questions: Mapping[int, Question]) -> Iterator[None]:
    """Take the answers out of the counts, and put them back at the end."""
    wholes = {user: live.positives(live.people.history(user)) for user in questions}
    changes = [(whole, whole[whole["item"] != questions[user].answer]) for user, whole in wholes.items()]
    for whole, part in changes:
        live.statistics.replace(whole, part)
    live.statistics.flush()
    try:
        yield
    finally:
        for whole, part in changes:
            live.statistics.replace(part, whole)
        live.statistics.flush()


def _result(answer: int, earlier: Items, after: Items, never: Items) -> tuple[float, ...]:
    """NDCG before, after and in the twin, and the overlap of before with after and of after with the twin."""
    ranks = np.array([rank_of(answer, items) for items in (earlier, after, never)])
    return (*gains(ranks).tolist(), _overlap(earlier, after), _overlap(after, never))


def _overlap(mine: Items, theirs: Items) -> float:
    return rank_biased_overlap(mine.tolist(), theirs.tolist())


def _row(name: str, results: npt.NDArray[np.float64], seed: int) -> HarmRow:
    earlier, after, never, overlap, overlap_twin = results.T
    change = interval(after - earlier, seed)
    alike = interval(overlap, seed)
    return HarmRow(
        group=name,
        users=len(results),
        ndcg_before=float(earlier.mean()),
        ndcg_after=float(after.mean()),
        ndcg_change=float((after - earlier).mean()),
        ndcg_low=change[0],
        ndcg_high=change[1],
        rbo=float(overlap.mean()),
        rbo_low=alike[0],
        rbo_high=alike[1],
        ndcg_change_twin=float((after - never).mean()),
        rbo_twin=float(overlap_twin.mean()),
    )


def _notes(before: Before) -> tuple[str, ...]:
    return (
        f"NDCG@{DEPTH} of the newest positive of each user asked, held out of query and counts; "
        f"rank-biased overlap with p = {PERSISTENCE} of lists of {before.depth} items.",
        "Intervals: 95 %, percentile bootstrap over users. Groups are samples, and a user may be in several.",
        f"Groups left out because too few of their users could be asked: {before.omitted}.",
    )
