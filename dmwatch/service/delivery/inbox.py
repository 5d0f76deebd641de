"""What waits for one handler, oldest first: what was recorded before this start, then what comes.

It also knows how far the handler is: every entry up to a position is done with. An entry that does
not match is done with at once, but not before those that came earlier.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable

from dmwatch.errors import DmwatchError
from dmwatch.events import Event
from dmwatch.service.delivery.limits import log
from dmwatch.service.entry import Entry


class Inbox:
    """A bounded queue: when it is full the oldest entry goes.

    Args:
        limit: so many entries may wait.
        fits: which events the handler gets.
        passed: told each time how far the handler is.
        overflow: called once for each entry that goes.
        backlog: entries that come first; they wait on disk and do not count.
    """

    def __init__(
        self,
        limit: int,
        fits: Callable[[Event], bool],
        passed: Callable[[int], None],
        overflow: Callable[[], None],
        backlog: AsyncIterator[Entry] | None = None,
    ) -> None:
        self._limit = limit
        self._fits = fits
        self._passed = passed
        self._overflow = overflow
        self._backlog = backlog
        self._waiting: deque[Entry] = deque()
        self._current: Entry | None = None
        self._seen = -1
        self._from_backlog = -1
        self._wake = asyncio.Event()
        self._ending = self._draining = False

    def __len__(self) -> int:
        return len(self._waiting) + (self._current is not None)

    def put(self, entry: Entry) -> None:
        """Take an entry; never waits."""
        self._seen = entry.position
        if self._fits(entry.event):
            self._waiting.append(entry)
            self._drop_oldest()
            self._wake.set()
        elif self._idle:
            self._passed(entry.position)

    async def next(self) -> Entry | None:
        """Give the oldest entry, the same one until `done`; None when it is time to end."""
        while self._current is None and not self._must_end:
            self._current = await self._recorded() or self._live()
            if self._current is None:
                if self._ending:
                    break
                self._wake.clear()
                await self._wake.wait()
        return None if self._must_end else self._current

    def done(self) -> None:
        """The handler is done with the oldest entry."""
        if self._current is None:
            return
        position, self._current = self._current.position, None
        if self._backlog is not None:
            self._passed(position)
        elif self._waiting:
            self._passed(max(position, self._waiting[0].position - 1))
        else:
            self._passed(max(position, self._seen))

    def end(self, *, drain: bool) -> None:
        """Let `next` give None: at once, or once nothing waits."""
        self._ending, self._draining = True, drain
        self._wake.set()

    def hand_over(self, limit: int, fits: Callable[[Event], bool]) -> None:
        """Go on under new settings: what waits and does not match any more goes."""
        self._limit, self._fits = limit, fits
        self._ending = self._draining = False
        self._waiting = deque(entry for entry in self._waiting if fits(entry.event))
        if self._current is not None and not fits(self._current.event):
            self.done()
        self._drop_oldest()

    @property
    def _must_end(self) -> bool:
        return self._ending and not self._draining

    @property
    def _idle(self) -> bool:
        return self._current is None and not self._waiting and self._backlog is None

    def _drop_oldest(self) -> None:
        while len(self._waiting) > self._limit:
            self._waiting.popleft()
            self._overflow()

    def _live(self) -> Entry | None:
        while self._waiting:
            entry = self._waiting.popleft()
            if entry.position > self._from_backlog:
                return entry
        return None

    async def _recorded(self) -> Entry | None:
        """The next entry of the backlog that matches; None where there is no more."""
        while self._backlog is not None and not self._must_end:
            entry = await self._read()
            if entry is None:
                self._backlog = None
                break
            self._from_backlog = entry.position
            if self._fits(entry.event):
                return entry
            self._passed(entry.position)
        return None

    async def _read(self) -> Entry | None:
        try:
            return None if self._backlog is None else await anext(self._backlog, None)
        except asyncio.CancelledError:
            # a reload that could not wait: what it broke off cannot be read on
            self._backlog = None
            self._hold_cursor()
            raise
        except Exception as error:  # noqa: BLE001 - a journal at fault must not end the lane
            log.error(
                "what was recorded before cannot be read: going on with what comes",
                problem=str(error),
                exc_info=None if isinstance(error, DmwatchError) else error,
            )
            self._hold_cursor()
            return None

    def _hold_cursor(self) -> None:
        """Stay where we are, so that the next start brings what was not read, and what follows."""
        self._passed = _nothing


def _nothing(_position: int) -> None:
    pass
