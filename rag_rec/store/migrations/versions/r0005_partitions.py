"""On PostgreSQL, tables of people in hash partitions, so that a removal rewrites only those that held the person.

SQLite cleans its file as a whole: nothing changes there.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# Users are divided by what they are looked up by. A number is then no key that others could refer to.
_TABLES = {
    "interactions": ("user_number", 64, "user_number, item_number, event_code, time"),
    "users": ("id", 64, "id"),
    "lineage": ("user_number", 32, "adapter, user_number"),
    "forget_requests": ("request_id", 16, "request_id"),
}
_INDEXES = {
    "ix_users_number": "users (number)",
    "ix_lineage_user_number": "lineage (user_number)",
    "ix_forget_requests_plan": "forget_requests (plan)",
    "ix_forget_requests_batch_id": "forget_requests (batch_id)",
    "ix_forget_requests_state": "forget_requests (state)",
    "ix_forget_requests_subject": "forget_requests (subject)",
    "ix_forget_requests_created": "forget_requests (created, epoch_after)",
}
# The planner's statistics would keep samples of the values, out of reach of whoever removes a row.
_WITHOUT_SAMPLES = {
    "interactions": ("user_number", "text"),
    "users": ("number", "id", "attributes"),
    "lineage": ("user_number",),
    "forget_requests": ("user_number",),
}


def upgrade() -> None:
    """Move every row into partitions, and make the table of marks."""
    if op.get_bind().dialect.name != "postgresql":
        return
    for table in _TABLES:
        _move(table)
    for index, columns in _INDEXES.items():
        op.execute(f"CREATE INDEX {index} ON {columns}")
    for column, target in (("item_number", "items (number)"), ("event_code", "events (code)")):
        op.execute(f"ALTER TABLE interactions ADD FOREIGN KEY ({column}) REFERENCES {target}")
    op.create_table(
        "residues",
        sa.Column("relation", sa.Text, nullable=False),
        sa.Column("due", sa.Boolean, nullable=False),
        sa.Column("marks", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("relation", name="pk_residues"),
        comment="Partitions that hold rows that were deleted or replaced, and whether they must be rewritten now.",
    )


def _move(table: str) -> None:
    key, count, primary = _TABLES[table]
    op.execute(f"CREATE TABLE moved (LIKE {table} INCLUDING DEFAULTS) PARTITION BY HASH ({key})")
    for part in range(count):
        bounds = f"WITH (MODULUS {count}, REMAINDER {part})"
        op.execute(f"CREATE TABLE {table}_{part:02} PARTITION OF moved FOR VALUES {bounds}")
    for column in _WITHOUT_SAMPLES[table]:
        op.execute(f"ALTER TABLE moved ALTER COLUMN {column} SET STATISTICS 0")  # of every partition as well
    op.execute(f"INSERT INTO moved SELECT * FROM {table}")  # noqa: S608
    op.execute(f"DROP TABLE {table}")
    op.execute(f"ALTER TABLE moved RENAME TO {table}")
    op.execute(f"ALTER TABLE {table} ADD CONSTRAINT pk_{table} PRIMARY KEY ({primary})")
