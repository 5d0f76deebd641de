"""Writing the journal's file. Everything here blocks, and runs on one thread (see disk.py)."""

from __future__ import annotations

import errno
import math
import os
import sqlite3
import stat
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from itertools import takewhile
from pathlib import Path

from pydantic import ValidationError

from dmwatch.errors import DmwatchError
from dmwatch.events import Condition
from dmwatch.service.ledger import schema
from dmwatch.service.ledger.rows import Row
from dmwatch.service.ledger.standing import Changes

TRIM_ROWS = 250
"""Old events are deleted in steps of so many, between which others can write."""
BUSY_SECONDS = 0.3
TURN_SECONDS = 4.0
"""So long a reading waits for a write."""
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_WAL_LIMIT = 4 * 1024**2
_INSERT_EVENT = "insert into events values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


@dataclass(frozen=True, slots=True)
class Kept:
    """What an earlier daemon left in the journal.

    Attributes:
        epoch: the ids' first half; "" where a new one must be begun.
        sequence: the last one.
        position: the last one.
        cursors: how far each handler has got.
        standing: what stood.
        damaged: where the file was put that could not be read and was replaced, or None.
    """

    epoch: str = ""
    sequence: int = 0
    position: int = 0
    cursors: Mapping[str, int] = field(default_factory=dict)
    standing: tuple[Condition, ...] = ()
    damaged: Path | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """What is written together: all of it, or nothing.

    Attributes:
        epoch: the numbers after it; "": should the daemon die now, the next one begins anew.
        sequence: as epoch.
        position: as epoch.
        rows: the events.
        standing: what changed in what stands; None under a key: nothing stands there any more.
        whole: `standing` is all that stands.
        cursors: of handlers.
        replacing: rows from this position on are replaced: they were written by a call that had
            been given up, and never told under these numbers.
    """

    epoch: str
    sequence: int
    position: int
    rows: Sequence[Row] = ()
    standing: Changes = field(default_factory=dict)
    whole: bool = False
    cursors: Mapping[str, int] = field(default_factory=dict)
    replacing: int | None = None


