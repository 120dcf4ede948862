"""The tables of the store. The migrations create them; a test holds both to the same shape."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    ForeignKey,
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

forget_requests = Table(
    "forget_requests",
    metadata,
    Column("request_id", Text, primary_key=True),
    Column("scope", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("epoch_before", BigInteger, nullable=False),
    Column("epoch_after", BigInteger),
    Column("created", BigInteger, nullable=False),
    Column("completed", BigInteger),
    Column("removed", Text, nullable=False),
    Column("timings_ms", Text, nullable=False),
)

ingest_checkpoints = Table(
    "ingest_checkpoints",
    metadata,
    Column("key", Text, primary_key=True),
    Column("position", BigInteger, nullable=False),
    Column("accepted", BigInteger, nullable=False),
    Column("duplicates", BigInteger, nullable=False),
    Column("rejected", BigInteger, nullable=False),
)
