"""Reading the journal's file. Everything here blocks; in the daemon it runs on a thread."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dmwatch.service.ledger import schema
from dmwatch.service.ledger.rows import Row
from dmwatch.service.ledger.store import Store, alone, connect_read_only

PAGE = 256
"""So many rows are looked at in one go."""


@dataclass(frozen=True, slots=True)
class Page:
    """A stretch of the journal.

    Attributes:
        rows: those that are wanted, in order.
        last: the position up to which the journal was looked through.
        full: there may be more behind it.
    """

    rows: tuple[Row, ...]
    last: int
    full: bool


class Reader:
    """Reads, and changes nothing.

    Args:
        path: of the journal.
        alone: nobody writes it meanwhile.
        store: what writes it in this process: while that has the file open, it is read there.
    """

    def __init__(self, path: Path, *, alone: bool = False, store: Store | None = None) -> None:
        self._path = path
        self._alone = alone
        self._store = store
        self._connection: sqlite3.Connection | None = None

    def page(
        self, after: int, until: int, wanted: Callable[[Row], bool] | None, limit: int = PAGE
    ) -> Page:
        """Read the events after a position and up to another.

        Raises:
            sqlite3.Error: it cannot be read.
            DmwatchError: it is no journal.
        """
        rows = [
            Row(*values)
            for values in self._all(
                "select * from events where position > ? and position <= ?"
                " order by position limit ?",
                (after, until, limit),
            )
        ]
        full = len(rows) == limit
        last = rows[-1].position if full else max(after, until)
        return Page(tuple(r for r in rows if wanted is None or wanted(r)), last, full)

    def position_of(self, epoch: str, sequence: int) -> int | None:
        """The position of an event; None where it is not there."""
        row = self._one(
            "select position from events where epoch = ? and sequence = ?", (epoch, sequence)
        )
        return row[0] if row else None

    def position_before(self, time: int) -> int | None:
        """The position before the first event from a time on; None where all are older."""
        row = self._one("select min(position) from events where time >= ?", (time,))
        return row[0] - 1 if row and row[0] is not None else None

    def oldest(self) -> Row | None:
        """The oldest event that is kept."""
        row = self._one("select * from events order by position limit 1", ())
        return Row(*row) if row else None

    def last(self) -> tuple[str, int, int]:
        """The last epoch, sequence and position."""
        row = self._one("select epoch, sequence, position from numbers", ())
        return (row[0], row[1], row[2]) if row else ("", 0, 0)

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _one(self, query: str, values: tuple[object, ...]) -> tuple[Any, ...] | None:
        return next(iter(self._all(query, values)), None)

    def _all(self, query: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
        with self._store.borrowed() if self._store else nullcontext() as borrowed:
            if borrowed:
                return borrowed.execute(query, values).fetchall()
            try:
                return self._open().execute(query, values).fetchall()
            finally:
                if not self._alone:
                    self.close()  # its lock would keep a daemon from having the file for itself

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            # where nothing can be written it is read without the files beside it, if it can be
            nobody = self._alone or (self._store is not None and alone(self._path))
            connection = connect_read_only(self._path, alone=nobody)
            try:
                _check(connection, self._path)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection


def _check(connection: sqlite3.Connection, path: Path) -> None:
    if schema.check(connection, path) == 0:
        raise sqlite3.OperationalError("there is nothing in it yet")
