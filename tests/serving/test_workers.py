"""Several workers under a supervisor, as real processes on a real data folder."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from benchmarks.methods.process_memory import copies, family
from demo.service import Commands
from serving.allocator import can_overwrite

pytestmark = pytest.mark.integration

KEY = "the-key-of-the-test"
HEADERS = {"Authorization": f"Bearer {KEY}"}
SETTINGS = {"RAGREC_API_KEYS": orjson.dumps({KEY: ["admin"]}).decode(), "OMP_NUM_THREADS": "1"}
PATIENCE = 600.0
"""Seconds after which a process is taken for stuck: a guard against a hang, far above what a slow machine needs."""
PAUSE = 0.02
"""Seconds between two requests of a caller, so that the callers leave the machine to the processes that they call."""
USERS = 8


def until(condition: Callable[[], Any]) -> Any:
    """What a condition gives as soon as it is true; a bound where real processes take their time."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError("It did not come to pass.")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small system, ingested and indexed by the real commands."""
    folder = tmp_path_factory.mktemp("system")
    items = [{"item_id": f"i{number}", "text": f"Film number {number}"} for number in range(12)]
    events = [
        {"user_id": f"u{user}", "item_id": f"i{(user + step) % 12}", "event": "like", "time": 1_700_000_000_000 + step}
        for user in range(USERS)
        for step in range(5)
    ]
    commands = Commands(folder / "home", SETTINGS)
    for kind, rows in (("items", items), ("interactions", events)):
        source = folder / f"{kind}.jsonl"
        source.write_bytes(b"\n".join(map(orjson.dumps, rows)))
        commands.run("ingest", str(source), "--format", "jsonl", "--kind", kind)
    commands.run("index", "build")
    return folder / "home"


