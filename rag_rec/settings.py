"""All settings in one typed place.

Each comes from the environment (``RAGREC_...``) or the caller; the help text is the documentation.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from rag_rec.events.history import PositiveRule
from rag_rec.events.known import KNOWN
from rag_rec.events.rule import NEGATIVE, POSITIVE, EventRule

_QUOTED: Final = re.compile(r'"(\w+)"')


class Settings(BaseSettings):
    """Settings of the library, the batch jobs and the service."""

    model_config = SettingsConfigDict(env_prefix="RAGREC_", env_ignore_empty=True, extra="ignore", frozen=True)

    home: Path = Field(default=Path(".rag-rec"), description="Folder that holds the store and the index generations.")
    store_url: str | None = Field(
        default=None, description="SQLAlchemy URL of the store. Default: SQLite at HOME/store.sqlite3."
    )
    embedding_model: str = Field(
        default="all-MiniLM-L6-v2",
        description="Embedding model: the packaged all-MiniLM-L6-v2, or any sentence-transformers name or folder.",
    )
    events: dict[str, EventRule] = Field(
        default_factory=dict,
        description="Events of your own, and what they mean: `positive`, `neutral`, `negative` or `impression`; "
        'for example {"test_drive": "positive", "listened_seconds": {"means": "positive", "minimum": 30}}. They are '
        "added to those that are known already, or replace them. Other events are refused.",
    )
    positive_minimum: dict[str, Annotated[float, Field(allow_inf_nan=False)]] = Field(
        default={"rating": 4.0},
        description="Events that count as positive only from this value on, and need one. RAGREC_EVENTS goes first.",
    )
    ignored_events: frozenset[str] = Field(
        default=frozenset({"dislike", "skip"}),
        description="Events that never count as positive. RAGREC_EVENTS goes first.",
    )
    dense_items_limit: int = Field(
        default=8000,
        ge=0,
        description="Largest catalogue for which the dense matrix P of EASE is kept (8 bytes x items squared).",
    )
    unsigned_index: Literal["warn", "refuse"] = Field(
        default="warn",
        description="What is done with an index without a signature: earlier versions made such, and anyone who can "
        "write in the folder can remove one. `refuse` once all have been built anew.",
    )
    candidates: Annotated[int, Field(ge=1, le=500)] = Field(
        default=50, description="How many candidates reach the generator (N)."
    )
    equal_texts: Literal["once", "all"] = Field(
        default="once",
        description="Whether of items with the same text `once` the best may stand in a list, or `all` of them, for "
        "example variants that differ in their attributes only.",
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

    generator: Literal["auto", "passthrough", "local", "vllm"] = Field(
        default="auto",
        description="What ranks the candidates: `local` runs a model in this process, `vllm` asks a server, "
        "`passthrough` keeps the candidates' order; `auto` is `local` where a compact generator has been built.",
    )
    generator_model: str | None = Field(
        default=None,
        description="Folder or Hugging Face name of the LLM, and of its tokenizer. Default: the compact generator.",
    )
    generator_urls: list[str] = Field(
        default_factory=list, description='Base URLs of vLLM servers, for example ["http://10.0.0.5:8000"].'
    )
    generator_served_name: str | None = Field(
        default=None, description="Name under which vLLM serves the model. Default: the name it lists first."
    )
    generator_key: SecretStr | None = Field(default=None, description="Bearer key of the vLLM servers.")
    generator_device: str = Field(
        default="auto",
        pattern=r"^(auto|cpu|cuda(:\d+)?)$",
        description="Where a local model runs: `auto`, `cpu` or `cuda`.",
    )
    generator_timeout_ms: int = Field(
        default=2000, ge=1, description="Longest time that an answer waits for the LLM before it goes out without it."
    )
    generator_gate: bool = Field(
        default=True,
        description="Whether an LLM takes part only where `rag-rec generator gate` measured that it helps.",
    )
    generator_orders: Annotated[int, Field(ge=1, le=16)] = Field(
        default=1, description="In how many orders an LLM sees the candidates; the answers are averaged."
    )
    generator_least_mass: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Least label mass of an answer that is relied on. Default: 0.5 for letters, an even share of one "
        "token for item tokens.",
    )

    fairness_figures: list[str] = Field(
        default_factory=list, description="Figures of fairness by none of which an LLM may make the order less fair."
    )
    exposure_figures: list[str] = Field(
        default_factory=list, description='Figures of fairness, such as ["popularity"], for which items are held back.'
    )
    exposure_budget: float = Field(default=0.01, ge=0, lt=1, description="Share of NDCG that holding back may cost.")

    pseudonym_key: SecretStr | None = Field(
        default=None,
        description="Key of the pseudonyms in ledger, receipts and suppression list: 32 bytes in base64. It can never "
        "be changed. Default: made once, in HOME/keys.",
    )
    signing_key: SecretStr | None = Field(
        default=None,
        description="Ed25519 private key that signs receipts: 32 bytes in base64. Default: made once, in HOME/keys.",
    )
    pseudonym_key_file: Path | None = Field(
        default=None, description="File that holds RAGREC_PSEUDONYM_KEY, instead of HOME/keys/pseudonym.key."
    )
    signing_key_file: Path | None = Field(
        default=None, description="File that holds RAGREC_SIGNING_KEY, instead of HOME/keys/signing.key."
    )
    ledger_copy: Path | None = Field(
        default=None,
        description="File to which the erasure ledger is copied; a restore needs it. Put it on another disk than the "
        "store. Default: HOME/ledger.jsonl.",
    )
    forget_days: int = Field(
        default=30, ge=1, description="Days within which a forget request must be complete (GDPR, article 12(3))."
    )
    replica_wait_ms: int = Field(
        default=3000,
        ge=0,
        description="How long a forget command waits for the other running services to follow, and one that replaces "
        "an adapter for them to let go of the old one.",
    )
    adapter_policy: Literal["deadline", "strict"] = Field(
        default="deadline",
        description="Whether an adapter that saw a forgotten person may still rank: `deadline` until "
        "RAGREC_ADAPTER_HOURS have passed, `strict` not at all.",
    )
    adapter_hours: int = Field(
        default=24, ge=0, description="Hours after which an adapter that saw a forgotten person may not rank any more."
    )

    adapter_method: Literal["retrain", "shards", "influence"] = Field(
        default="retrain",
        description="How `rag-rec adapter unlearn` takes forgotten people out of the adapter: `retrain` and "
        "`shards` are exact, `influence` suppresses them, and is measured.",
    )
    adapter_budget: float = Field(
        default=0.01,
        ge=0,
        le=1,
        description="Share of the people of an adapter's training that may leave it by a method that is not exact; "
        "beyond it `rag-rec adapter unlearn` trains again.",
    )
    adapter_unlearn_minutes: int = Field(
        default=0,
        ge=0,
        description="How often a running service looks whether forget requests wait for the adapter, and starts "
        "`rag-rec adapter unlearn`. Default: never.",
    )

    api_keys: dict[SecretStr, list[str]] = Field(
        default_factory=dict,
        description='API keys and their roles: {"key": ["recommend", "ingest", "privacy", "metrics", "admin"]}.',
    )
    api_keys_file: Path | None = Field(
        default=None,
        description="File of further API keys, JSON as in RAGREC_API_KEYS, that only its owner can read. A running "
        "service follows its changes. `rag-rec key new` adds to it.",
    )
    host: str = Field(default="127.0.0.1", description="Address that the service binds to.")
    port: int = Field(default=8080, ge=0, le=65535, description="Port that the service listens on.")
    max_connections: int = Field(
        default=1000,
        ge=1,
        description="Most connections open at once; fewer where the process may not open so many files.",
    )
    max_connections_per_address: Annotated[int, Field(ge=1)] | None = Field(
        default=None,
        description="Most connections open at once from one address. Default: no limit of its own, because behind a "
        "proxy all callers have one address.",
    )
    overwrite_freed: bool = Field(
        default=False,
        description="Whether `rag-rec serve` overwrites memory when it frees it, so that ids and texts of forgotten "
        "people do not stay there. Costs a tenth to a quarter of the processor's time of an answer; glibc only.",
    )
    workers: Annotated[int, Field(ge=1, le=256)] | None = Field(
        default=None,
        description="How many service processes answer, under a supervisor that keeps them running and replaces them "
        "one at a time. Default: one process without a supervisor.",
    )
    worker_port: int | None = Field(
        default=None,
        ge=1,
        le=65535,
        description="Port on which the first worker answers by itself, the second on the next one, and so on: for "
        "metrics and the readiness of each. Default: none; then only the port that all share answers.",
    )
    recycle_hours: float | None = Field(
        default=None,
        gt=0,
        description="Hours within which each worker is replaced by a new process, in which nothing is left of people "
        "who were forgotten before it began. Default: never, but on SIGHUP.",
    )
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
    def compact(self) -> Path:
        """Folder of the compact generator and its adapters."""
        return self.home / "compact"

    @property
    def gates(self) -> Path:
        """Folder of what was measured of generators."""
        return self.home / "gates"

    @property
    def keys(self) -> Path:
        """Folder of the keys that are not given."""
        return self.home / "keys"

    @property
    def ledger_file(self) -> Path:
        """The copy of the erasure ledger."""
        return self.ledger_copy or self.home / "ledger.jsonl"

    @property
    def embedding_threads(self) -> int:
        """How many texts are embedded side by side."""
        return self.threads or os.cpu_count() or 1

    @property
    def positive_rule(self) -> PositiveRule:
        """The rule that says which interactions are positive."""
        return PositiveRule(self.event_rules)

    @property
    def event_rules(self) -> Mapping[str, EventRule]:
        """What every event means that may be stored, by name."""
        return {
            **KNOWN,
            **{name: POSITIVE.model_copy(update={"minimum": value}) for name, value in self.positive_minimum.items()},
            **dict.fromkeys(self.ignored_events, NEGATIVE),
            **self.events,
        }


def settings_problem(error: SettingsError | ValidationError) -> str:
    """Which settings cannot be used, why, and what each is for, in one line that repeats no value."""
    if isinstance(error, SettingsError):
        found = _QUOTED.search(str(error))
        return _about(found[1] if found else "", ["is not JSON"])
    problems: dict[str, list[str]] = {}
    for problem in error.errors(include_input=False, include_url=False):
        name, *place = map(str, problem["loc"] or ("",))
        shown = "" if _is_secret(name) else "".join(f"{part}: " for part in place)
        problems.setdefault(name, []).append(shown + problem["msg"].removeprefix("Value error, "))
    return " ".join(_about(name, dict.fromkeys(messages)) for name, messages in problems.items())


def _about(name: str, messages: Iterable[str]) -> str:
    field = Settings.model_fields.get(name)
    meaning = f" Its meaning: {field.description}" if field is not None else ""
    return f"RAGREC_{name.upper()} cannot be used: {'; '.join(messages)}.{meaning}"


def _is_secret(name: str) -> bool:
    """Whether a setting holds secrets; those of the API keys are the names in a JSON object."""
    field = Settings.model_fields.get(name)
    return field is None or "Secret" in str(field.annotation)
