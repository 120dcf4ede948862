"""The rules of the repository: who may import whom, what the README promises, and what never happens in the code."""

from __future__ import annotations

import ast
import re
import shutil
import stat
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("rag_rec", "indexer", "serving")
README = (ROOT / "README.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()
MADE = {"docker/secrets", "docker/secrets/", "docker/.env"}
"""What a target of the Makefile, or the operator, makes."""
PAGES = sorted(
    [*(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")), *(ROOT / "docs").glob("*.md")]
)


def modules(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            assert node.level == 0, f"{path} imports relatively"
            yield node.module


def imported_packages(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imports(path)}


@pytest.mark.parametrize(("package", "forbidden"), [("rag_rec", {"indexer", "serving"}), ("indexer", {"serving"})])
def test_arrows_point_one_way(package: str, forbidden: set[str]) -> None:
    assert modules(package)
    for path in modules(package):
        assert not imported_packages(path) & forbidden, path


def test_serving_does_not_import_the_batch_jobs() -> None:
    for path in modules("serving"):
        assert "indexer" not in imported_packages(path), path


def test_what_is_installed_imports_nothing_of_the_checkout() -> None:
    for path in modules(*PACKAGES):
        assert not imported_packages(path) & {"benchmarks", "demo", "tests", "tools"}, path


def test_domain_imports_nothing_of_the_project() -> None:
    assert not imported_packages(ROOT / "rag_rec/domain.py") & set(PACKAGES)


def test_the_rooms_of_forgetting_do_not_import_what_carries_requests_out() -> None:
    """The modules that accept requests and carry them out import the rooms, not the other way round."""
    rooms = {path.parent.name for path in (ROOT / "rag_rec/forgetting").glob("*/__init__.py")}
    assert rooms
    found = set().union(*(forgetting_imports(f"rag_rec/forgetting/{room}") for room in rooms))
    assert found - rooms <= {"system"}


def forgetting_imports(folder: str) -> set[str]:
    """Rooms and modules of forgetting that a folder imports."""
    names = {name for path in modules(folder) for name in imports(path)}
    return {name.split(".")[2] for name in names if name.startswith("rag_rec.forgetting.")}


def test_nothing_is_pickled() -> None:
    for path in modules(*PACKAGES, "benchmarks", "demo", "tools"):
        assert not imported_packages(path) & {"pickle", "shelve", "marshal", "joblib", "dill", "cloudpickle"}, path
        assert "allow_pickle=True" not in path.read_text(), path


def test_no_module_is_called_utils() -> None:
    assert not [path for path in modules(*PACKAGES) if re.search(r"util|helper|common|misc", path.stem)]


def test_readme_opens_with_the_two_commands_and_make_has_them() -> None:
    opening = README.split("\n## ")[0]
    for command in ("make demo", "make test"):
        assert command in opening
        assert re.search(rf"^{command.split()[1]}: install\b", MAKEFILE, re.MULTILINE)


def test_every_target_named_in_the_pages_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
    targets |= {f"benchmark-{path.stem}" for path in (ROOT / "benchmarks").glob("*.py")}
    for page in PAGES:
        named = set(re.findall(r"(?:`|^|&& )make ([a-z_-]+)", page.read_text(), re.MULTILINE))
        assert named <= targets, page


def test_make_runs_every_benchmark_that_writes_results(tmp_path: Path) -> None:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    planned = subprocess.run(
        ["make", "--dry-run", "benchmarks", f"VENV={tmp_path}"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    writing = {path.stem for path in (ROOT / "benchmarks").glob("*.py") if "write_results(" in path.read_text()}
    assert set(re.findall(r"-m benchmarks\.(\w+)", planned)) == writing - {"report"}


def test_quick_tests_and_coverage_leave_the_same_tests_out() -> None:
    """The other tests are those of ``make test-slow``. The threshold is the one of pyproject.toml."""
    fast = re.search(r"^FAST := (.*)$", MAKEFILE, re.MULTILINE)
    assert fast is not None
    assert fast[1] == '-m "not slow"'
    assert "-m slow $(PYTEST_ARGS)" in recipe("test-slow")
    for target in ("test-fast", "coverage"):
        assert "$(FAST) $(PYTEST_ARGS)" in recipe(target)
    assert recipe("coverage").splitlines()[-1].strip() == "$(BIN)/coverage report"
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["coverage"]
    assert settings["run"]["source_pkgs"] == list(PACKAGES)
    assert settings["report"]["fail_under"] >= 95


def recipe(target: str) -> str:
    """The lines below a target."""
    return MAKEFILE.partition(f"\n{target}: ")[2].partition("\n\n")[0]


def test_continuous_integration_runs_the_demonstration_and_every_test_once() -> None:
    script = ROOT / ".ci/run"
    lines = script.read_text().splitlines()
    assert script.stat().st_mode & stat.S_IXUSR
    assert "set -euo pipefail" in lines
    assert {"make lint", "make coverage", "make test-slow", "make demo"} <= set(lines)


def test_torch_is_the_same_version_everywhere() -> None:
    files = ("Makefile", "pyproject.toml", "docker/Dockerfile.cpu", "docker/Dockerfile.gpu")
    found = {version for name in files for version in re.findall(r"torch==([\d.]+\d)", (ROOT / name).read_text())}
    assert len(found) == 1


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())
    for target in targets:
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_named_in_the_pages_exist(page: Path) -> None:
    for name in set(paths_in_code(page.read_text())) - MADE:
        assert (ROOT / name).exists(), name


def test_a_path_is_found_anywhere_within_code() -> None:
    spans = 'See `make test PYTEST_ARGS="tests/nowhere -x"`, `docs/a.md`, not tests/d'
    text = f"{spans}\n```\npython tools/b.py --to .ci/docs/c\n```"
    assert paths_in_code(text) == ["tests/nowhere", "docs/a.md", "tools/b.py"]


def paths_in_code(text: str) -> list[str]:
    """Paths of the repository that stand anywhere within a span or a block of code."""
    blocks = re.findall(r"```.*?```", text, re.DOTALL)
    spans = re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    path = r"(?<![\w./-])(?:rag_rec|indexer|serving|tests|benchmarks|demo|docs|docker|tools)/[\w./-]*\w"
    return [name for code in (*spans, *blocks) for name in re.findall(path, code)]
