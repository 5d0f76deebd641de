"""The order of events: numbered, written, published; from disk to memory and back.

Theory of operation. Everything that is told goes through one queue and one task. The task takes
what waits, gives it its numbers, has the disk's thread write it as one transaction, and publishes
it once that is durable: so no two events ever share an id, whenever the daemon is killed, and what
a handler or a client has been told is in the journal.

A write that fails or is late must not hold anything up. Then the ledger goes on from memory: a new
random epoch begins, with what could not be written as its first events, under the positions that
they had; they are published at once. The write that was given up may still be done later; its rows
were never told under the numbers in them, and are replaced. What is told from memory is kept within
bounds. In the background the journal is opened again and again; once what is kept has been written,
in chunks, the rest is written while new events wait, for no longer than for any other write, and
the epoch goes on in the journal. Were the daemon killed between two chunks, ids could be given
twice; so as long as the tail is not whole the journal says that its epoch is not to be continued.

What stands is folded from the events, and written with them. Cursors of handlers are written with
the next events, or a little later on their own.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from types import TracebackType
from typing import Self

from dmwatch.errors import DmwatchError
from dmwatch.events import Condition, Event
from dmwatch.monitor.device_rows import JOURNAL_FAILING
from dmwatch.service import logs
from dmwatch.service.entry import Entry
from dmwatch.service.ledger.disk import Disk, JournalError, Pace
from dmwatch.service.ledger.history import History
from dmwatch.service.ledger.memory import Tail
from dmwatch.service.ledger.numbers import Numbers, new_epoch, unknown_position
from dmwatch.service.ledger.reader import Page
from dmwatch.service.ledger.rows import Row, writable
from dmwatch.service.ledger.since import EventId
from dmwatch.service.ledger.standing import Changes, StandingConditions
from dmwatch.service.ledger.store import Batch, Kept, Store
from dmwatch.service.own import Own
from dmwatch.service.settings import JournalSettings

BATCH = 256
"""So many events are written together."""
WAITING = 1000
"""So many events may wait to be written; then who tells one waits."""
_BACKLOG_TRIES = 3


class Ledger:
    """Numbers, keeps and publishes every event of one life of the daemon.

    Args:
        settings: of the journal.
        own: is told when the journal fails.
        publish: gets each event, in order, once it is kept; it must not wait.
        on_late: is given what stood before where that could not be read at the start.
        pace: deadlines.
        store: for tests.
    """

    def __init__(
        self,
        settings: JournalSettings,
        own: Own,
        publish: Callable[[Entry], None],
        *,
        on_late: Callable[[list[Condition]], Awaitable[None]] | None = None,
        pace: Pace | None = None,
        store: Store | None = None,
    ) -> None:
        self._settings, self._own = settings, own
        self._publish, self._on_late = publish, on_late
        self._late: list[Condition] = []
        self._pace = pace or Pace()
        self._disk = Disk(store or Store(settings.path), self._pace)
        self._log = logs.get("dmwatch.ledger")
        self._numbers = Numbers("")
        self._standing = StandingConditions()
        self._stood: list[Condition] = []
        self._cursors: dict[str, int] = {}
        self._unwritten, self._handlers, self._held = set[str](), set[str](), set[str]()
        self._began, self._blind = 0, False
        self._waiting: deque[Event] = deque()
        self._wake, self._idle, self._room = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._gate = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self.history = History(self._disk)

    @property
    def epoch(self) -> str:
        """The first half of the ids that are given now."""
        return self._numbers.epoch

    @property
    def sequence(self) -> int:
        """The last sequence that was given."""
        return self._numbers.sequence

    @property
    def on_disk(self) -> bool:
        """Whether the journal is being written."""
        return self.history.tail is None

    async def __aenter__(self) -> Self:
        """Open the journal.

        Raises:
            AlreadyRunningError: another daemon has it.
            DmwatchError: the file is none of ours, or newer.
        """
        try:
            await self._begin()
        except BaseException:
            await self._disk.close()
            raise
        self._spawn(self._serve, "dmwatch-ledger")
        self._spawn(self._tidy, "dmwatch-ledger-tidy")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2 * self._pace.commit):
                await self.flush()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        if self._timer:
            self._timer.cancel()
        if not self.on_disk:
            await self._disk.settle()
            with contextlib.suppress(JournalError):
                await self._write_back()
        await self._disk.close()

    # what the daemon does with it

    async def tell(self, event: Event) -> None:
        """Take an event. It is numbered, written and published soon, in the order of these calls.

        Waits while too many are under way: for no longer than a write may take.
        """
        while len(self._waiting) >= WAITING:
            self._room.clear()
            await self._room.wait()
        self._idle.clear()
        self._waiting.append(event)
        self._wake.set()

    async def flush(self) -> None:
        """Wait until everything that was told is published, and the cursors are written."""
        self._wake.set()
        await self._idle.wait()
        await self._write_cursors()

    def standing(self) -> list[Condition]:
        """What stood when the last daemon ended, worst first; device None: on dmwatch itself."""
        return list(self._stood)

    def cursor(self, handler: str, position: int) -> None:
        """A handler is done with every event up to a position."""
        self._handlers.add(handler)
        if handler in self._held or self._cursors.get(handler, -1) >= position:
            return
        self._cursors[handler] = position
        self._unwritten.add(handler)
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._pace.cursors, self._cursors_due)

    def owe(self, handler: str) -> None:
        """A handler that was not there before is owed every event from now on."""
        if handler not in self._cursors:
            self.cursor(handler, self.history.position)

    def backlog(self, handler: str) -> AsyncIterator[Entry]:
        """The events that a handler is owed from before this start; a new one is owed nothing."""
        self._handlers.add(handler)
        self.owe(handler)
        return self._backlog(handler, self._cursors[handler])

    async def _backlog(self, handler: str, after: int) -> AsyncIterator[Entry]:
        while after < self._began:
            page = await self._owed(handler, after)
            for row in page.rows:
                entry = self._entry(row)
                if entry is not None:
                    yield entry
            after = page.last

    # beginning

    async def _begin(self) -> None:
        try:
            kept = await self._disk.open()
        except JournalError as error:
            found = await self._disk.salvage()
            self._blind = found is None
            kept = found or Kept(position=unknown_position())
            self._take_over(kept, Numbers(new_epoch(), 0, kept.position))
            self._go_on_from_memory(error, kept.position + 1)
        else:
            epoch, sequence = (kept.epoch, kept.sequence) if kept.epoch else (new_epoch(), 0)
            self._take_over(kept, Numbers(epoch, sequence, kept.position))
            if kept.damaged:
                self._tell_damaged(kept)

    def _take_over(self, kept: Kept, numbers: Numbers) -> None:
        self._numbers = numbers
        self._began = self.history.position = numbers.position
        if kept.epoch:
            self.history.id = EventId(kept.epoch, kept.sequence)
        self._cursors = dict(kept.cursors)
        self._standing = StandingConditions(kept.standing)
        self._stood = self._standing.conditions

    def _tell_damaged(self, kept: Kept) -> None:
        self._fail(f"it was damaged: it is kept as {kept.damaged}, and a new one was begun")
        self._own.cleared(JOURNAL_FAILING)

    # the one way of an event

    async def _serve(self) -> None:
        while True:
            if not self._waiting:
                self._idle.set()
                await self._wake.wait()
            self._wake.clear()
            if self._waiting:
                async with self._gate:
                    await self._safely(self._take, "events could not be told")
                self._room.set()
            elif self._timer is None:
                await self._safely(self._write_cursors, "cursors could not be written")

    async def _safely(self, work: Callable[[], Awaitable[None]], what: str) -> None:
        try:
            await work()
        except Exception:  # noqa: BLE001 - see below
            # a fault of ours: some events are lost, and no more than these
            self._log.exception(what)

    async def _take(self) -> None:
        batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
        entries = [self._numbers.next(writable(event)) for event in batch]
        changes: Changes = {}
        for entry in entries:
            changes |= self._standing.take(entry.event)
        if self.on_disk:
            try:
                await self._write(entries, changes)
            except JournalError as error:
                entries = self._numbers.anew(entries)
                self._go_on_from_memory(error, entries[0].position)
        if self.history.tail is not None:
            for entry in entries:
                self.history.tail.add(Row.of(entry))
        for entry in entries:
            self._tell(entry)

    async def _write(self, entries: list[Entry], changes: Changes) -> None:
        cursors, numbers = self._taken_cursors(), self._numbers
        rows = [Row.of(entry) for entry in entries]
        try:
            await self._disk.write(
                Batch(
                    *(numbers.epoch, numbers.sequence, numbers.position),
                    rows=rows,
                    standing=changes,
                    cursors=cursors,
                )
            )
        except JournalError:
            self._unwritten |= cursors.keys()
            raise

    def _tell(self, entry: Entry) -> None:
        event = entry.event
        self.history.position = entry.position
        self.history.id = EventId(event.id.rpartition("-")[0], event.sequence)
        try:
            self._publish(entry)
        except Exception:  # noqa: BLE001 - see below
            # one who cannot be told must not keep the others from being told
            self._log.exception("an event could not be passed on", id=event.id)

    # memory, and back

    def _go_on_from_memory(self, error: JournalError, begin: int) -> None:
        self.history.tail = Tail(begin)
        self._fail(error.problem)
        self._spawn(self._return, "dmwatch-ledger-return")

    def _fail(self, problem: str) -> None:
        path = str(self._settings.path)
        summary = f"the journal {path} cannot be written: {problem}"
        data = {"path": path, "problem": problem}
        self._own.raised(JOURNAL_FAILING, None, summary, data)

    async def _return(self) -> None:
        pause = self._pace.retry_first
        while not self.on_disk:
            await asyncio.sleep(pause)
            await self._disk.come_back()
            try:
                await self._write_back()
            except JournalError as error:
                self._fail(error.problem)
            except DmwatchError as error:
                # of another daemon, of a newer one: it may go away
                self._fail(str(error))
            except Exception as error:  # noqa: BLE001 - whatever it is, it is told
                self._log.exception("the journal cannot be opened")
                self._fail(repr(error))
            pause = min(2 * pause, self._pace.retry_longest)
        late, self._late = self._late, []
        if late and self._on_late is not None:
            await self._on_late(late)

    async def _write_back(self) -> None:
        tail = self.history.tail
        if tail is None:
            return
        kept = await self._disk.open()
        if kept.damaged:
            self._fail(f"it was damaged: it is kept as {kept.damaged}, and a new one is begun")
        if self._blind:
            self._hold_cursors(kept)
            self._late = self._standing.add(kept.standing)
        after, replacing = tail.begin - 1, tail.begin
        while len(rows := tail.after(after, BATCH)) == BATCH:
            after = rows[-1].position
            await self._disk.write(Batch("", 0, after, rows, replacing=replacing))
            replacing = after + 1
        async with self._gate:
            await self._write_rest(tail, after, replacing)
            self.history.tail = None
        if tail.dropped:
            self._fail(f"{tail.dropped} events are not in it, more than memory was to hold")
        self._own.cleared(JOURNAL_FAILING)

    async def _write_rest(self, tail: Tail, after: int, replacing: int) -> None:
        numbers = self._numbers
        rest = Batch(
            *(numbers.epoch, numbers.sequence, numbers.position),
            rows=tail.after(after, BATCH + WAITING),
            standing=self._standing.all,
            whole=True,
            cursors=dict(self._cursors),
            replacing=replacing,
        )
        try:
            await self._disk.write(rest)
        except JournalError:
            # given up, it may be done all the same: the next start would go on with these numbers
            numbers.anew([])
            raise

    def _hold_cursors(self, kept: Kept) -> None:
        """What handlers are owed was not known when this life began: the next one brings it."""
        self._blind = False
        owed = {name: at for name, at in kept.cursors.items() if at < kept.position}
        self._cursors |= owed
        self._held = set(owed)

    # cursors, and what is too old

    def _cursors_due(self) -> None:
        self._timer = None
        self._wake.set()

    def _taken_cursors(self) -> dict[str, int]:
        taken = {name: self._cursors[name] for name in self._unwritten}
        self._unwritten.clear()
        return taken

    async def _write_cursors(self) -> None:
        async with self._gate:
            if not self._unwritten or not self.on_disk:
                return
            try:
                await self._write([], {})
            except JournalError as error:
                self._numbers.anew([])
                self._go_on_from_memory(error, self._numbers.position + 1)

    async def _tidy(self) -> None:
        while True:
            await asyncio.sleep(self._pace.tidy)
            await self._safely(self._tidied, "the journal could not be tidied")

    async def _tidied(self) -> None:
        with contextlib.suppress(JournalError):
            await self._forget_handlers()
            while await self._trim():
                await self._idle.wait()

    async def _trim(self) -> bool:
        async with self._gate:
            settings = self._settings
            return self.on_disk and await self._disk.trim(settings.keep, int(settings.max_size))

    async def _forget_handlers(self) -> None:
        async with self._gate:
            gone = self._cursors.keys() - self._handlers
            if gone and self._handlers and self.on_disk:
                await self._disk.forget_cursors(sorted(self._handlers))
                for name in gone:
                    del self._cursors[name]

    # reading back

    async def _owed(self, handler: str, after: int) -> Page:
        tries = 1
        while True:
            try:
                return await self.history.page_until(after, self._began)
            except JournalError as error:
                if tries == _BACKLOG_TRIES:
                    self._log.error(
                        "a handler's missed events cannot be read",
                        handler=handler,
                        problem=error.problem,
                    )
                    raise
            tries += 1
            await asyncio.sleep(self._pace.retry_first)

    def _entry(self, row: Row) -> Entry | None:
        try:
            return row.entry()
        except ValueError as error:
            self._log.error("an event of the journal cannot be read", id=row.id, problem=str(error))
            return None

    def _spawn(self, work: Callable[[], Coroutine[None, None, None]], name: str) -> None:
        task = asyncio.create_task(work(), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
