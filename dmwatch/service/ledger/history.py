"""What was told since a place or a time: from the journal, and from memory where it is not there.

Only what was published is read: a page ends where the live events of the same moment begin.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from dmwatch.errors import DmwatchError
from dmwatch.service.ledger import since as places
from dmwatch.service.ledger.disk import Disk
from dmwatch.service.ledger.memory import Tail
from dmwatch.service.ledger.reader import PAGE, Page, Reader
from dmwatch.service.ledger.rows import Row, microseconds
from dmwatch.service.ledger.since import EventId


class GoneError(DmwatchError):
    """An event that the journal does not have: what came after it cannot be told whole.

    Attributes:
        oldest: the id of the oldest event that is kept, or None.
    """

    def __init__(self, event: EventId, oldest: str | None) -> None:
        super().__init__(
            f"the journal does not have the event {event}",
            because="it was older than what is kept, or was told from memory and never written",
            hint=f"the oldest that is kept is {oldest}" if oldest else "begin with a time",
        )
        self.oldest = oldest


class History:
    """What was told.

    Args:
        disk: reads the journal.

    Attributes:
        position: of the event that was published last.
        id: of the same; None where nothing was ever told.
        tail: what is in memory only, or None while all is in the journal.
    """

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self.position = 0
        self.id: EventId | None = None
        self.tail: Tail | None = None

    async def start(self, since: str) -> int:
        """The position after which to begin.

        Raises:
            SinceError: the text is no place.
            GoneError: the event that it names is not kept.
            JournalError: the journal cannot be read now.
        """
        place = places.parse(since)
        if isinstance(place, datetime):
            return await self._before(microseconds(place))
        found = await self._position_of(place)
        if found is not None and found <= self.position:
            return found
        oldest = await self._disk.read(lambda reader: reader.oldest())
        raise GoneError(place, oldest.id if oldest else None)

    async def page(self, after: int, wanted: Callable[[Row], bool] | None = None) -> Page:
        """The next published events after a position.

        Raises:
            JournalError: the journal cannot be read now.
        """
        return await self.page_until(after, self.position, wanted)

    async def page_until(
        self, after: int, until: int, wanted: Callable[[Row], bool] | None = None
    ) -> Page:
        """As `page`, up to a position.

        Raises:
            JournalError: as `page`.
        """
        tail = self.tail
        if tail is None:
            return await self._disk.read(lambda reader: reader.page(after, until, wanted))
        if after < tail.begin - 1:
            until = min(until, tail.begin - 1)
            return await self._disk.read(lambda reader: reader.page(after, until, wanted))
        rows = tail.after(after, PAGE)
        last = rows[-1].position if rows else max(after, until)
        kept = tuple(row for row in rows if wanted is None or wanted(row))
        return Page(kept, last, len(rows) == PAGE)

    async def _before(self, time: int) -> int:
        found = await self._disk.read(lambda reader: reader.position_before(time))
        tail = self.tail
        if tail is not None and (found is None or found >= tail.begin):
            found = tail.position_before(time)
        return self.position if found is None else min(found, self.position)

    async def _position_of(self, event: EventId) -> int | None:
        if event == self.id:
            return self.position
        tail = self.tail
        found = tail.position_of(event.epoch, event.sequence) if tail else None
        if found is None:
            found = await self._disk.read(lambda reader: find(reader, event))
        return found


def find(reader: Reader, event: EventId) -> int | None:
    """The position of an event, or of where it was, if nothing after it is gone."""
    found = reader.position_of(event.epoch, event.sequence)
    if found is not None:
        return found
    oldest = reader.oldest()
    if oldest and (oldest.epoch, oldest.sequence - 1) == (event.epoch, event.sequence):
        return oldest.position - 1  # it is gone itself, and nothing after it is
    epoch, sequence, position = reader.last()
    return position if (epoch, sequence) == (event.epoch, event.sequence) else None
