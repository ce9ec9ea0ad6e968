"""The plain asyncio program on SQLite: one row per event, one transaction per batch.

The table is clustered by session and sequence number: a second index would cost every insert a
second tree. The write-ahead log is synced by each commit.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.baselines.asyncio_program import Program
from bench.baselines.plain import Event
from bench.harness import Durability

__all__ = ["PROGRAM", "SqliteStore"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    id TEXT NOT NULL,
    session_id TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    type TEXT NOT NULL,
    timestamp INTEGER NOT NULL,
    run_id TEXT,
    data TEXT NOT NULL,
    PRIMARY KEY (session_id, sequence)
) WITHOUT ROWID
"""


class SqliteStore:
    """Events in one SQLite database."""

    def __init__(self, directory: Path, durability: Durability) -> None:
        # The writer's thread is the only one at work between opening and closing.
        self._connection = sqlite3.connect(
            directory / "events.db", isolation_level=None, check_same_thread=False
        )
        self._connection.execute("PRAGMA journal_mode = WAL")
        synchronous = "FULL" if durability is Durability.FSYNC else "NORMAL"
        self._connection.execute(f"PRAGMA synchronous = {synchronous}")
        self._connection.execute(_SCHEMA)

    def encode(self, event: Event) -> tuple[Any, ...]:
        """Return the event as a row."""
        return (*event[:6], json.dumps(event.data))

    def write(self, rows: list[tuple[Any, ...]]) -> None:
        """Insert the rows; the commit syncs."""
        execute = self._connection.execute
        execute("BEGIN IMMEDIATE")
        try:
            self._connection.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        except BaseException:
            execute("ROLLBACK")
            raise
        execute("COMMIT")

    def stored(self) -> Iterator[tuple[str, int, str]]:
        """Yield session id, sequence number and type of each event in the order of the key."""
        yield from self._connection.execute(
            "SELECT session_id, sequence, type FROM events ORDER BY session_id, sequence"
        )

    def close(self) -> None:
        """Close the database."""
        self._connection.close()


PROGRAM = Program(SqliteStore)
