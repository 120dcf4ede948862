"""The proxy's examples agree with the service, and keep nothing personal in a log or on a disk."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from fastapi import FastAPI

from serving.limits import Limits
from serving.server import Address
from tests.docker.composition import DOCKER

NGINX = (DOCKER / "proxy" / "nginx.conf").read_text()
CADDY = (DOCKER / "proxy" / "Caddyfile").read_text()
UNITS = {"k": 2**10, "m": 2**20}


def size(directive: str) -> int:
    found = re.search(rf"^\s*{directive} (\d+)([km]);", NGINX, re.MULTILINE)
    assert found is not None, directive
    return int(found[1]) * UNITS[found[2]]


def test_bodies_are_as_large_as_the_service_takes_and_stay_in_memory() -> None:
    assert size("client_max_body_size") == size("client_body_buffer_size") == Limits().body_bytes
    assert "proxy_max_temp_file_size 0;" in NGINX
    assert "proxy_cache off;" in NGINX


def test_no_address_is_logged() -> None:
    [form] = re.findall(r"^log_format ragrec '([^']*)';", NGINX, re.MULTILINE)
    assert not {"$request", "$uri", "$request_uri", "$args", "$query_string"} & set(form.split())
    assert "error_log" in NGINX
    assert "output discard" in CADDY


def test_addresses_are_passed_on_as_they_came() -> None:
    passed = re.findall(r"proxy_pass ([^;]*);", NGINX)
    assert set(passed) == {"http://ragrec"}  # with a path behind it, nginx would decode and join slashes


def test_the_calls_that_take_long_exist(app: FastAPI) -> None:
    paths = app.openapi()["paths"]
    assert "/v1/recommendations/explain" in paths
    assert "/v1/forget/{request}/prove" in paths
    assert "/metrics" in paths


def test_it_asks_the_service_where_it_listens_by_default() -> None:
    assert f"server {Address('127.0.0.1', 8080).url.removeprefix('http://')};" in NGINX
    assert "reverse_proxy 127.0.0.1:8080" in CADDY


@pytest.mark.skipif(shutil.which("nginx") is None or shutil.which("openssl") is None, reason="nginx is not installed")
def test_nginx_accepts_it(tmp_path: Path) -> None:
    for name in ("fullchain.pem", "privkey.pem"):
        (tmp_path / name).touch()
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    keys = ["-keyout", str(tmp_path / "privkey.pem"), "-out", str(tmp_path / "fullchain.pem")]
    subprocess.run([*made, *keys], check=True, capture_output=True)
    local = NGINX.replace("/etc/ssl/rag-rec", str(tmp_path)).replace("/var/log/nginx", str(tmp_path))
    path = tmp_path / "nginx.conf"
    path.write_text(f"pid {tmp_path}/pid;\nevents {{}}\nhttp {{\n{local}\n}}\n")
    subprocess.run(["nginx", "-t", "-c", str(path)], check=True, capture_output=True)
