"""The tables of the journal, and how an older file becomes a newer one.

An SQLite file in WAL mode. `user_version` says how many of MIGRATIONS it has been through,
`application_id` that it is a journal of dmwatch.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from dmwatch.errors import DmwatchError

APPLICATION_ID = 0x646D7774  # "dmwt"

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        # the ledger's last numbers; an empty epoch: what was told last is not known, begin anew
        """create table numbers (
            one integer primary key check (one = 1),
            epoch text not null, sequence integer not null, position integer not null
        ) strict""",
        "insert into numbers values (1, '', 0, 0)",
        # as in rows.py
        """create table events (
            position integer primary key,
            epoch text not null, sequence integer not null, time integer not null,
            type text not null, severity integer not null,
            name text not null, label text not null, number text not null, uuid text not null,
            event text not null
        ) strict""",
        "create unique index events_id on events (epoch, sequence)",
        "create index events_time on events (time)",
        "create table cursors (handler text primary key, position integer not null) strict",
        # as in standing.py; `condition` is the JSON of a Condition
        """create table standing (
            identity text not null, type text not null, key text not null, condition text not null,
            primary key (identity, type, key)
        ) strict""",
    ),
)


PAGE = 4096


class NewerError(DmwatchError):
    """The journal was written by a later dmwatch."""


class ForeignError(DmwatchError):
    """The file is no journal of dmwatch."""


def refuse_text(path: Path) -> None:
    """Refuse a file in which no damage is likely but a wrong path: no page of a journal is text.

    Raises:
        ForeignError: it is a text.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        if b"\0" in file.read(PAGE):
            return
    raise ForeignError(
        f"{path} is no journal of dmwatch",
        because="it is a text",
        hint="another [journal] path in the configuration",
    )


def check(connection: sqlite3.Connection, path: Path, known: int = len(MIGRATIONS)) -> int:
    """Give the version of the file's schema; 0 for an empty file.

    Raises:
        NewerError: it is newer than this dmwatch knows.
        ForeignError: it is a database of something else.
        sqlite3.Error: it cannot be read.
    """
    (version,) = connection.execute("pragma user_version").fetchone()
    (application,) = connection.execute("pragma application_id").fetchone()
    (tables,) = connection.execute("select count(*) from sqlite_schema").fetchone()
    if application != APPLICATION_ID and (application or version or tables):
        raise ForeignError(
            f"{path} is no journal of dmwatch",
            because="it is an SQLite database of another program",
            hint="another [journal] path in the configuration",
        )
    if version > known:
        raise NewerError(
            f"the journal {path} has schema {version}, this dmwatch knows {known}",
            because="a later dmwatch has written it",
            hint="update dmwatch, or move the file away: a new one is begun",
        )
    return int(version)


def migrate(
    connection: sqlite3.Connection,
    path: Path,
    migrations: tuple[tuple[str, ...], ...] = MIGRATIONS,
) -> None:
    """Bring the file to the newest schema: all of a step, or none of it.

    Raises:
        NewerError: as `check`.
        ForeignError: as `check`.
        sqlite3.Error: it cannot be read or written.
    """
    version = check(connection, path, len(migrations))
    if version == 0:
        # both can only be chosen while the file is empty
        connection.execute("pragma page_size = 4096")
        connection.execute("pragma auto_vacuum = incremental")
    connection.execute("pragma journal_mode = wal")
    for number, step in enumerate(migrations[version:], version + 1):
        connection.execute("begin immediate")
        for statement in step:
            connection.execute(statement)
        connection.execute(f"pragma application_id = {APPLICATION_ID}")
        connection.execute(f"pragma user_version = {number}")
        connection.execute("commit")
