"""Attending to one device: read it where that may hang, digest the reading, tell what is new.

Each device that has something in its inbox gets a task; what arrives while it is busy waits in the
inbox and is attended to by the same task. A device that took the number of a removed one waits
until all is told of that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Protocol

from dmwatch.dm import DeviceMapper
from dmwatch.errors import DeviceNotFoundError, DmwatchError
from dmwatch.events import Reason, Severity
from dmwatch.monitor import faults
from dmwatch.monitor.governor import Governor
from dmwatch.monitor.outbox import Outbox
from dmwatch.monitor.reading import Raw, read
from dmwatch.monitor.rules import Ruling
from dmwatch.monitor.settings import Settings
from dmwatch.monitor.tables import Lines, kinds, plain_status, plain_table, texts
from dmwatch.monitor.tracked import Failure, Happened, Inbox, Told, Tracked, ruled, steady
from dmwatch.monitor.workers import NoThreadError, StuckError, Workers
from dmwatch.names import DeviceName, DeviceNumber
from dmwatch.targets import Moment

EVENT_NR_SPAN = 1 << 32
SETTLE_INTERVAL, SETTLE_LOOKS = 0.25, 8
"""A target that finishes a change after announcing it is read until two looks agree."""


class After(Protocol):
    """Called when a device was attended to."""

    def __call__(self, device: Tracked, *, changed: bool) -> None:
        """`changed`: something was told of it, or its event number moved."""


class Attendant:
    """Attends to devices.

    Args:
        dm: the device-mapper.
        settings: deadlines and rules.
        outbox: where events go.
        diskseq: gives the incarnation of a device number.
        after: called when a device was attended to.

    Attributes:
        governor: bounds the processor time.
    """

    def __init__(
        self,
        dm: DeviceMapper,
        settings: Settings,
        outbox: Outbox,
        diskseq: Callable[[DeviceNumber], int | None],
        after: After,
    ) -> None:
        self._dm = dm
        self._settings = settings
        self._outbox = outbox
        self._diskseq = diskseq
        self._after = after
        self._workers = Workers(on_late=self._on_late)
        # devices that hang may pin all workers: the list must still be had
        self._own = Workers(limit=2)
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._late: dict[Any, Tracked] = {}
        self._by_number: dict[DeviceNumber, asyncio.Task[None]] = {}
        self._leaving: dict[str, asyncio.Task[None]] = {}
        self.governor = Governor(settings.monitor.cpu_share)

    def adopt(self, settings: Settings) -> None:
        """Go by other settings from now on."""
        self._settings = settings
        self.governor.share = settings.monitor.cpu_share

    async def call(self, key: Any, function: Callable[[], Any]) -> Any:
        """Call a function where it may hang.

        Raises:
            StuckError: it has not come back in time, or an earlier call on this key is still out.
        """
        workers = self._workers if isinstance(key, DeviceNumber) else self._own
        return await workers.run(key, function, self._settings.monitor.status_timeout)

    def stop(self) -> list[asyncio.Task[None]]:
        """End all tasks, which are given to be waited for, and let the threads go.

        Calls that hang in the kernel are left behind, and start nothing later.
        """
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        self._late.clear()
        self._workers.close()
        self._own.close()
        return tasks

    async def close(self) -> None:
        """Stop, and wait until that is over. It waits for no call that hangs."""
        if tasks := self.stop():
            await asyncio.wait(tasks)

    def attend(self, device: Tracked) -> None:
        """See that a device's inbox is attended to, or its farewell told."""
        task = self._tasks.get(id(device)) or self._begin(device)
        if device.gone:
            for known_by in _known_by(device):
                self._leaving[known_by] = task

    def _begin(self, device: Tracked) -> asyncio.Task[None]:
        earlier = {self._by_number.get(device.number)}
        earlier |= {self._leaving.get(known_by) for known_by in _known_by(device)}
        waiting = {task for task in earlier if task is not None}
        task = asyncio.create_task(self._run(device, waiting), name=f"dmwatch-{device.number}")
        self._tasks[id(device)] = self._by_number[device.number] = task
        task.add_done_callback(lambda _: self._forget(device, task))
        return task

    def _forget(self, device: Tracked, task: asyncio.Task[None]) -> None:
        self._tasks.pop(id(device), None)
        if self._by_number.get(device.number) is task:
            del self._by_number[device.number]
        for known_by in _known_by(device) if device.gone else ():
            if self._leaving.get(known_by) is task:
                del self._leaving[known_by]
        if not task.cancelled() and (device.inbox or device.gone) and not device.told_gone:
            # something came in after the last look into the inbox
            self.attend(device)

    async def first(self, device: Tracked) -> None:
        """Read a device for the first time: what stands already is told as initial."""
        await self._serve(device, device.take(), initial=True)

    async def renamed(self, device: Tracked, name: DeviceName) -> None:
        """Tell that a device has another name. One that was not told yet has just this one."""
        old, device.name = device.name, name
        if device.fresh_until is not None:
            return
        device.inbox.explained = True
        summary = f"the device was renamed from {old.printable}"
        moment = Moment("device.renamed", Severity.INFO, summary)
        told = Happened(moment, data={"old_name": old.printable})
        await self._tell(device, [told], old_name=old)

    async def uuid_set(self, device: Tracked) -> None:
        """Tell that a device has a uuid now."""
        summary = f"the device was given the uuid {device.ref.uuid}"
        device.inbox.explained = True
        await self._tell(device, [Happened(Moment("device.uuid-set", Severity.INFO, summary))])

    async def _run(self, device: Tracked, earlier: set[asyncio.Task[None]]) -> None:
        # of one number, name or uuid the old device is told to be gone before the new one is told
        if earlier:
            await asyncio.wait(earlier)
        while device.inbox and not device.gone:
            await self.governor.breathe()
            await self._serve(device, device.take())
        if device.gone:
            await self._farewell(device)

    async def _farewell(self, device: Tracked) -> None:
        device.told_gone = True
        if device.fresh_until is not None:
            await self._tell(device, [_added(device)])
        told: list[Told] = list(device.conditions.clear_all(Reason.DEVICE_REMOVED))
        told.append(Happened(Moment("device.removed", Severity.INFO, "the device was removed")))
        await self._tell(device, told)

    async def _serve(self, device: Tracked, taken: Inbox, *, initial: bool = False) -> None:
        try:
            await self._look_at(device, taken, initial=initial)
        except Exception as error:  # noqa: BLE001 - nothing that the kernel says may end the watch
            await self._not_understood(device, error, initial=initial)

    async def _not_understood(self, device: Tracked, error: Exception, *, initial: bool) -> None:
        now = asyncio.get_running_loop().time()
        failure = Failure.unreadable(error)
        try:
            told = device.digest_failure(failure, self._ruling(device), now, initial=initial)
            await self._tell(device, told)
        except Exception as another:  # noqa: BLE001 - it cannot even be told
            faults.log(another)
        self._after(device, changed=False)

    async def _look_at(self, device: Tracked, taken: Inbox, *, initial: bool) -> None:
        old_nr, before = device.event_nr, device.lines
        taken.anew |= taken.table and not initial and self._made_anew(device)
        told: list[Told] = []
        raw, failure = await self._reading(device, taken)
        taken.anew |= raw is not None and self._is_another(device, raw)
        if taken.anew:
            # Gone again, or under another name: it is removed, and the list tells of whatever is
            # there then.
            absent = raw is None and failure is None
            device.usurped = raw is not None and raw.info.name != device.name
            if absent or device.usurped:
                device.owe(taken, anew=absent)
                return
            # what stood on the old one is told with its uuid and diskseq
            await self._tell(device, list(device.conditions.clear_all(Reason.RECREATED)))
            told = device.anew()
        if raw is None or raw.lines is None:
            device.owe(taken)
        if taken.wants_status:
            device.read_at = asyncio.get_running_loop().time()
        if raw is not None and self._waits_for_table(device, raw):
            device.owe(taken)
            return
        told += await self._found(device, raw, failure, taken, initial=initial)
        moved = _moved(old_nr, device.event_nr)
        # a rename that the list has told meanwhile, or has still to tell, moves the number too
        renamed = raw is not None and raw.info.name != device.name
        explained = taken.explained or device.inbox.explained or renamed
        if moved and not told and not explained and not initial:
            told.append(_event(before, device))
        await self._tell(device, told, coalesced=max(moved - 1, 0))
        self._after(device, changed=bool(told) or moved > 0)

    async def _found(
        self,
        device: Tracked,
        raw: Raw | None,
        failure: Failure | None,
        taken: Inbox,
        *,
        initial: bool,
    ) -> list[Told]:
        now, ruling = asyncio.get_running_loop().time(), self._ruling(device)
        if failure is not None:
            return [
                *_told_now(device),
                *device.digest_failure(failure, ruling, now, initial=initial),
            ]
        if raw is None:
            return []
        return await self._digest(device, raw, taken, ruling, initial=initial)

    async def _digest(
        self, device: Tracked, raw: Raw, taken: Inbox, ruling: Ruling, *, initial: bool
    ) -> list[Told]:
        now = asyncio.get_running_loop().time()
        told = device.digest(raw, taken, ruling, now, initial=initial)
        if device.renewed:
            device.uuid, device.renewed = raw.info.uuid, False
        elif device.uuid is None and raw.info.uuid is not None:
            device.uuid = raw.info.uuid
            if device.fresh_until is None and not initial:
                await self.uuid_set(device)
                taken.explained = True
        if device.diskseq is None:
            device.diskseq = self._diskseq(device.number)
        return [*_told_now(device), *told]

    def _made_anew(self, device: Tracked) -> bool:
        """Where no uevent says so: the table may be another one because the device is."""
        known = device.diskseq
        return known is not None and self._diskseq(device.number) not in {None, known}

    def _is_another(self, device: Tracked, raw: Raw) -> bool:
        """What was read is not what was listed: its number was taken meanwhile."""
        if device.uuid is not None and not device.renewed and raw.info.uuid != device.uuid:
            return True
        if device.lines and raw.lines == ():
            # no command takes a live table away
            return True
        renamed, known = raw.info.name != device.name, device.diskseq
        return renamed and known is not None and self._diskseq(device.number) != known

    def _waits_for_table(self, device: Tracked, raw: Raw) -> bool:
        """A new device without a table yet: it is told with it, or when its time is over."""
        now = asyncio.get_running_loop().time()
        return device.fresh_until is not None and not raw.lines and now < device.fresh_until

    async def _reading(self, device: Tracked, taken: Inbox) -> tuple[Raw | None, Failure | None]:
        """Read a device: a reading, or why there is none; neither where it is gone."""
        try:
            return await self._read(device, taken), None
        except DeviceNotFoundError:
            return None, None
        except StuckError as error:
            self._late[device.number] = device
            if isinstance(error, NoThreadError):
                return None, Failure.not_asked()
            return None, Failure.stuck(self._settings.monitor.status_timeout)
        except (DmwatchError, OSError) as error:
            return None, Failure.unreadable(error)

    async def _read(self, device: Tracked, taken: Inbox) -> Raw:
        raw: Raw = await self._read_once(device, taken)
        if not device.settles or raw.info.event_nr == device.event_nr:
            return raw
        for _ in range(SETTLE_LOOKS):
            await asyncio.sleep(SETTLE_INTERVAL)
            again = await self._read_once(device, taken)
            if steady(again) == steady(raw):
                return again
            raw = again
        return raw

    async def _read_once(self, device: Tracked, taken: Inbox) -> Raw:
        wish = device.wish(taken)
        found: Raw = await self.call(device.number, lambda: read(self._dm, device.number, wish))
        return found

    def _ruling(self, device: Tracked) -> Ruling:
        now = datetime.now(UTC)
        return Ruling.of(self._settings.rules, device.names, device.uuid, now)

    async def _tell(
        self, device: Tracked, told: list[Told], *, coalesced: int = 0, old_name: str = ""
    ) -> None:
        kept = ruled(told, self._ruling(device))
        await self._outbox.tell(device, kept, coalesced=coalesced, old_name=old_name)

    def _on_late(self, key: object) -> None:
        device = self._late.pop(key, None)
        if device and not device.gone:
            device.inbox.read = True
            self.attend(device)


