"""The client of vLLM against the real engine on a CPU: the numbers are those of the plain model and of ``local.py``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rag_rec.generators.failures import GeneratorFailure, Reason
from rag_rec.generators.local import LocalBackend
from rag_rec.generators.protocol import Encoded
from rag_rec.generators.vllm import VllmBackend
from rag_rec.generators.vllm_adapters import AdapterNotLoaded
from tests.rag_rec.generators.contract import BackendContract, Served, agree, questions
from tests.rag_rec.generators.models import tiny_adapter, tiny_item_model
from tests.rag_rec.generators.real_vllm import required_python, running_vllm

pytestmark = pytest.mark.integration
TOLERANCE = 1e-3
WIDTH = 128  # with its four heads; vLLM's attention on a CPU takes heads of 32, 64, 80, 96, 112, 128 and more


@pytest.fixture(scope="module")
def item_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_item_model(tmp_path_factory.mktemp("models") / "base", width=WIDTH)


@pytest.fixture(scope="module")
def adapters(item_model: Path) -> tuple[Path, Path]:
    first, second = (item_model.parent / "adapters" / (letter * 32) for letter in "ab")
    return tiny_adapter(item_model, first, seed=1), tiny_adapter(item_model, second, seed=2)


@pytest.fixture(scope="module")
def engine(item_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of an engine that serves the tiny item model."""
    log = tmp_path_factory.mktemp("vllm") / "engine.log"
    with running_vllm(required_python(), item_model, "tiny", log) as url:
        yield url


@pytest.fixture(scope="module")
def served(engine: str, item_model: Path, adapters: tuple[Path, Path]) -> Iterator[Served]:
    def opened() -> VllmBackend:
        return VllmBackend([engine])

    backend = opened()
    yield Served(backend, item_model, adapters, opened, TOLERANCE)
    backend.close()


class TestContract(BackendContract):
    pass


def test_the_same_as_in_process_through_swaps(served: Served) -> None:
    local = LocalBackend.open(served.base, device="cpu")
    asked = questions(20)
    first, second = served.adapters
    for adapter in (None, first, second, first, None):
        local.use_adapter(adapter)
        served.backend.use_adapter(adapter)
        found, expected = (each.label_log_probabilities(asked, None) for each in (served.backend, local))
        agree(found, expected, served)
    local.close()


def test_a_cached_prefix_changes_nothing_under_any_salt_or_adapter(served: Served) -> None:
    """Prompts of several whole blocks that share them; the cache must tell salts and adapters apart."""
    local = LocalBackend.open(served.base, device="cpu")
    prefix = tuple(4 + place % 60 for place in range(100))
    asked = [Encoded((*prefix, last), (7, 8, 9)) for last in (10, 11, 12)]
    for adapter in (None, *served.adapters, None):
        local.use_adapter(adapter)
        served.backend.use_adapter(adapter)
        expected = local.label_log_probabilities(asked, None)
        for salt in ("", "one", "one", "two/with a slash", "one"):
            salted = [replace(each, salt=salt) for each in asked]
            agree(served.backend.label_log_probabilities(salted, None), expected, served)
    local.close()


def test_the_end_token_as_the_likeliest_answer(served: Served) -> None:
    """The generated token is thrown away, also where the model would rather end the text."""
    served.backend.use_adapter(None)
    local = LocalBackend.open(served.base, device="cpu")
    asked = [Encoded((first,), tuple(range(64))) for first in range(64)]
    expected = local.label_log_probabilities(asked, None)
    assert any(np.argmax(each) == 2 for each in expected)
    agree(served.backend.label_log_probabilities(asked, None), expected, served)
    local.close()


def test_the_server_describes_itself(served: Served) -> None:
    served.backend.use_adapter(served.adapters[0])
    backend = served.backend
    assert isinstance(backend, VllmBackend)
    [status] = backend.status()
    assert status.problem is None
    assert (status.model, status.longest) == ("tiny", 128)
    assert (status.exact_labels, status.swaps_adapters) == (True, True)
    assert status.adapters == {f"rag-rec-{served.adapters[0].name}"}


def test_a_folder_without_an_adapter_changes_nothing(served: Served, tmp_path: Path) -> None:
    served.backend.use_adapter(served.adapters[0])
    asked = questions(3)
    before = served.backend.label_log_probabilities(asked, None)
    for folder in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(AdapterNotLoaded) as raised:
            served.backend.use_adapter(folder)
        assert raised.value.reason is Reason.WRONG_MODEL
    assert served.backend.adapter == served.adapters[0].name
    agree(served.backend.label_log_probabilities(asked, None), before, served)


def test_an_adapter_of_another_model_changes_nothing(served: Served, tmp_path: Path) -> None:
    served.backend.use_adapter(None)
    foreign = tiny_adapter(tiny_item_model(tmp_path / "wider", width=2 * WIDTH), tmp_path / "foreign", seed=3)
    asked = questions(3)
    before = served.backend.label_log_probabilities(asked, None)
    with pytest.raises(AdapterNotLoaded):
        served.backend.use_adapter(foreign)
    assert served.backend.adapter is None
    agree(served.backend.label_log_probabilities(asked, None), before, served)


def test_another_process_unloads_the_adapter(served: Served) -> None:
    """One request fails, the next one finds the adapter loaded again."""
    served.backend.use_adapter(served.adapters[0])
    asked = questions(3)
    before = served.backend.label_log_probabilities(asked, None)
    backend = served.backend
    assert isinstance(backend, VllmBackend)
    other = VllmBackend([backend.status()[0].url])
    other.use_adapter(served.adapters[0])
    other.use_adapter(None)
    other.close()
    with pytest.raises(GeneratorFailure) as raised:
        backend.label_log_probabilities(asked, None)
    assert raised.value.reason is Reason.WRONG_MODEL
    agree(backend.label_log_probabilities(asked, None), before, served)


def test_a_token_outside_the_vocabulary_is_refused(served: Served) -> None:
    """And the engine lives on.

    vLLM 0.31 lets a prompt through whose token is exactly the size of the tokenizer's vocabulary (64 here), and
    dies of it. The product's prompts hold only tokens of the vocabulary that it reads itself.
    """
    served.backend.use_adapter(None)
    asked = questions(3)
    before = served.backend.label_log_probabilities(asked, None)
    for question in (Encoded((5,), (7, 64)), Encoded((65,), (7,)), Encoded((), (7,))):
        with pytest.raises(GeneratorFailure) as raised:
            served.backend.label_log_probabilities([question], None)
        assert raised.value.reason is Reason.REFUSED
        agree(served.backend.label_log_probabilities(asked, None), before, served)
