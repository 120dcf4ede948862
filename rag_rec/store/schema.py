"""The tables of the store. The migrations create them; a test holds both to the same shape."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData(naming_convention={"uq": "uq_%(table_name)s_%(column_0_name)s", "pk": "pk_%(table_name)s"})

# SQLite makes a column the table's own key only if its type is spelled INTEGER.
Number = BigInteger().with_variant(Integer(), "sqlite")

counters = Table(
    "counters",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", BigInteger, nullable=False),
    comment="Next numbers. They outlive the rows they numbered, so that no number is ever reused.",
)

users = Table(
    "users",
    metadata,
    Column("number", Number, primary_key=True, autoincrement=False),
    Column("id", Text, nullable=False),
    Column("attributes", Text, nullable=False),
    UniqueConstraint("id"),
)

items = Table(
    "items",
    metadata,
    Column("number", Number, primary_key=True, autoincrement=False),
    Column("id", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("attributes", Text, nullable=False),
    Column("provider", Text),
    UniqueConstraint("id"),
)

events = Table(
    "events",
    metadata,
    Column("code", Number, primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False),
    UniqueConstraint("name"),
)

# The key that makes an interaction unique is also the order in which rows lie on disk: a user's history is one
# contiguous range, so that reading it is one seek and deleting it touches only the pages of that range.
interactions = Table(
    "interactions",
    metadata,
    Column("user_number", BigInteger, ForeignKey("users.number"), nullable=False),
    Column("item_number", BigInteger, ForeignKey("items.number"), nullable=False),
    Column("event_code", SmallInteger, ForeignKey("events.code"), nullable=False),
    Column("time", BigInteger, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("value", Double),
    Column("text", Text),
    PrimaryKeyConstraint("user_number", "item_number", "event_code", "time"),
    sqlite_with_rowid=False,
)

changes = Table(
    "changes",
    metadata,
    Column("epoch", Number, primary_key=True, autoincrement=False),
    Column("kind", Text, nullable=False),
    Column("number", BigInteger, nullable=False),
)

ingest_checkpoints = Table(
    "ingest_checkpoints",
    metadata,
    Column("key", Text, primary_key=True),
    Column("position", BigInteger, nullable=False),
    Column("accepted", BigInteger, nullable=False),
    Column("duplicates", BigInteger, nullable=False),
    Column("rejected", BigInteger, nullable=False),
    Column("suppressed", BigInteger, nullable=False),
)

forget_requests = Table(
    "forget_requests",
    metadata,
    Column("request_id", Text, primary_key=True),
    Column("batch_id", Text),
    Column("subject", Text, nullable=False),
    Column("plan", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("user_number", BigInteger),
    Column("epoch_before", BigInteger, nullable=False),
    Column("epoch_after", BigInteger, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("deadline", BigInteger, nullable=False),
    Column("times", Text, nullable=False),
    Column("removed", Text, nullable=False),
    Column("timings_ms", Text, nullable=False),
    Column("receipt", Text),
    Index("ix_forget_requests_plan", "plan"),
    Index("ix_forget_requests_batch_id", "batch_id"),
    Index("ix_forget_requests_state", "state"),
    Index("ix_forget_requests_subject", "subject"),
    Index("ix_forget_requests_created", "created", "epoch_after"),
)

suppressions = Table(
    "suppressions",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("subject", Text, nullable=False),
    Column("identity", BigInteger, nullable=False),
    Column("consented", BigInteger),
    Index("ix_suppressions_subject", "subject"),
)

seals = Table(
    "seals",
    metadata,
    Column("name", Text, primary_key=True),
    Column("key_id", Text, nullable=False),
    comment="Which key the pseudonyms of this store were made with.",
)

ledger = Table(
    "ledger",
    metadata,
    Column("sequence", Number, primary_key=True, autoincrement=False),
    Column("kind", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("previous", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("signature", Text, nullable=False),
)

holds = Table(
    "holds",
    metadata,
    Column("subject", Text, primary_key=True),
    Column("reason", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
)

replicas = Table(
    "replicas",
    metadata,
    Column("id", Text, primary_key=True),
    Column("host", Text, nullable=False),
    Column("process", BigInteger, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("seen", BigInteger, nullable=False),
    Column("adapters", Text, nullable=False),
)

identity = Table(
    "identity",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
    comment="The random id by which a data folder knows the store that it belongs to.",
)

places = Table(
    "places",
    metadata,
    Column("id", Text, primary_key=True),
    Column("host", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("seen", BigInteger, nullable=False),
    Column("adapters", Text, nullable=False),
    Column("retired", BigInteger),
    Column("reason", Text),
)

service_processes = Table(
    "service_processes",
    metadata,
    Column("id", Text, primary_key=True),
    Column("host", Text, nullable=False),
    Column("process", BigInteger, nullable=False),
    Column("born", BigInteger, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("seen", BigInteger, nullable=False),
    Column("ended", SmallInteger, nullable=False),
    comment="Which processes ran since which epoch. One that has ended stays until receipts say so.",
)

lineage = Table(
    "lineage",
    metadata,
    Column("adapter", Text, primary_key=True),
    Column("user_number", BigInteger, primary_key=True),
    Column("interactions", BigInteger, nullable=False),
    Index("ix_lineage_user_number", "user_number"),
)

debts = Table(
    "debts",
    metadata,
    Column("request_id", Text, primary_key=True),
    Column("adapter", Text, primary_key=True),
    Index("ix_debts_adapter", "adapter"),
)

measured_removals = Table(
    "measured_removals",
    metadata,
    Column("request_id", Text, primary_key=True),
    Column("adapter", Text, primary_key=True),
    Column("measured", Text, nullable=False),
    Index("ix_measured_removals_adapter", "adapter"),
    comment="What was measured of a removal that is not exact, as long as the adapter exists.",
)
