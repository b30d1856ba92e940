"""What a table and a column are, and the types of columns."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
import pyarrow as pa

TEXT, INT, FLOAT, BOOL = pa.string(), pa.int64(), pa.float64(), pa.bool_()
TEXTS, FLOATS = pa.list_(pa.string()), pa.list_(pa.float64())


@dataclass(frozen=True)
class Column:
    """One column of a table."""

    name: str
    type: pa.DataType
    doc: str
    nullable: bool = False


@dataclass(frozen=True)
class Table:
    """One table of the run folder."""

    name: str
    row: str
    """What one row is."""
    columns: tuple[Column, ...]

    @property
    def arrow(self) -> pa.Schema:
        """The pyarrow schema, with each column's meaning in its metadata."""
        return pa.schema(
            [pa.field(c.name, c.type, nullable=c.nullable, metadata={"doc": c.doc}) for c in self.columns],
            metadata={"table": self.name, "row": self.row},
        )

    def to_arrow(self, frame: pd.DataFrame) -> pa.Table:
        """The frame as an arrow table of exactly this schema.

        Raises:
            ValueError: a column is missing, unknown, of another type, or null where it may not be.
        """
        names = [c.name for c in self.columns]
        missing, unknown = set(names) - set(frame.columns), set(frame.columns) - set(names)
        if missing or unknown:
            raise ValueError(f"table {self.name!r}: missing {sorted(missing)}, unknown {sorted(unknown)}")
        if frame.empty:
            return self.arrow.empty_table()
        try:
            table = pa.Table.from_pandas(frame[names], schema=self.arrow, preserve_index=False)
        except (pa.ArrowInvalid, pa.ArrowTypeError, ValueError) as error:
            raise ValueError(f"table {self.name!r}: {error}") from error
        return table.replace_schema_metadata(self.arrow.metadata)