class Service:
    """``rag-rec serve --workers N``, and what its log tells."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self._log = log

    def told(self, event: str) -> list[dict[str, Any]]:
        """The lines of one event."""
        lines = [orjson.loads(line) for line in self._log.read_bytes().splitlines() if line.startswith(b"{")]
        return [line for line in lines if line.get("event") == event]

    @property
    def url(self) -> str:
        """Where all workers answer."""
        return str(self.told("supervising")[0]["url"])

    def pids(self) -> dict[int, int]:
        """The processes that answer, by the number of their place."""
        gone = {line["pid"] for line in self.told("worker_ended")}
        return {line["worker"]: line["pid"] for line in self.told("worker_ready") if line["pid"] not in gone}

    def client(self) -> httpx.Client:
        """A client whose connections are its own."""
        return httpx.Client(base_url=self.url, headers=HEADERS, timeout=30, trust_env=False)

    def worker_of(self, client: httpx.Client) -> int:
        """Which worker answers a client."""
        lines = client.get("/metrics").text.splitlines()
        return int(float(next(line for line in lines if line.startswith("ragrec_worker ")).split()[1]))


@contextmanager
def serving(home: Path, folder: Path, workers: int, **settings: str) -> Iterator[Service]:
    """The service, ended at the end."""
    environment = Commands(home, {**SETTINGS, **settings}).environment
    command = [
        str(Path(sys.executable).with_name("rag-rec")),
        "serve",
        "--port",
        "0",
        "--workers",
        str(workers),
        "--json",
    ]
    log = folder / "log"
    with log.open("wb") as stream:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=stream)
    service = Service(process, log)
    try:
        until(lambda: len(service.pids()) == workers or process.poll() is not None)
        yield service
    finally:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=PATIENCE)


def recommend(client: httpx.Client, user: str) -> httpx.Response:
    return client.post("/v1/recommendations", json={"user_id": user, "k": 3})


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_both_answer_and_sigterm_ends_all(home: Path, tmp_path: Path) -> None:
    with serving(home, tmp_path, 2) as service:
        answered: Counter[int] = Counter()

        def both() -> bool:
            with service.client() as client:
                assert recommend(client, "u1").status_code == 200
                answered[service.worker_of(client)] += 1
            return {1, 2} <= answered.keys()

        until(both)
        pids = service.pids()
        service.process.send_signal(signal.SIGTERM)
        output, _ = service.process.communicate(timeout=PATIENCE)
        result = orjson.loads(output)
        assert (service.process.returncode, result["workers"], result["restarts"]) == (0, 2, 0)
        assert not [pid for pid in pids.values() if alive(pid)]
    tagged = {line["worker"] for line in service.told("request")}
    assert tagged == {1, 2}


def test_each_answers_by_itself_on_a_port_of_its_own(home: Path, tmp_path: Path) -> None:
    port = free_ports()
    with serving(home, tmp_path, 2, RAGREC_WORKER_PORT=str(port)) as service:
        for number in (1, 2):
            with httpx.Client(base_url=f"http://127.0.0.1:{port + number - 1}", headers=HEADERS) as client:
                assert client.get("/readyz").status_code == 200
                assert service.worker_of(client) == number


def free_ports() -> int:
    """The first of two free ports, as far as can be told."""

    for port in range(20_000 + os.getpid() % 20_000, 60_000, 7):
        with socket.socket() as one, socket.socket() as other:
            try:
                one.bind(("127.0.0.1", port))
                other.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
        return port
    raise AssertionError("There are no free ports.")


def test_one_that_is_killed_is_replaced_and_the_other_goes_on(home: Path, tmp_path: Path) -> None:
    with serving(home, tmp_path, 2) as service:
        killed = service.pids()[2]
        os.kill(killed, signal.SIGKILL)
        replaced = until(lambda: {2: killed} != {2: service.pids().get(2)} and service.pids().get(2))
        assert replaced != killed
        with service.client() as client:
            assert recommend(client, "u1").status_code == 200
        service.process.send_signal(signal.SIGTERM)
        output, _ = service.process.communicate(timeout=PATIENCE)
    assert orjson.loads(output)["restarts"] == 1


def test_replacing_all_of_them_under_load_fails_no_request(home: Path, tmp_path: Path) -> None:
    with serving(home, tmp_path, 2) as service:
        before, stop, statuses = service.pids(), threading.Event(), Counter[int | str]()

        def load() -> None:
            with service.client() as client:  # one connection that is kept, as a proxy keeps its own
                while not stop.wait(PAUSE):
                    try:
                        statuses[recommend(client, "u1").status_code] += 1
                    except httpx.TransportError as error:
                        statuses[type(error).__name__] += 1

        callers = [threading.Thread(target=load) for _ in range(4)]
        for caller in callers:
            caller.start()
        service.process.send_signal(signal.SIGHUP)
        until(lambda: set(service.pids()) == {1, 2} and not set(service.pids().values()) & set(before.values()))
        until(lambda: len(service.told("worker_ended")) == 2)
        stop.set()
        for caller in callers:
            caller.join(PATIENCE)
        assert set(statuses) == {200}
        assert statuses[200] > 20
        assert not [pid for pid in before.values() if alive(pid)]


def test_a_person_is_gone_from_both_at_once(home: Path, tmp_path: Path) -> None:
    with serving(home, tmp_path, 2) as service, ExitStack() as stack:
        clients: dict[int, httpx.Client] = {}

        def both() -> bool:
            client = stack.enter_context(service.client())
            clients[service.worker_of(client)] = client
            return {1, 2} <= clients.keys()

        until(both)
        first = clients[1]
        plan = first.delete("/v1/users/u2", params={"dry_run": True}).json()["plan"]
        assert first.delete("/v1/users/u2", params={"confirm": "u2", "plan": plan}).status_code == 200
        for client in clients.values():
            assert recommend(client, "u2").json()["provenance"]["known_user"] is False
            assert client.get("/v1/users/u2/export").status_code == 404


def test_the_end_of_the_supervisor_ends_the_workers(home: Path, tmp_path: Path) -> None:
    with serving(home, tmp_path, 2) as service:
        pids = service.pids()
        service.process.kill()
        until(lambda: not [pid for pid in pids.values() if alive(pid)])


def test_workers_without_an_index_end_the_service(tmp_path: Path) -> None:
    (tmp_path / "items.jsonl").write_text('{"item_id": "one", "text": "first"}\n')
    commands = Commands(tmp_path / "home", SETTINGS)
    commands.run("ingest", str(tmp_path / "items.jsonl"), "--format", "jsonl", "--kind", "items")
    with serving(tmp_path / "home", tmp_path, 2) as service:
        output, _ = service.process.communicate(timeout=PATIENCE)
    assert service.process.returncode == 1
    assert "No worker could start" in orjson.loads(output)["error"]["message"]
    assert {line["code"] for line in service.told("worker_failed")} == {"not_ready"}


@pytest.mark.skipif(not (sys.platform == "linux" and can_overwrite()), reason="memory is overwritten and read so there")
def test_no_process_keeps_ids_or_texts_of_the_forgotten(home: Path, tmp_path: Path) -> None:
    people = {f"person-{secrets.token_hex(8)}": secrets.token_hex(12) for _ in range(6)}
    with serving(home, tmp_path, 1, RAGREC_OVERWRITE_FREED="true") as service, service.client() as client:
        for user, text in people.items():
            _live(client, user, text)
        plans = {user: client.delete(f"/v1/users/{user}", params={"dry_run": True}).json()["plan"] for user in people}
        assert copies(service.pids()[1], people.keys())  # what is there is found
        for user, plan in plans.items():
            params = {"confirm": user, "plan": plan}
            assert client.delete(f"/v1/users/{user}", params=params).status_code == 200
        for number in range(USERS):
            assert recommend(client, f"u{number}").status_code == 200
        until(lambda: not _kept(service, people))


def _live(client: httpx.Client, user: str, text: str) -> None:
    assert client.put(f"/v1/users/{user}", json={"attributes": {"age": 30}}).status_code == 204
    for item in range(3):
        event = {"item_id": f"i{item}", "event": "like", "text": f"I said {text} of it."}
        assert client.post(f"/v1/users/{user}/interactions", json=event).status_code == 200
    for strategy in ("preference", "diversity", "attention"):
        body = {"user_id": user, "k": 3, "strategy": strategy}
        assert client.post("/v1/recommendations", json=body).status_code == 200
    assert client.get(f"/v1/users/{user}/export").status_code == 200


def _kept(service: Service, people: Mapping[str, str]) -> int:
    """How many copies there are in the worker and the process of its removals."""
    looked_for = [*people.keys(), *people.values()]
    return sum(copies(process, looked_for).total() for process in family(service.pids()[1]))
