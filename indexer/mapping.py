"""Which column of a file holds which field."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from indexer.sources.batch import Kind
from rag_rec.errors import InvalidInput

REQUIRED = {
    Kind.INTERACTIONS: ("user_id", "item_id", "time"),
    Kind.ITEMS: ("item_id", "text"),
    Kind.USERS: ("user_id",),
}
OPTIONAL = {
    Kind.INTERACTIONS: ("event", "value", "text"),
    Kind.ITEMS: ("provider",),
    Kind.USERS: (),
}


@dataclass(frozen=True, slots=True)
class ColumnMap:
    """The column that holds each field of a kind of row; by default the one that has the field's name."""

    kind: Kind
    renamed: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, kind: Kind, options: Sequence[str]) -> ColumnMap:
        """Read options of the form ``FIELD=COLUMN``."""
        renamed: dict[str, str] = {}
        for option in options:
            name, separator, column = option.partition("=")
            if not separator or not column or name not in cls(kind).fields:
                fields = ", ".join(cls(kind).fields)
                raise InvalidInput(f"--map takes FIELD=COLUMN, where FIELD is one of {fields}; got {option!r}.")
            if renamed.setdefault(name, column) != column:
                raise InvalidInput(f"--map names the field {name} twice.")
        return cls(kind, renamed)

    @property
    def fields(self) -> tuple[str, ...]:
        """Every field of the kind."""
        return REQUIRED[self.kind] + OPTIONAL[self.kind]

    def column(self, name: str) -> str:
        """The column that holds a field."""
        return self.renamed.get(name, name)

    def attributes(self, columns: Collection[str]) -> list[str]:
        """The columns that hold no field."""
        taken = {self.column(name) for name in self.fields}
        return [column for column in columns if column not in taken]

    def check(self, columns: Collection[str]) -> None:
        """Raise ``InvalidInput`` unless every required field, and every one that was mapped, has its column."""
        wanted = [name for name in self.fields if name in REQUIRED[self.kind] or name in self.renamed]
        missing = [self.column(name) for name in wanted if self.column(name) not in columns]
        if missing:
            raise InvalidInput(
                f"The file has no column {', '.join(missing)}; it has {', '.join(sorted(columns)[:30]) or 'none'}. "
                "Say which column holds which field with --map FIELD=COLUMN."
            )