class Store:
    """The file of the journal. While it is open nobody else can read or write it.

    Args:
        path: made where it is missing, with the folders above it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection: sqlite3.Connection | None = None
        self._inode = (0, 0)
        self._damaged = False
        self._aside: Path | None = None
        # reading and writing take turns on the one connection
        self._turn = threading.RLock()

    @contextmanager
    def borrowed(self) -> Iterator[sqlite3.Connection | None]:
        """The connection, to read between two writes; None where the file is not open.

        Raises:
            sqlite3.OperationalError: a write takes too long.
        """
        if not self._turn.acquire(timeout=TURN_SECONDS):
            raise sqlite3.OperationalError("it is being written for too long")
        try:
            if self._connection is None:
                yield None
            else:
                with self._noting_damage():
                    yield self._connection
        finally:
            self._turn.release()

    def open(self) -> Kept:
        """Open it and give what is in it; a damaged file is set aside and a new one begun.

        Raises:
            DmwatchError: it is none of ours.
            sqlite3.Error: it cannot be opened or written.
            OSError: as sqlite3.Error.
        """
        with self._turn:
            self.close()
            try:
                if not self._damaged:
                    return self._open()
            except sqlite3.DatabaseError as error:
                if error_code(error) not in _DAMAGED:
                    raise
            self._aside, self._damaged = self._set_aside(), False
            return self._open()

    def write(self, batch: Batch) -> None:
        """Write a batch, durably.

        Raises:
            sqlite3.Error: it was not written.
            OSError: as sqlite3.Error.
        """
        with self._transaction() as connection:
            if batch.replacing is not None:
                _make_room(connection, batch)
            connection.executemany(_INSERT_EVENT, batch.rows)
            _write_standing(connection, batch)
            connection.executemany(
                "insert or replace into cursors values (?, ?)", batch.cursors.items()
            )
            connection.execute(
                "update numbers set epoch = ?, sequence = ?, position = ?",
                (batch.epoch, batch.sequence, batch.position),
            )

    def trim(self, keep: float, size: int) -> bool:
        """Delete some of the oldest events: those older than `keep` seconds, or of too much.

        Returns:
            Whether there may be more to delete.

        Raises:
            sqlite3.Error: it could not be done.
            OSError: as sqlite3.Error.
        """
        oldest = int((time.time() - keep) * 1e6)
        with self._transaction() as connection:
            found = connection.execute(
                "select position, time from events order by position limit ?", (TRIM_ROWS,)
            ).fetchall()
            # no hole is made for what was told while the clock was wrong: it goes in its turn
            old = sum(1 for _ in takewhile(lambda row: row[1] < oldest, found))
            count = old or min(len(found), _too_many(connection, size))
            if count:
                connection.execute("delete from events where position <= ?", (found[count - 1][0],))
        # a script: it has to be stepped to its end, and gives no rows that could be fetched
        with self._turn, self._noting_damage():
            connection.executescript(f"pragma incremental_vacuum({TRIM_ROWS})")
        return count > 0

    def forget_cursors(self, known: Sequence[str]) -> None:
        """Forget handlers that are not configured any more."""
        with self._transaction() as connection:
            marks = ", ".join("?" * len(known))
            connection.execute(f"delete from cursors where handler not in ({marks})", known)  # noqa: S608

    def close(self) -> None:
        """Close the file; what was written is kept."""
        with self._turn:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    @contextmanager
    def _noting_damage(self) -> Iterator[None]:
        """Not every fault is met when the file is opened: the next time it is set aside."""
        try:
            yield
        except sqlite3.Error as error:
            self._damaged = self._damaged or error_code(error) in _DAMAGED
            raise

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._turn, self._noting_damage():
            connection = self._usable()
            if connection.in_transaction:
                connection.execute("rollback")  # an earlier call was given up halfway
            connection.execute("begin immediate")
            try:
                yield connection
                connection.execute("commit")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("rollback")
                raise

    def _usable(self) -> sqlite3.Connection:
        if self._connection is None:
            raise sqlite3.OperationalError("the journal is not open")
        if self._damaged:
            error = sqlite3.DatabaseError("damage was met while reading")
            error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
            raise error
        if not self.path.exists() or _inode(self.path) != self._inode:
            # SQLite would go on with a file that nobody can find any more
            raise OSError(errno.ESTALE, "its file was removed, or another one was put in its place")
        return self._connection

    def _open(self) -> Kept:
        _make(self.path)
        connection = sqlite3.connect(
            self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            # Without it SQLite keeps the log's index in memory that it shares by a file. While a
            # file system is frozen a write to such memory stops with the process's map of memory
            # locked, and each other thread stops with it. It has to come before all else.
            connection.execute("pragma locking_mode = exclusive")
            schema.migrate(connection, self.path)
            connection.execute("pragma synchronous = full")
            connection.execute(f"pragma journal_size_limit = {_WAL_LIMIT}")
            kept = replace(read_kept(connection), damaged=self._aside)
            # a file that can only be read is found out now
            connection.execute("begin immediate")
            connection.execute("update numbers set one = 1")
            connection.execute("commit")
        except BaseException:
            connection.close()
            raise
        self._connection, self._inode, self._aside = connection, _inode(self.path), None
        return kept

    def _set_aside(self) -> Path:
        suffix = f".damaged-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}"
        path = real(self.path)
        schema.refuse_text(path)
        aside = path.with_name(path.name + suffix)
        for more in ("", "-wal", "-shm"):
            part = path.with_name(path.name + more)
            if part.exists():
                part.rename(aside.with_name(aside.name + more))
        return aside


def error_code(error: sqlite3.Error) -> int:
    """SQLite's primary code; 0 where Python has found the fault."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def read_kept(connection: sqlite3.Connection) -> Kept:
    """What an earlier daemon left."""
    epoch, sequence, position = connection.execute(
        "select epoch, sequence, position from numbers"
    ).fetchone()
    (last,) = connection.execute("select coalesce(max(position), 0) from events").fetchone()
    cursors = dict(connection.execute("select handler, position from cursors"))
    texts = [text for (text,) in connection.execute("select condition from standing")]
    return Kept(epoch, sequence, max(position, last), cursors, _conditions(texts))


