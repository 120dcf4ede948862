from __future__ import annotations

import gc
import shutil
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rag_rec.errors import InvalidInput
from rag_rec.generators.causal_model import CausalModel
from rag_rec.generators.failures import GeneratorFailure, Reason
from rag_rec.generators.local import LocalBackend
from rag_rec.generators.protocol import Encoded
from tests.rag_rec.generators.contract import BackendContract, Served, agree, plain_model, questions, reference
from tests.rag_rec.generators.models import tiny_adapter, tiny_chat_model, tiny_item_model


@pytest.fixture(scope="module")
def served(item_model: Path, adapters: tuple[Path, Path]) -> Iterator[Served]:
    def opened() -> LocalBackend:
        return LocalBackend.open(item_model, device="cpu", most_batch=4)

    backend = opened()
    yield Served(backend, item_model, adapters, opened)
    backend.close()


class TestContract(BackendContract):
    pass


@settings(max_examples=15, deadline=None)
@given(count=st.integers(1, 12), longest=st.integers(1, 128), seed=st.integers(0, 1000))
def test_any_batch_equals_one_prompt_at_a_time(served: Served, count: int, longest: int, seed: int) -> None:
    asked = questions(count, longest, seed)
    served.backend.use_adapter(served.adapters[0])
    expected = reference(served.base, served.adapters[0], asked)
    agree(served.backend.label_log_probabilities(asked, None), expected, served)


def test_the_head_sees_the_last_positions_only(item_model: Path) -> None:
    model = CausalModel.open(str(item_model), torch.device("cpu"), torch.float32)
    seen = []
    model.model.lm_head.register_forward_hook(lambda _, __, logits: seen.append(tuple(logits.shape)))
    model.score(questions(5))
    assert seen == [(5, 64)]
    model.score(questions(1))
    assert seen[1:] == [(1, 64)]


def test_the_base_is_shared_and_an_unused_adapter_is_released(item_model: Path, adapters: tuple[Path, Path]) -> None:
    backend = LocalBackend.open(item_model, adapters[0], device="cpu")
    base, first = backend.base, backend._current
    adapted = {name: tensor.data_ptr() for name, tensor in first.model.named_parameters()}
    for name, tensor in base.model.named_parameters():
        assert tensor.data_ptr() in adapted.values(), name
    assert not any("lora" in name for name, _ in base.model.named_parameters())
    released = weakref.ref(first.model)
    backend.label_log_probabilities(questions(3), None)
    del first
    backend.use_adapter(adapters[1])
    gc.collect()
    assert released() is None
    backend.close()


def test_the_same_adapter_is_not_loaded_twice(item_model: Path, adapters: tuple[Path, Path]) -> None:
    backend = LocalBackend.open(item_model, adapters[0], device="cpu")
    current = backend._current
    backend.use_adapter(adapters[0])
    assert backend._current is current
    assert (backend.model, backend.adapter) == ("base", "a" * 32)
    backend.close()


def test_an_adapter_that_does_not_fit_changes_nothing(
    served: Served, adapters: tuple[Path, Path], tmp_path: Path
) -> None:
    served.backend.use_adapter(adapters[0])
    other = tiny_adapter(tiny_item_model(tmp_path / "wider", width=64), tmp_path / "foreign", seed=3)
    truncated = Path(shutil.copytree(adapters[1], tmp_path / "truncated"))
    (truncated / "adapter_model.safetensors").write_bytes(b"\0" * 20)
    unsafe = Path(shutil.copytree(adapters[1], tmp_path / "unsafe"))
    (unsafe / "adapter_model.safetensors").rename(unsafe / "adapter_model.bin")
    for folder in (other, truncated, unsafe, tmp_path / "nowhere"):
        with pytest.raises(GeneratorFailure) as raised:
            served.backend.use_adapter(folder)
        assert raised.value.reason is Reason.WRONG_MODEL
    assert served.backend.adapter == adapters[0].name
    asked = questions(4)
    agree(served.backend.label_log_probabilities(asked, None), reference(served.base, adapters[0], asked), served)


def test_an_adapter_that_does_not_fit_stops_the_opening(item_model: Path, tmp_path: Path) -> None:
    with pytest.raises(GeneratorFailure, match="adapter"):
        LocalBackend.open(item_model, tmp_path, device="cpu")


def test_what_is_not_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GeneratorFailure, match="safetensors") as raised:
        LocalBackend.open(tmp_path, device="cpu")
    assert raised.value.reason is Reason.MODEL_NOT_FOUND


@pytest.mark.parametrize(
    ("question", "message"),
    [
        (Encoded((), (5,)), "0 tokens"),
        (Encoded((5,) * 129, (5,)), "129 tokens and the model takes 1 to 128"),
        (Encoded((64,), (5,)), "vocabulary"),
        (Encoded((-1,), (5,)), "vocabulary"),
        (Encoded((5,), (None, 64)), "vocabulary"),
    ],
)
def test_a_question_that_no_model_could_take_is_refused(served: Served, question: Encoded, message: str) -> None:
    with pytest.raises(GeneratorFailure, match=message):
        served.backend.label_log_probabilities([question], None)


def test_only_missing_labels(served: Served) -> None:
    nothing, no_candidates = served.backend.label_log_probabilities(
        [Encoded((5,), (None, None)), Encoded((5,), ())], None
    )
    assert np.isnan(nothing).all()
    assert len(nothing) == 2
    assert len(no_candidates) == 0


def test_an_instruction_tuned_architecture_in_two_precisions(tmp_path: Path) -> None:
    folder = tiny_chat_model(tmp_path / "chat")
    asked = [Encoded(tuple(range(3, 3 + length)), (10, 20, 30)) for length in (5, 390, 31)]
    expected = np.concatenate(reference(folder, None, asked))
    for dtype, tolerance in ((None, 2e-5), (torch.bfloat16, 0.5)):
        backend = LocalBackend.open(folder, device="cpu", dtype=dtype)
        found = np.concatenate(backend.label_log_probabilities(asked, None))
        backend.close()
        assert found == pytest.approx(expected, abs=tolerance)
    plain_model.cache_clear()


def test_a_head_that_caps_its_logits_is_obeyed(item_model: Path) -> None:
    """Gemma and others change the logits after the head; whatever the model's own forward pass does, counts."""
    model = CausalModel.open(str(item_model), torch.device("cpu"), torch.float32)
    plain = model.model.forward

    def capped(*arguments: object, **named: object) -> object:
        found = plain(*arguments, **named)
        found.logits = torch.tanh(found.logits)
        return found

    asked = questions(3)
    [uncapped, *_] = model.score(asked)
    model.model.forward = capped
    [found, *_] = model.score(asked)
    logits = plain_model(item_model, None)(torch.tensor([asked[0].tokens])).logits[0, -1].detach().tanh()
    expected = logits.log_softmax(0)[[label for label in asked[0].labels if label is not None]]
    assert found[~np.isnan(found)] == pytest.approx(expected.numpy(), abs=2e-5)
    assert not np.allclose(found, uncapped, equal_nan=True)


def test_a_gpu_is_taken_where_there_is_one(item_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    backend = LocalBackend.open(item_model)
    assert backend.base.model.device.type == "cpu"
    assert backend.base.model.dtype == torch.float32
    backend.close()


def test_a_device_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="auto, cpu or cuda"):
        LocalBackend.open(tmp_path, device="bogus")
