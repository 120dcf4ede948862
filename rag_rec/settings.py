"""All settings in one typed place.

Each comes from the environment (``RAGREC_...``) or the caller; the help text is the documentation.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from rag_rec.history import PositiveRule


class Settings(BaseSettings):
    """Settings of the library, the batch jobs and the service."""

    model_config = SettingsConfigDict(env_prefix="RAGREC_", extra="ignore", frozen=True)

    home: Path = Field(default=Path(".rag-rec"), description="Folder that holds the store and the index generations.")
    store_url: str | None = Field(
        default=None, description="SQLAlchemy URL of the store. Default: SQLite at HOME/store.sqlite3."
    )
    embedding_model: str = Field(
        default="all-MiniLM-L6-v2",
        description="Embedding model: the packaged all-MiniLM-L6-v2, or any sentence-transformers name or folder.",
    )
    positive_minimum: dict[str, float] = Field(
        default={"rating": 4.0},
        description="Events that count as positive only from this value on. Other events always count.",
    )
    ignored_events: frozenset[str] = Field(
        default=frozenset({"dislike", "skip"}), description="Events that never count as positive."
    )
    dense_items_limit: int = Field(
        default=8000,
        ge=0,
        description="Largest catalogue for which the dense matrix P of EASE is kept (8 bytes x items squared).",
    )
    candidates: Annotated[int, Field(ge=1, le=500)] = Field(
        default=50, description="How many candidates reach the generator (N)."
    )
    evidence_tokens: int = Field(default=1024, ge=16, description="Token budget of the evidence in a prompt.")
    interest_clusters: int = Field(default=24, ge=2, description="Item clusters that stand for interests.")
    max_text_characters: int = Field(default=20_000, ge=1, description="Longest text accepted for an item or event.")
    clock_skew_seconds: int = Field(
        default=300, ge=0, description="How far in the future an event's time may lie before it is refused."
    )
    seed: int = Field(default=0, description="Seed of everything that draws random numbers.")
    threads: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="How many texts are embedded side by side. Default: one for each core."
    )

    api_keys: dict[SecretStr, list[str]] = Field(
        default_factory=dict,
        description='API keys and their roles: {"key": ["recommend", "ingest", "privacy", "metrics", "admin"]}.',
    )
    host: str = Field(default="127.0.0.1", description="Address that the service binds to.")
    port: int = Field(default=8080, ge=0, le=65535, description="Port that the service listens on.")
    max_k: int = Field(default=100, ge=1, description="Largest k that a recommendation may ask for.")

    @property
    def database_url(self) -> str:
        """The store's SQLAlchemy URL."""
        return self.store_url or f"sqlite:///{self.home / 'store.sqlite3'}"

    @property
    def generations(self) -> Path:
        """Folder of the index generations."""
        return self.home / "generations"

    @property
    def embedding_threads(self) -> int:
        """How many texts are embedded side by side."""
        return self.threads or os.cpu_count() or 1

    @property
    def positive_rule(self) -> PositiveRule:
        """The rule that says which interactions are positive."""
        return PositiveRule(self.positive_minimum, self.ignored_events)