def read_only(path: Path) -> Kept:
    """What an earlier daemon left in a file that can be read and not be written.

    Raises:
        sqlite3.Error: it cannot be read.
        DmwatchError: it is none of ours.
    """
    with closing(connect_read_only(path, alone=alone(path))) as connection:
        return read_kept(connection) if schema.check(connection, path) else Kept()


def connect_read_only(path: Path, *, alone: bool = False) -> sqlite3.Connection:
    """Open the file so that nothing in it is changed.

    Args:
        path: of the journal.
        alone: nobody writes it: no lock is needed, and no file beside it.

    Raises:
        sqlite3.Error: it cannot be read.
    """
    if alone:
        return _connect(path, "&immutable=1")
    connection = _connect(path)
    try:
        connection.execute("select * from sqlite_schema").fetchone()
    except sqlite3.Error as error:
        connection.close()
        if error_code(error) in _DAMAGED | {sqlite3.SQLITE_BUSY}:
            raise
        # It may be that SQLite cannot write what it keeps of the log in a third file, as nothing
        # can be written there: that can be kept in memory, without the locks that nobody holds.
        connection = _connect(path, "&vfs=unix-none")
        connection.execute("pragma locking_mode = exclusive")
    return connection


def _connect(path: Path, how: str = "") -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro{how}",
        uri=True,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )


def alone(path: Path) -> bool:
    """Whether nobody has the journal open: it has no log beside it."""
    path = real(path)
    wal = path.with_name(path.name + "-wal")
    return not wal.exists() or wal.stat().st_size == 0


def real(path: Path) -> Path:
    """Where the file lies, and what SQLite puts beside it; the path may be a link."""
    return Path(os.path.realpath(path))


def _inode(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def _conditions(texts: list[str]) -> tuple[Condition, ...]:
    found = []
    for text in texts:
        try:
            found.append(Condition.model_validate_json(text))
        except ValidationError:
            # of another dmwatch: where it still stands it is raised anew
            continue
    return tuple(found)


def _make_room(connection: sqlite3.Connection, batch: Batch) -> None:
    first = batch.replacing
    connection.execute("delete from events where position >= ?", (first,))
    (last,) = connection.execute("select coalesce(max(position), 0) from events").fetchone()
    if batch.rows and last >= batch.rows[0].position:
        raise sqlite3.IntegrityError("there are later events in the journal than were told")


def _write_standing(connection: sqlite3.Connection, batch: Batch) -> None:
    if batch.whole:
        connection.execute("delete from standing")
    for key, condition in batch.standing.items():
        if condition is None:
            connection.execute(
                "delete from standing where identity = ? and type = ? and key = ?", key
            )
        else:
            connection.execute(
                "insert or replace into standing values (?, ?, ?, ?)",
                (*key, condition.model_dump_json()),
            )


def _too_many(connection: sqlite3.Connection, size: int) -> int:
    """About how many events make the file larger than `size`."""
    used = _size(connection)
    if used <= size:
        return 0
    ((rows,),) = connection.execute(
        "select ifnull(max(position) - min(position) + 1, 0) from events"
    )
    return math.ceil(int(rows) * (used - size) / used)


def _size(connection: sqlite3.Connection) -> int:
    pages, free, size = (
        connection.execute(f"pragma {name}").fetchone()[0]
        for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)


def _make(path: Path) -> None:
    path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640))
    except FileExistsError:
        if not stat.S_ISREG(path.stat().st_mode):
            raise DmwatchError(
                f"the journal {path} is no file",
                hint="a [journal] path in the configuration that names a file",
            ) from None
        # of a file that cannot be written SQLite itself would say no more than "I/O error"
        os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC))
