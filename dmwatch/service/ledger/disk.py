"""The threads that touch the journal's file, so that nothing of it can hang the loop.

Each call has a deadline. One that does not come back in time is given up: its thread stays behind,
pinned, and no other is started for the same work until it returns. One thread writes, another one
reads: a disk that hangs pins two at most.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from dmwatch.errors import DmwatchError
from dmwatch.monitor.workers import StuckError, Workers
from dmwatch.service.ledger.lock import Lock
from dmwatch.service.ledger.reader import Reader
from dmwatch.service.ledger.store import Batch, Kept, Store, error_code, read_only, real

T = TypeVar("T")
_WRITER, _READER, _LOCK = "the journal", "the journal's history", "the journal's lock"
_PROBLEMS = {
    sqlite3.SQLITE_FULL: "its file system is full",
    sqlite3.SQLITE_READONLY: "it can only be read",
    sqlite3.SQLITE_BUSY: "another process has locked it",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened: is its folder there, and may it be written?",
    sqlite3.SQLITE_CORRUPT: "it is damaged",
    sqlite3.SQLITE_NOTADB: "it is damaged",
}


class JournalError(DmwatchError):
    """The journal cannot be written or read now; `because` is a clause that says why."""

    def __init__(self, problem: str) -> None:
        super().__init__("the journal cannot be used now", because=problem)
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Pace:
    """How long the journal may take, in seconds, and how often something is done with it.

    Attributes:
        commit: for one batch of events; past it they are told from memory.
        open: to open it.
        read: for one page of history.
        retry_first: the first pause before it is tried again; it doubles with each.
        retry_longest: no pause is longer.
        cursors: how long a handler's progress may be unwritten while nothing is told.
        tidy: how often old events are looked for.
    """

    commit: float = 1.0
    open: float = 5.0
    read: float = 5.0
    retry_first: float = 1.0
    retry_longest: float = 30.0
    cursors: float = 0.5
    tidy: float = 60.0


class Disk:
    """The journal's file, from the loop.

    Args:
        store: writes it.
        pace: deadlines.
    """

    def __init__(self, store: Store, pace: Pace) -> None:
        self._store = store
        self._pace = pace
        self._lock = Lock(_beside(store.path))
        self._reader = Reader(store.path, store=store)
        self._writers = Workers(limit=1, on_late=lambda _: self._back.set())
        self._readers = Workers(limit=1)
        self._back = asyncio.Event()
        self._reading = asyncio.Lock()
        self._call: asyncio.Task[Any] | None = None
        self._settled = False

    @property
    def hangs(self) -> bool:
        """A call that was given up has not come back yet."""
        return self._writers.pinned > 0

    async def come_back(self) -> None:
        """Wait until no call that was given up is out any more."""
        while self.hangs:
            self._back.clear()
            await self._back.wait()

    async def open(self) -> Kept:
        """Open it, also anew.

        Raises:
            AlreadyRunningError: another daemon has it.
            DmwatchError: it is none of ours.
            JournalError: it cannot be opened.
        """
        kept = await self._write(self._open, self._pace.open)
        with contextlib.suppress(JournalError):
            await self.read(Reader.close)  # it may be another file now
        return kept

    async def salvage(self) -> Kept | None:
        """What is in a journal that cannot be written, or None."""
        with contextlib.suppress(JournalError):
            return await self._write(lambda: read_only(self._store.path), self._pace.open)
        return None

    async def write(self, batch: Batch) -> None:
        """Write a batch, durably.

        Raises:
            JournalError: it was not written, or is not known to be.
        """
        await self._write(lambda: self._store.write(batch), self._pace.commit)

    async def trim(self, keep: float, size: int) -> bool:
        """Delete some old events; whether there may be more.

        Raises:
            JournalError: it could not be done.
        """
        return await self._write(lambda: self._store.trim(keep, size), self._pace.commit)

    async def forget_cursors(self, known: Sequence[str]) -> None:
        """Forget handlers that are not configured any more.

        Raises:
            JournalError: it could not be done.
        """
        await self._write(lambda: self._store.forget_cursors(known), self._pace.commit)

    async def read(self, ask: Callable[[Reader], T]) -> T:
        """Read something, one after the other.

        Raises:
            JournalError: it cannot be read.
        """
        await self._reading.acquire()
        work = self._readers.run(_READER, lambda: ask(self._reader), self._pace.read)
        call = asyncio.create_task(_told(work))
        # whoever asked may leave: the next one's turn comes when the thread is free all the same
        call.add_done_callback(self._was_read)
        self._call = call
        return await asyncio.shield(call)

    def _was_read(self, call: asyncio.Task[Any]) -> None:
        self._reading.release()
        if not call.cancelled():
            call.exception()  # fetched, so that nobody is told that it never was

    async def close(self) -> None:
        """Close it, unless it hangs, and let go of the lock."""
        await self.settle()
        with contextlib.suppress(JournalError, TimeoutError):
            async with asyncio.timeout(self._pace.commit):
                await self.read(Reader.close)
        with contextlib.suppress(JournalError):
            await self._write(self._store.close, self._pace.commit)
        # on a thread of its own: those that read and write may hang
        last = Workers(limit=1)
        with contextlib.suppress(JournalError, RuntimeError):
            await _told(last.run(_LOCK, self._lock.release, self._pace.commit))
        for workers in (last, self._readers, self._writers):
            workers.close()

    async def settle(self) -> None:
        """Give a call that was given up a last chance to come back: one."""
        if self._settled:
            return
        self._settled = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._pace.commit):
                await self.come_back()

    async def _write(self, work: Callable[[], T], deadline: float) -> T:
        return await _told(self._writers.run(_WRITER, work, deadline))

    def _open(self) -> Kept:
        with contextlib.suppress(OSError):
            # where there can be no lock, the store says why
            self._store.path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            if not self._lock.held:
                self._lock = Lock(_beside(real(self._store.path)))
                self._lock.take()
        return self._store.open()


def _beside(path: Path) -> Path:
    return path.with_name(path.name + ".lock")


async def _told(call: Awaitable[T]) -> T:
    """What a call gives; what went wrong as a JournalError, for a person."""
    try:
        return await call
    except StuckError as error:
        raise JournalError(str(error)) from None
    except sqlite3.Error as error:
        problem = _PROBLEMS.get(error_code(error), f"its disk or SQLite reports: {error}")
        raise JournalError(problem) from error
    except OSError as error:
        raise JournalError(error.strerror or str(error)) from error
    except MemoryError as error:
        raise JournalError("there is too little memory") from error
