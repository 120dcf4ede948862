"""Freed memory is overwritten: looked at in the memory of real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import orjson
import psutil
import pytest

from serving.allocator import GLIBC_TUNABLES, JEMALLOC, JUNK, TUNABLES, can_overwrite, is_overwriting, overwriting

ROOT = Path(__file__).parents[2]
PEOPLE = 200
CANARY = "canary-of-somebody-"
"""Reversed on the way to the child, so that its arguments hold none; halves are looked for, for the same reason."""

CHILD = f"""
import sys
backwards = sys.argv[1]
people = [{{"id": backwards[::-1] + f"{{n:04}}", "text": f"{{n:04}} said " + backwards[::-1]}} for n in range({PEOPLE})]
if sys.argv[2] == "freed":
    del people
first, second = backwards[:-10:-1].encode(), backwards[-10::-1].encode()
found = 0
with open("/proc/self/maps") as maps:
    regions = [line.split() for line in maps]
with open("/proc/self/mem", "rb", buffering=0) as memory:
    for region in regions:
        if region[1][:2] != "rw" or region[-1] in ("[vvar]", "[vdso]"):
            continue
        start, end = (int(place, 16) for place in region[0].split("-"))
        try:
            memory.seek(start)
            block = memory.read(end - start)
        except OSError:
            continue
        found += sum(part.startswith(second) for part in block.split(first)[1:])
print(found)
"""
SERVE = """
import rag_rec, sys, types
from serving.commands import app
from tests.serving.fake_engine import FakeEngine

kept = []  # a process of removals ends when nothing refers to it
module = types.ModuleType("rag_rec.engine.engine")
module.Engine = types.SimpleNamespace(open=lambda settings, removals: kept.append(removals) or FakeEngine())
rag_rec.engine.engine = sys.modules["rag_rec.engine.engine"] = module
app()
"""
"""The command itself, which starts a real process for removals."""

glibc_only = pytest.mark.skipif(not can_overwrite(), reason="the C library here cannot overwrite what is freed")


def plain() -> dict[str, str]:
    """Without coverage, too: what traces a process allocates in it, and writes over what was freed."""
    measured = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    return {name: value for name, value in measured.items() if name not in overwriting({})}


def copies(environment: dict[str, str], what: str) -> int:
    """How often the canary lies in the memory of a process that made it, and freed it or kept it."""
    command = [sys.executable, "-c", CHILD, CANARY[::-1], what]
    return int(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)


@glibc_only
def test_what_is_freed_is_found_in_memory_unless_it_is_overwritten() -> None:
    assert copies(plain(), "kept") >= 2 * PEOPLE
    assert copies(overwriting(plain()), "kept") >= 2 * PEOPLE
    assert copies(plain(), "freed") > 0
    assert copies(overwriting(plain()), "freed") == 0


def test_other_settings_of_the_allocators_stay() -> None:
    there = {GLIBC_TUNABLES: "glibc.malloc.arena_max=2:glibc.malloc.perturb=1", JEMALLOC: "narenas:2,junk:false"}
    environment = overwriting(there)
    assert environment[GLIBC_TUNABLES].split(":")[0] == "glibc.malloc.arena_max=2"
    assert environment[GLIBC_TUNABLES].count("perturb") == 1
    assert environment[JEMALLOC] == "narenas:2,junk:free"
    assert overwriting(environment) == environment
    assert is_overwriting(environment) is can_overwrite()
    assert not is_overwriting(there)


@glibc_only
@pytest.mark.integration
@pytest.mark.parametrize("wanted", [True, False])
def test_a_service_and_its_removal_process_begin_with_the_environment(tmp_path: Path, wanted: bool) -> None:
    environment = {
        **{name: value for name, value in plain().items() if not name.startswith("RAGREC_")},
        "RAGREC_HOME": str(tmp_path),
        "RAGREC_OVERWRITE_FREED": str(wanted).lower(),
        "RAGREC_API_KEYS": '{"the-key-of-the-test-of-memory": ["admin"]}',
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-c", SERVE, "serve", "--port", "0", "--json"]
    with subprocess.Popen(
        command, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        try:
            next(event for event in map(orjson.loads, process.stderr) if event["event"] == "ready")
            family = [process.pid, *(child.pid for child in psutil.Process(process.pid).children())]
            assert len(family) > 1
            assert {began_overwriting(each) for each in family} == {wanted}
        finally:
            process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=60)
    assert (process.returncode, orjson.loads(output)["ok"]) == (0, True)


def began_overwriting(process: int) -> bool:
    """Whether a process was started with the variables. glibc cuts its own at the colons."""
    began = Path(f"/proc/{process}/environ").read_bytes().decode()
    wanted = (*(f"{name}={value}" for name, value in TUNABLES.items()), "PYTHONMALLOC=malloc", JUNK)
    return all(each in began for each in wanted)
