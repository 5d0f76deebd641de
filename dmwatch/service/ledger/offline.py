"""Reading the journal of a daemon that does not run. Nothing in it is changed."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path

from dmwatch.errors import DmwatchError
from dmwatch.service.ledger import since as places
from dmwatch.service.ledger.history import GoneError, find
from dmwatch.service.ledger.reader import Reader
from dmwatch.service.ledger.rows import Wanted, microseconds
from dmwatch.service.ledger.store import alone


def recorded(path: Path, since: str, wanted: Wanted) -> Iterator[str]:
    """Give the events since a place, as JSON lines.

    Raises:
        SinceError: the text is no place.
        GoneError: the event that it names is not kept.
        DmwatchError: it is no journal of dmwatch.
        OSError: there is none, or it may not be read.
        sqlite3.Error: it cannot be read.
    """
    _try(path)
    with closing(Reader(path, alone=alone(path))) as reader:
        _, _, last = reader.last()
        position = _start(reader, since, last)
        while position < last:
            page = reader.page(position, last, wanted.test)
            yield from (row.json for row in page.rows)
            position = page.last


def _try(path: Path) -> None:
    """Say better than SQLite why it cannot be read, and do not wait for who writes into a pipe."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise DmwatchError(
            f"the journal {path} is no file",
            hint="a [journal] path in the configuration that names a file",
        )
    path.open("rb").close()


def _start(reader: Reader, since: str, last: int) -> int:
    place = places.parse(since)
    if isinstance(place, datetime):
        found = reader.position_before(microseconds(place))
        return last if found is None else found
    found = find(reader, place)
    if found is None:
        oldest = reader.oldest()
        raise GoneError(place, oldest.id if oldest else None)
    return found
