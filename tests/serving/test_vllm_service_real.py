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
from rag_rec.domain import Interaction, RecommendationRequest
from rag_rec.engine.engine import Engine
from rag_rec.settings import Settings
from tests.homes import ITEMS, fill, settings_for
from tests.rag_rec.generators.real_vllm import required_python, running_vllm

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning"),
]
DAY = 86_400_000
KEY = "the-key-of-the-test"
LOG = [
    Interaction(f"user-{u}", ITEMS[(u + n) % len(ITEMS)].id, (100 + n) * DAY, "like")
    for u in range(8)
    for n in range(5)
]
OPENED = {"RAGREC_API_KEYS": orjson.dumps({KEY: ["admin"]}).decode(), "RAGREC_GENERATOR_GATE": "false"}
SWITCH_SECONDS = 60.0


@dataclass(frozen=True)
class Home:
    """A data folder with an index and a compact generator."""

    settings: Settings
    commands: Commands

    def train(self, epochs: int) -> str:
        """Build an adapter and put it to use. Returns its digest."""
        built = self.commands.run("compact", "build", "--epochs", str(epochs), "--held-out", "0", "--device", "cpu")
        return str(built["adapter"])


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    required_python()
    folder = tmp_path_factory.mktemp("home")
    settings = settings_for(folder)
    fill(settings, LOG)
    commands = Commands(folder, {**OPENED, "RAGREC_CANDIDATES": "10"})
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

    second = home.train(4)
    assert second != first.adapter
    after = answered_by(api, second)
    assert told(after) == in_process(home, "user-3")


def answered_by(api: Api, adapter: str) -> dict[str, Any]:
    """The first answer that this adapter took part in; requests never fail meanwhile."""
    limit = time.monotonic() + SWITCH_SECONDS
    while time.monotonic() < limit:
        answer = api.recommend("user-3")
        if answer["provenance"]["adapter"] == adapter:
            return answer
    raise AssertionError(f"the adapter was not taken up: {answer['provenance']}")
