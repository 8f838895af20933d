"""Inserts many rows with one statement.

PostgreSQL gets the rows as one JSON text. That takes a fifth of the time of SQLAlchemy's own statements for
many rows, and it is safe: if a process is paused while it sends a pipeline of messages, the server waits for
the rest for ever and keeps all locks; between two statements it ends the transaction (see `postgres`).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec
import sqlalchemy as sa


def insert(
    connection: sa.Connection,
    table: sa.Table,
    rows: Sequence[Mapping[str, Any]],
    *,
    existing: Literal["refuse", "skip", "replace"] = "refuse",
) -> None:
    """Insert rows that have the same columns; `existing`: what to do with a row whose key is in the table."""
    if not rows:
        return
    columns, keys = list(rows[0]), table.primary_key.columns.keys()
    names = ", ".join(columns)
    values = ", ".join(f"{name} = excluded.{name}" for name in columns if name not in keys)
    on_conflict = {
        "refuse": "",
        "skip": "ON CONFLICT DO NOTHING",
        "replace": f"ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {values}",
    }[existing]
    parameters: Any = rows
    source = f"VALUES ({', '.join(':' + name for name in columns)})"
    if connection.dialect.name == "postgresql":
        parameters = {"rows": msgspec.json.encode(rows).decode()}
        types = ", ".join(f"{name} {table.c[name].type.compile(connection.dialect)}" for name in columns)
        source = f"SELECT {names} FROM json_to_recordset(CAST(:rows AS json)) AS given ({types})"  # noqa: S608
    connection.execute(sa.text(f"INSERT INTO {table.name} ({names}) {source} {on_conflict}"), parameters)