def _known_by(device: Tracked) -> list[str]:
    return [f"name {device.name}", *([f"uuid {device.uuid}"] if device.uuid else [])]


def _moved(old: int, new: int) -> int:
    """How many events lie between two event numbers; the counter wraps, and starts anew."""
    moved = (new - old) % EVENT_NR_SPAN
    return moved if moved < EVENT_NR_SPAN // 2 else 1


def _added(device: Tracked) -> Happened:
    shown = kinds(device.lines) if device.lines else "without a table"
    summary = f"the device was added ({shown})"
    moment = Moment("device.added", Severity.INFO, summary)
    return Happened(moment, data={"targets": plain_table(device.lines)})


def _told_now(device: Tracked) -> list[Told]:
    """That a device was added, where that was not told yet."""
    fresh, device.fresh_until = device.fresh_until is not None, None
    return [_added(device)] if fresh else []


def _event(before: Lines | None, device: Tracked) -> Happened:
    data = {"before": plain_status(before), "after": plain_status(device.lines)}
    old, new = texts(before), texts(device.lines)
    shown = f": {old or 'nothing'} -> {new or 'nothing'}" if old != new else ""
    summary = f"the kernel reported an event{shown}"
    return Happened(Moment("device.event", Severity.DEBUG, summary), data=data)
