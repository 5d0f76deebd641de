"""The asyncio shell: add_reader, arm, list, compare, read, tell.

Theory of operation. The control node is readable while the kernel's global event counter is ahead
of the value that this open file was last armed with. So readiness is a level, and says only that
something happened, to some device. An armed file is quiet until the next event.

One look is: arm, then list, then compare. In this order nothing can fall between: what happens
after the arming makes the node readable again, and what happened before it is in the list. If a
look fails, the work is still owed though the node may be quiet; so it is repeated after a pause
(1 s, doubling to 30 s), and the list to compare with stays the old one: what was told already is
known and not told again. While a look runs or is paused the loop does not watch the node: a level
that nobody lowers would make it spin.

A device's event number moves with every event of its targets, and with renames while a table is
live. It is 32 bits wide, wraps, and starts anew when a device is made anew: it is compared with
`!=`. Several events may lie between two looks. The status call returns the number too, read before
the targets were asked, and that one is kept: a list taken earlier must not make the same status be
told twice.

The node fires as well for what moves no number: create, remove, rename, setting a uuid, and
swapping a table. An unchanged list after a wake therefore means a swapped table, or the uuid of a
device without one; only then, and for new devices, is the list taken with uuids. The wake of a
swap comes before its resume is over, and which device it was only a uevent says. So uevents are
heard beside the node; where they cannot be, every device's table is suspect after such a wake.

What was found about a device goes into its inbox, and a task of its own attends to it (see
attending.py): a device that does not answer delays no other. Tasks exist only while there is work.

Events wait for their reader in a queue with an end. When it is full the tasks wait, and the kernel
folds what happens meanwhile: memory is bounded and the last state of every device is always told.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Self

from dmwatch.dm import DeviceMapper
from dmwatch.events import Condition, Event
from dmwatch.ioctl.abi import LIST_EVENTS_VERSION, Version
from dmwatch.ioctl.control import ControlLike
from dmwatch.monitor import faults, sysfs
from dmwatch.monitor.attending import Attendant
from dmwatch.monitor.coverage import Coverage, coverage_of
from dmwatch.monitor.early import Early
from dmwatch.monitor.incarnations import mark
from dmwatch.monitor.listing import Lister, too_old
from dmwatch.monitor.loading import load_aside
from dmwatch.monitor.members import Members
from dmwatch.monitor.outbox import Outbox
from dmwatch.monitor.schedule import NEVER, Schedule
from dmwatch.monitor.seeds import seed
from dmwatch.monitor.settings import Settings
from dmwatch.monitor.tracked import Tracked
from dmwatch.monitor.uevents import OverrunError, Uevent, Uevents
from dmwatch.monitor.workers import LIMIT
from dmwatch.names import DeviceNumber

FRESH_INTERVAL = 0.1
"""How often a new device is looked at until its first table is told."""
PAUSE_FIRST, PAUSE_LONGEST = 1.0, 30.0
LOAD_AFTER = 2.0  # seconds; then what no event shall have to wait for is imported


class Watcher:
    """Watches this machine's device-mapper: an asynchronous iterator of events.

    First comes what stands already (`initial`), then every event as it happens.

    Args:
        devices: shell globs for names, labels or numbers; none means every device.
        settings: polls, rungs, delays, reminders, rules; see dmwatch.monitor.settings.
        standing: the conditions that stood when an earlier watcher ended: they are not raised
            again where they still stand, and cleared where they do not.
        control: of a fake kernel, for tests. It is closed at the end.
        uevents: hear the kernel's uevents too, where that is possible.
        diskseq: gives the incarnation of a device number.

    Raises:
        ControlError: or one of its subclasses, on entering: no device-mapper, not permitted.
        InterfaceTooOldError: on entering, before DM 4.37 (Linux 4.14).
    """

    def __init__(
        self,
        devices: Sequence[str] = (),
        *,
        settings: Settings | None = None,
        standing: Iterable[Condition] = (),
        control: ControlLike | None = None,
        uevents: bool = True,
        diskseq: Callable[[DeviceNumber], int | None] = sysfs.diskseq,
    ) -> None:
        self._settings = settings or Settings()
        self._standing = list(standing)
        self._control = control
        self._wants_uevents = uevents
        self._diskseq = diskseq
        self._tracked: dict[DeviceNumber, Tracked] = {}
        self._early = Early(diskseq)
        self._schedule = Schedule(self._settings)
        self._outbox = Outbox(tuple(devices), self._settings)
        self._readable = asyncio.Event()
        self._heard = asyncio.Event()
        self._fired = False
        self._until = NEVER
        self._busy_since: float | None = None
        self._uevents: Uevents | None = None
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._dm = DeviceMapper(self._control)
        self._attendant = Attendant(
            self._dm, self._settings, self._outbox, self._diskseq, self._after
        )
        self._lister = Lister(self._dm, self._attendant.call)
        self._members = Members(
            self._lister, self._attendant, self._attend, self._settings, self._diskseq
        )
        self._tracked = self._members.tracked
        try:
            await self._begin()
        except BaseException:
            await self._close()
            raise
        self._task = asyncio.create_task(self._watch(), name="dmwatch-watcher")
        asyncio.get_running_loop().call_later(
            LOAD_AFTER, load_aside, self._attendant.governor.forgive
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        return await self._outbox.get()

    @property
    def count(self) -> int:
        """How many devices are being watched."""
        return sum(self._outbox.wants(device) for device in self._tracked.values())

    def conditions(self) -> list[Condition]:
        """What stands now, worst first."""
        found = [c for d in self._tracked.values() for c in self._outbox.standing(d)]
        found += self._outbox.standing_itself()
        return sorted(found, key=lambda c: c.worst_first)

    def adopt(self, settings: Settings) -> None:
        """Go by other settings from now on, without a gap.

        Every device is read again: what by the new rungs and rules stands or stands no more is
        told as raised, changed or cleared.
        """
        self._settings = settings
        self._schedule.adopt(settings)
        self._attendant.adopt(settings)
        self._members.adopt(settings)
        self._outbox.adopt(settings)
        for device in self._tracked.values():
            device.adopt(settings)
            self._attend(device)
        self._readable.set()

    async def learn(self, standing: Iterable[Condition]) -> None:
        """Take what stood when an earlier watcher ended, where that is known only now.

        What of it does not stand is told as cleared.
        """
        gone: list[Condition] = []
        for device in seed(standing, self._tracked.values(), gone.append):
            device.inbox.table = True
            self._attend(device)
        for condition in gone:
            await self._outbox.gone_meanwhile(condition)

    @property
    def busy_for(self) -> float:
        """Seconds since the watcher last waited for something to happen; 0.0 while it waits.

        For a watchdog: it grows without end where the watcher makes no progress.
        """
        if self._task is None or self._task.done():
            return NEVER
        busy_since = self._busy_since
        return 0.0 if busy_since is None else asyncio.get_running_loop().time() - busy_since

    def coverage(self) -> list[Coverage]:
        """What is watched of each device, how, and what cannot be."""
        devices = [d for d in self._tracked.values() if self._outbox.wants(d)]
        return [coverage_of(d, uevents=self._uevents is not None) for d in devices]

    async def _close(self) -> None:
        """It waits for no call that hangs; cancelled meanwhile, it still lets go of everything."""
        tasks = self._attendant.stop()
        if self._task:
            self._task.cancel()
            tasks.append(self._task)
        try:
            if tasks:
                await asyncio.wait(tasks)
        finally:
            self._quiet()
            self._deafen()
            self._dm.close()
            self._outbox.close()

    def _deafen(self) -> None:
        """Hear no uevents any more."""
        if self._uevents:
            asyncio.get_running_loop().remove_reader(self._uevents.fileno())
            self._uevents.close()
            self._uevents = None

    async def _begin(self) -> None:
        version: Version = await self._attendant.call("the version", self._dm.version)
        if version < LIST_EVENTS_VERSION:
            raise too_old(version)
        self._lister.version = version
        self._hear()
        await self._members.begin(await self._lister.look())
        seed(self._standing, self._tracked.values(), self._outbox.gone_before)
        gate = asyncio.Semaphore(LIMIT)
        await asyncio.gather(*(self._first(device, gate) for device in self._tracked.values()))
        self._lister.done()
        self._outbox.started()
        self._attendant.governor.begin()

    def _hear(self) -> None:
        if not self._wants_uevents:
            return
        with contextlib.suppress(OSError):
            self._uevents = Uevents()
            loop = asyncio.get_running_loop()
            loop.add_reader(self._uevents.fileno(), self._on_uevents)

    async def _first(self, device: Tracked, gate: asyncio.Semaphore) -> None:
        async with gate:
            device.diskseq = self._diskseq(device.number)
            device.inbox.table = True
            if self._outbox.wants(device):
                await self._attendant.first(device)

    async def _watch(self) -> None:
        try:
            await self._watch_for_ever()
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - whoever iterates is told, and decides
            await self._outbox.fail(error)

    async def _watch_for_ever(self) -> None:
        loop = asyncio.get_running_loop()
        beat, retry, pause = loop.time() + self._settings.monitor.heartbeat, NEVER, 0.0
        while True:
            # an adopted heartbeat may be a shorter one
            beat = min(beat, loop.time() + self._settings.monitor.heartbeat)
            await self._wait(min(beat, retry), armed=retry is NEVER)
            await self._attendant.governor.breathe()
            await self._take_uevents()
            owed = self._fired or self._has_fresh()
            if loop.time() >= beat:
                beat, owed = loop.time() + self._settings.monitor.heartbeat, True
                await self._outbox.heartbeat(self.count)
            if owed if retry is NEVER else loop.time() >= retry:
                pause = await self._try_look(pause)
                retry = loop.time() + pause if pause else NEVER
            self._attend_due(loop.time())

    async def _try_look(self, pause: float) -> float:
        """Look; give the pause after which to look again where that failed, else 0."""
        try:
            await self._look()
        except Exception as error:  # noqa: BLE001 - nothing that the kernel says may end the watch
            faults.log(error)
            await self._outbox.control_failing(error)
            return min(max(2 * pause, PAUSE_FIRST), PAUSE_LONGEST)
        await self._outbox.control_works()
        return 0.0

    async def _wait(self, until: float, *, armed: bool) -> None:
        """Wait for a uevent, for the time at which something is due, and, armed, for the node."""
        loop = asyncio.get_running_loop()
        self._readable.clear()
        if self._heard.is_set():
            return
        if armed:
            loop.add_reader(self._dm.fileno(), self._on_readable)
            if self._has_fresh():
                until = min(until, loop.time() + FRESH_INTERVAL)
        self._until = min(until, self._schedule.next_time)
        self._busy_since = None
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(self._until):
                    await self._readable.wait()
        finally:
            self._busy_since = loop.time()
            self._quiet()

    def _has_fresh(self) -> bool:
        return any(device.fresh_until is not None for device in self._tracked.values())

    def _on_readable(self) -> None:
        self._quiet()
        self._fired = True
        self._readable.set()

    def _on_uevents(self) -> None:
        # the datagrams are read by the task; until then the loop must not wake for them again
        if self._uevents:
            asyncio.get_running_loop().remove_reader(self._uevents.fileno())
        self._heard.set()
        self._readable.set()

    def _quiet(self) -> None:
        if self._dm.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._dm.fileno())

    async def _take_uevents(self) -> None:
        if self._uevents is None or not self._heard.is_set():
            return
        self._heard.clear()
        try:
            for uevent in self._uevents.read():
                self._take_uevent(uevent)
        except OverrunError:
            await self._resync("the kernel dropped uevents")
        except OSError as error:
            # the other two witnesses go on, and `coverage` says that this one is missing
            self._deafen()
            await self._resync(f"uevents cannot be heard any more ({error})")
            return
        loop = asyncio.get_running_loop()
        loop.add_reader(self._uevents.fileno(), self._on_uevents)

    def _take_uevent(self, uevent: Uevent) -> None:
        device = self._tracked.get(uevent.number)
        if device is None or device.fresh_until is not None:
            # a look finds whose it is
            self._fired |= self._early.keep(uevent)
            return
        if mark(device, uevent):
            self._fired |= self._early.keep(uevent)
        if device.inbox:
            self._attend(device)

    async def _resync(self, reason: str) -> None:
        await self._outbox.resynced(reason)
        for device in self._tracked.values():
            device.inbox.table = True
            self._attend(device)

    async def _look(self) -> None:
        changes = await self._lister.look()
        await self._members.take_in(changes)
        if self._fired and not changes:
            await self._unchanged()
        self._lister.done()
        # only now: what a look that failed was owed, the next one owes
        self._fired = False
        for device in self._early.hand_over(self._tracked):
            self._attend(device)
        for device in self._tracked.values():
            if device.fresh_until is not None:
                device.inbox.table = True
                self._attend(device)

    async def _unchanged(self) -> None:
        """The node fired and the list is the same: a table was swapped, or a uuid was set."""
        if self._uevents is not None:
            await self._members.seek_uuids()
            return
        for device in self._tracked.values():
            device.inbox.table = True
            self._attend(device)

    def _attend(self, device: Tracked) -> None:
        if self._outbox.wants(device):
            self._attendant.attend(device)
        else:
            device.take()
            device.fresh_until = None

    def _after(self, device: Tracked, *, changed: bool) -> None:
        """A device was attended to: say when it is due again, and who else must be looked at."""
        if device.gone:
            return
        pooling = self._members.pooling
        pooling.learn(device)
        for other in pooling.living_in(device) if changed else ():
            other.inbox.read = True
            self._attend(other)
        self._schedule.attended(device, asyncio.get_running_loop().time())
        if self._schedule.next_time < self._until:
            # it is due before what is being waited for
            self._readable.set()

    def _attend_due(self, now: float) -> None:
        for device, status in self._schedule.take_due(now, self._tracked):
            device.inbox.record = True
            device.inbox.read |= status
            # without uevents a swapped table is found by looking
            device.inbox.table |= self._uevents is None
            self._attend(device)
