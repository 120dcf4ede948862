from __future__ import annotations

import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from rag_rec.settings import Settings
from serving.app import create_app
from serving.auth import Keyring
from serving.logs import open_log
from serving.service import Service


@pytest.fixture(scope="module")
def app() -> FastAPI:
    settings = Settings(api_keys={SecretStr("the-key-of-the-test"): ["admin"]})
    return create_app(Service(settings, Keyring.from_settings(settings.api_keys), open_log()))
