from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from scipy.special import log_softmax

from indexer.gate import GateMeasurement, Sample
from rag_rec.candidates.reranker import Reranker
from rag_rec.domain import Interaction
from rag_rec.engine.engine import Engine
from rag_rec.errors import NotReady
from rag_rec.generators.failures import GeneratorFailure, Reason
from rag_rec.generators.language_model import LanguageModel, RankingOptions
from rag_rec.generators.protocol import Encoded, EvidenceCost, Prompt
from rag_rec.progress.protocol import Silent
from rag_rec.recommend.fusion import Floats, fit_gate
from rag_rec.recommend.gate import Gate
from tests.homes import ITEMS, running

DAY = 86_400_000
COUNT = len(ITEMS)
STRIDES = (1, 5, 7, 11)


def walk(user: int) -> list[Interaction]:
    """People take the items in order of a stride of their own."""
    start, stride = user % COUNT, STRIDES[user % len(STRIDES)]
    steps = ((start + stride * step) % COUNT for step in range(6))
    return [Interaction(f"u{user}", ITEMS[n].id, (100 + day) * DAY, "like") for day, n in enumerate(steps)]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    log = [row for user in range(96) for row in walk(user)]
    engine = running(tmp_path_factory.mktemp("home"), log, reranker=Reranker.default())
    yield engine
    engine.close()


class StrideEncoder:
    """Shows the history by item numbers; the label of an item is its number."""

    most_candidates = 52
    ordered = False
    least_mass = 1e-9
    evidence_cost: EvidenceCost | None = EvidenceCost(100, 1)

    def __init__(self) -> None:
        self.seen: list[Encoded] = []

    def encode(self, prompt: Prompt, order: Sequence[int]) -> Encoded:  # noqa: ARG002
        history = [int(line.item_id.removeprefix("item-")) for line in prompt.evidence]
        labels = tuple(int(candidate.item_id.removeprefix("item-")) for candidate in prompt.candidates)
        encoded = Encoded(tuple(history), labels)
        self.seen.append(encoded)
        return encoded


class StrideBackend:
    """Knows that people keep their stride; with a negative ``sharpness``, the opposite."""

    model, adapter = "stride", None

    def __init__(self, sharpness: float) -> None:
        self.sharpness = sharpness

    def label_log_probabilities(self, questions: Sequence[Encoded], deadline: float | None) -> list[Floats]:  # noqa: ARG002
        return [self._answer(question) for question in questions]

    def _answer(self, question: Encoded) -> Floats:
        stride = question.tokens[-1] - question.tokens[-2]
        following = (question.tokens[-1] + stride) % COUNT
        logits = self.sharpness * (np.array(question.labels) == following)
        return np.asarray(log_softmax(logits.astype(np.float64)))

    def problem(self, wait: float = 0.0) -> GeneratorFailure | None:  # noqa: ARG002 - the seam's signature
        return None

    def use_adapter(self, folder: Path | None) -> None:
        raise AssertionError(folder)

    def close(self) -> None:
        pass


class UnsureOf(StrideBackend):
    """Gives no number for people whose first item is one of these."""

    def __init__(self, sharpness: float, firsts: set[int], reason: Reason = Reason.LOW_LABEL_MASS) -> None:
        super().__init__(sharpness)
        self.firsts = firsts
        self.reason = reason

    def label_log_probabilities(self, questions: Sequence[Encoded], deadline: float | None) -> list[Floats]:
        if any(question.tokens[0] in self.firsts for question in questions):
            raise GeneratorFailure(self.reason, "")
        return super().label_log_probabilities(questions, deadline)


def measure(
    engine: Engine, sharpness: float, backend: StrideBackend | None = None
) -> tuple[GateMeasurement, StrideEncoder]:
    encoder = StrideEncoder()
    model = LanguageModel(encoder, backend or StrideBackend(sharpness), RankingOptions(least_mass=1e-9))
    return GateMeasurement(engine.live, engine.store, engine.settings, model, Silent()), encoder


def decided(measurement: GateMeasurement, sample: Sample) -> Gate:
    return fit_gate(measurement.ask(sample).trials, 0, "stride")


def test_an_llm_that_knows_more_is_let_in(engine: Engine) -> None:
    measurement, _ = measure(engine, 8.0)
    gate = decided(measurement, Sample())
    assert gate.use
    assert gate.users == 96
    assert gate.fused is not None and gate.candidates is not None and gate.fused > gate.candidates + 0.05
    assert (gate.model, gate.adapter) == ("stride", None)


def test_an_llm_that_misleads_is_kept_out(engine: Engine) -> None:
    measurement, _ = measure(engine, -8.0)
    assert not decided(measurement, Sample()).use


def test_nobody_is_shown_their_own_answer(engine: Engine) -> None:
    measurement, encoder = measure(engine, 8.0)
    decided(measurement, Sample())
    assert len(encoder.seen) == 96
    assert {len(question.tokens) for question in encoder.seen} == {5}  # of six
    for question in encoder.seen:
        assert not set(question.tokens) & set(question.labels)


def test_only_the_sample_is_asked(engine: Engine) -> None:
    measurement, encoder = measure(engine, 8.0)
    gate = decided(measurement, Sample(0.7, seed=1))
    assert 50 <= gate.users == len(encoder.seen) < 96


def test_too_few_people_decide_nothing(engine: Engine) -> None:
    measurement, _ = measure(engine, 8.0)
    with pytest.raises(NotReady, match="50 are needed"):
        decided(measurement, Sample(0.1, seed=1))


def test_people_whose_newest_choice_may_have_been_learned_are_not_asked(tmp_path: Path) -> None:
    log = [row for user in range(60) for row in walk(user)]
    again = Interaction("u0", ITEMS[0].id, 200 * DAY, "like")  # u0 began with it
    new = Interaction("u1", ITEMS[0].id, 200 * DAY, "like")  # u1 has not had it
    engine = running(tmp_path, [*log, again, new], reranker=Reranker.default())
    numbers = [found[0] for name in ("u0", "u1", "u2") if (found := engine.store.user(name))]
    changed, shortened = frozenset(numbers[:2]), frozenset(numbers[2:])
    try:
        assert decided(measure(engine, 8.0)[0], Sample()).users == 60
        gate = decided(measure(engine, 8.0)[0], Sample(changed=changed, shortened=shortened))
        assert gate.users == 58  # without u0 and u2
    finally:
        engine.close()


def test_where_the_llm_has_no_answer_the_candidates_order_counts(engine: Engine) -> None:
    sure = decided(measure(engine, 8.0)[0], Sample())
    unsure = decided(measure(engine, 8.0, UnsureOf(8.0, {0, 1, 2}))[0], Sample())
    never = decided(measure(engine, 8.0, UnsureOf(8.0, set(range(COUNT))))[0], Sample())
    assert unsure.users == never.users == 96
    assert sure.llm is not None and unsure.llm is not None and never.llm is not None
    assert sure.llm > unsure.llm > never.llm
    assert never.llm == never.candidates
    assert not never.use


def test_an_llm_that_cannot_be_asked_is_not_measured(engine: Engine) -> None:
    measurement, _ = measure(engine, 8.0, UnsureOf(8.0, {0}, Reason.ABSENT))
    with pytest.raises(GeneratorFailure):
        decided(measurement, Sample())


def test_no_more_candidates_than_labels_are_shown(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StrideEncoder, "most_candidates", 3)
    measurement, encoder = measure(engine, 8.0)
    decided(measurement, Sample())
    assert {len(question.labels) for question in encoder.seen} == {3}
