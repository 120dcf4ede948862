"""The compact generator, built by its command, ranks behind the service through the real vLLM engine."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson
import pytest

from demo.service import Api, Commands, RunningService
from rag_rec.adapters.folder import AdapterStore
from rag_rec.domain import RecommendationRequest
from rag_rec.engine.engine import Engine
from rag_rec.settings import Settings
from tests.homes import fill, settings_for
from tests.indexer.memorised_homes import interactions
from tests.rag_rec.generators.real_vllm import required_python, running_vllm

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning"),
]
KEY = "the-key-of-the-test"
OPENED = {"RAGREC_API_KEYS": orjson.dumps({KEY: ["admin"]}).decode(), "RAGREC_GENERATOR_GATE": "false"}
SWITCH_SECONDS = 60.0


@dataclass(frozen=True)
class Home:
    """A data folder with an index and a compact generator."""

    settings: Settings
    commands: Commands

    def train(self, epochs: int) -> str:
        """Build an adapter and put it to use. Returns its digest."""
        options = ("--epochs", str(epochs), "--held-out", "0", "--reserve", "0.25", "--device", "cpu")
        return str(self.commands.run("compact", "build", *options)["adapter"])


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    required_python()
    folder = tmp_path_factory.mktemp("home")
    settings = settings_for(folder)
    fill(settings, interactions())
    commands = Commands(folder, {**OPENED, "RAGREC_CANDIDATES": "10", "RAGREC_ADAPTER_BUDGET": "0.1"})
    commands.run("index", "build")
    made = Home(settings.model_copy(update={"generator_gate": False}), commands)
    made.train(2)
    return made


@pytest.fixture(scope="module")
def vllm(home: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The engine serves the base as it lies on disk; adapters are loaded by the service."""
    base, _ = AdapterStore(home.settings.compact).open_current()
    log = tmp_path_factory.mktemp("vllm") / "engine.log"
    with running_vllm(required_python(), base.folder, "compact", log, "--max-lora-rank", "128") as url:
        yield url


@pytest.fixture(scope="module")
def api(home: Home, vllm: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    log = tmp_path_factory.mktemp("service") / "service.log"
    with RunningService(home.commands, log, "--generator", "vllm", "--base-url", vllm) as service:
        api = Api(service.wait_until_ready(), KEY)
        yield api
        api.close()


def in_process(home: Home, user_id: str) -> list[tuple[str, float]]:
    """The same answer with the model in this process."""
    engine = Engine.open(home.settings.model_copy(update={"generator": "local", "generator_device": "cpu"}))
    answer = engine.recommend(RecommendationRequest(user_id, k=5))
    engine.close()
    return [(item.item_id, item.score) for item in answer.items]


def told(answer: dict[str, Any]) -> list[tuple[str, Any]]:
    return [(item["item_id"], pytest.approx(item["score"], abs=1e-3)) for item in answer["items"]]


def test_the_service_ranks_through_vllm_as_in_process_before_and_after_a_new_adapter(home: Home, api: Api) -> None:
    first = AdapterStore(home.settings.compact).current()
    assert first is not None
    answer = answered_by(api, str(first.adapter))
    assert answer["provenance"]["source"] == "fused"
    assert answer["provenance"]["label_mass"] > 0
    assert told(answer) == in_process(home, "user-3")

    second = home.train(30)
    assert second != first.adapter
    after = answered_by(api, second)
    assert told(after) == in_process(home, "user-3")


def test_an_adapter_that_a_person_left_by_influence_is_taken_up_and_the_receipt_is_complete(
    home: Home, api: Api
) -> None:
    outcome = api.forget("user-2", api.plan("user-2")["plan"])
    options = ("--method", "influence", "--device", "cpu")
    done = home.commands.run("adapter", "unlearn", *options)
    assert (done["removal"], done["requests"]) == ("influence", 1)
    after = answered_by(api, done["adapter"])
    assert told(after) == in_process(home, "user-3")
    limit = time.monotonic() + SWITCH_SECONDS
    while not (receipt := api.receipt(outcome["request_id"]))["complete"] and time.monotonic() < limit:
        api.recommend("user-3")
    (line,) = [each for each in receipt["layers"] if each["layer"] == "adapter"]
    assert (line["status"], line["detail"]["adapter"]) == ("MEASURED", done["adapter"])


def answered_by(api: Api, adapter: str) -> dict[str, Any]:
    """The first answer that this adapter took part in; requests never fail meanwhile."""
    limit = time.monotonic() + SWITCH_SECONDS
    while time.monotonic() < limit:
        answer = api.recommend("user-3")
        if answer["provenance"]["adapter"] == adapter:
            return answer
    raise AssertionError(f"the adapter was not taken up: {answer['provenance']}")
