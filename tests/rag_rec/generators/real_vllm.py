"""The real vLLM engine on a CPU, started once for all tests that need it.

Its interpreter is named by ``RAGREC_VLLM_PYTHON``, or is that of ``make vllm``; without one the tests are skipped. Test
modules that start the engine are called ``*_real.py``, so that one worker runs all of them (``tests/conftest.py``).
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

INSTALLED = Path(__file__).parents[3] / ".venv-vllm" / "bin" / "python"
START_SECONDS = 600.0  # a minute on an idle machine
STOP_SECONDS = 60.0
SLOTS = 64
"""More than the adapters that the tests load. On a CPU vLLM 0.32 adds the adapter in its last slot to requests without
an adapter (https://github.com/vllm-project/vllm/pull/48421); while that slot is empty, it adds nothing."""
ENVIRONMENT = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
}


def vllm_python() -> Path | None:
    """The interpreter that has vLLM; None where it is not installed."""
    named = os.environ.get("RAGREC_VLLM_PYTHON")
    python = Path(named) if named else INSTALLED
    return python if python.exists() else None


def required_python() -> Path:
    """The interpreter that has vLLM. Skips the test where it is not installed."""
    python = vllm_python()
    if python is None:
        pytest.skip("vLLM is not installed: run `make vllm`, or name an interpreter in RAGREC_VLLM_PYTHON")
    return python


@contextmanager
def running_vllm(python: Path, model: Path, name: str, log: Path, *arguments: str) -> Iterator[str]:
    """Start the engine with a model in float32, and stop it at the end.

    Args:
        python: the interpreter that has vLLM.
        model: folder of the model.
        name: under which it is served.
        log: file for what the engine writes.
        arguments: further ones for the engine.

    Yields:
        Its address.
    """
    port = _free_port()
    url = f"http://127.0.0.1:{port}"
    command = [str(python), "-m", "vllm.entrypoints.openai.api_server", "--model", str(model)]
    command += ["--served-model-name", name, "--host", "127.0.0.1", "--port", str(port), "--dtype", "float32"]
    command += ["--enable-lora", "--max-lora-rank", "64", "--max-loras", str(SLOTS), "--enforce-eager", *arguments]
    with log.open("wb") as output:
        engine = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, **ENVIRONMENT}, start_new_session=True
        )
        try:
            _wait(engine, url, log)
            yield url
        finally:
            _stop(engine)


def _wait(engine: subprocess.Popen[bytes], url: str, log: Path) -> None:
    limit = time.monotonic() + START_SECONDS
    while not _healthy(url):
        try:
            engine.wait(0.5)
        except subprocess.TimeoutExpired:
            if time.monotonic() < limit:
                continue
        raise RuntimeError(f"vLLM did not start. The end of its log:\n{_end(log)}")


def _healthy(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=5.0, trust_env=False).is_success
    except httpx.HTTPError:
        return False


def _end(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-60:])


def _stop(engine: subprocess.Popen[bytes]) -> None:
    """End the engine and the processes that it started, which share its process group."""
    engine.terminate()
    with suppress(subprocess.TimeoutExpired):
        engine.wait(STOP_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(engine.pid, signal.SIGKILL)
    engine.wait()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
