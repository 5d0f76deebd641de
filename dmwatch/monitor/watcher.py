"""The asyncio shell: add_reader, arm, list, compare, read, tell.

Theory of operation. The control node is readable while the kernel's global event counter is ahead
of the value that this open file was last armed with. So readiness is a level, and says only that
something happened, to some device. An armed file is quiet until the next event.

One look is: arm, then list, then compare, then read. In this order nothing can fall between: what
happens after the arming makes the node readable again, and what happened before it is in the list.
If a look fails, the work is still owed though the node may be quiet; so it is repeated after a
pause (1 s, doubling to 30 s), and the list to compare with stays the old one: what was told already
is known and not told again.
While a look runs or is paused the loop does not watch the node: a level that nobody lowers
would make it spin.

A device's event number moves with every event of its targets, and with renames while a table is
live. It is 32 bits wide, wraps, and starts anew when a device is made anew: it is compared with
`!=`. Several events may lie between two looks. The status call returns the number too, read before
the targets were asked, and that one is kept: a list taken earlier must not make the same status be
told twice.

The node fires as well for what moves no number: create, remove, rename, setting a uuid, and
swapping a table. An unchanged list after a wake therefore means a swapped table, or the uuid of a
device without one; only then, and for new devices, is the list taken with uuids. The wake of a
swap comes before its resume is over, so a new device is looked at a few times in its first second.

Events wait for their reader in a queue with an end. When it is full the look waits, and the kernel
folds what happens meanwhile: memory is bounded and the last state of every device is always told.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from dmwatch.dm import DeviceInfo, DeviceMapper
from dmwatch.errors import DeviceNotFoundError, DmwatchError, InterfaceTooOldError
from dmwatch.events import Event, Severity
from dmwatch.ioctl.abi import LIST_EVENTS_VERSION, LIST_UUID_VERSION, Flags, Version
from dmwatch.ioctl.control import ControlLike
from dmwatch.ioctl.payload import ListedDevice
from dmwatch.monitor.known import Known, Lines, plain_lines, plain_table
from dmwatch.monitor.snapshot import Changed, Changes, Snapshot, compare
from dmwatch.monitor.sysfs import diskseq
from dmwatch.monitor.teller import Teller
from dmwatch.monitor.workers import StuckError, Workers
from dmwatch.names import DeviceName, DeviceNumber
from dmwatch.targets import find

FRESH_SECONDS = 1.0
"""How long a new device's first table is waited for before the device is told without one."""
FRESH_INTERVAL = 0.1
"""How often a new device is looked at until its first table is told."""
PAUSE_FIRST, PAUSE_LONGEST = 1.0, 30.0
QUEUE_LENGTH = 1000
READS_AT_ONCE = 8
_LIST = "the device list"


class Watcher:
    """Watches this machine's device-mapper: an asynchronous iterator of events.

    Args:
        devices: shell globs for names, labels or numbers; none means every device.
        control: of a fake kernel, for tests. It is closed at the end.
        status_timeout: seconds after which a call that has not come back is left behind.

    Raises:
        ControlError: or one of its subclasses, on entering: no device-mapper, not permitted.
        InterfaceTooOldError: on entering, before DM 4.37 (Linux 4.14).
    """

    def __init__(
        self,
        devices: Sequence[str] = (),
        *,
        control: ControlLike | None = None,
        status_timeout: float = 5.0,
    ) -> None:
        self._patterns = tuple(devices)
        self._control = control
        self._timeout = status_timeout
        self._known: dict[DeviceNumber, Known] = {}
        self._snapshot = Snapshot(b"", {})
        self._teller = Teller()
        self._events: asyncio.Queue[Event | BaseException] = asyncio.Queue(QUEUE_LENGTH)
        self._readable = asyncio.Event()
        self._version: Version = (0, 0, 0)

    async def __aenter__(self) -> Self:
        self._dm = DeviceMapper(self._control)
        self._workers = Workers()
        try:
            await self._begin()
        except BaseException:
            self._close()
            raise
        self._task = asyncio.create_task(self._watch(), name="dmwatch-watcher")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])
        self._close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        found = await self._events.get()
        if isinstance(found, BaseException):
            raise found
        return found

    @property
    def count(self) -> int:
        """How many devices are being watched."""
        return sum(known.matches(self._patterns) for known in self._known.values())

    def _close(self) -> None:
        self._quiet()
        self._workers.close()
        self._dm.close()

    async def _begin(self) -> None:
        self._version = await self._call(_LIST, self._dm.version)
        if self._version < LIST_EVENTS_VERSION:
            raise _too_old(self._version)
        self._snapshot = await self._arm_and_list()
        self._known = {d.number: Known.listed(d) for d in self._snapshot.devices()}
        await self._learn_uuids(self._known.values())
        gate = asyncio.Semaphore(READS_AT_ONCE)
        await asyncio.gather(*(self._first_read(known, gate) for known in self._known.values()))

    async def _first_read(self, known: Known, gate: asyncio.Semaphore) -> None:
        async with gate:
            known.diskseq = diskseq(known.number)
            await self._read(known)

    async def _watch(self) -> None:
        try:
            await self._look_for_ever()
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - whoever iterates is told, and decides
            await self._events.put(error)

    async def _look_for_ever(self) -> None:
        pause = 0.0
        while True:
            await self._wait(pause)
            try:
                await self._look()
            except (DmwatchError, OSError):
                pause = min(max(2 * pause, PAUSE_FIRST), PAUSE_LONGEST)
            else:
                pause = 0.0

    async def _wait(self, pause: float) -> None:
        """Wait for the node, for a new device's last moment, or for a pause to be over."""
        if pause:
            await asyncio.sleep(pause)
            return
        loop = asyncio.get_running_loop()
        self._readable.clear()
        loop.add_reader(self._dm.fileno(), self._on_readable)
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(self._next_fresh()):
                    await self._readable.wait()
        finally:
            self._quiet()

    def _next_fresh(self) -> float | None:
        times = [k.fresh_until for k in self._known.values() if k.fresh_until is not None]
        soon = asyncio.get_running_loop().time() + FRESH_INTERVAL
        return min([soon, *times]) if times else None

    def _on_readable(self) -> None:
        self._quiet()
        self._readable.set()

    def _quiet(self) -> None:
        if self._dm.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._dm.fileno())

    async def _look(self) -> None:
        snapshot = await self._arm_and_list()
        changes = compare(self._snapshot, snapshot)
        for listed in changes.removed:
            await self._removed(listed.number)
        for listed in changes.added:
            self._added(listed)
        await self._check_uuids(changes)
        for changed in changes.changed:
            await self._changed(changed)
        self._snapshot = snapshot
        await self._tell_fresh()

    async def _removed(self, number: DeviceNumber) -> None:
        known = self._known.pop(number, None)
        if known is None:
            return
        await self._tell_added(known)
        await self._tell("device.removed", Severity.INFO, known, "the device was removed")

    def _added(self, listed: ListedDevice) -> None:
        if listed.number in self._known:
            return
        known = Known.listed(listed)
        known.fresh_until = asyncio.get_running_loop().time() + FRESH_SECONDS
        self._known[listed.number] = known

    async def _changed(self, changed: Changed) -> None:
        known = self._known.get(changed.after.number)
        if known is None:
            return
        if _made_anew(known, changed):
            await self._removed(known.number)
            self._added(changed.after)
            await self._learn_uuids([self._known[known.number]])
            return
        await self._tell_added(known)
        renamed = await self._renamed(known, changed.after.name)
        if known.event_nr != changed.after.event_nr:
            await self._moved(known, changed.after.event_nr, told=renamed)

    async def _renamed(self, known: Known, name: DeviceName) -> bool:
        old = known.name
        if name == old:
            return False
        known.name = name
        summary = f"the device was renamed from {old.printable}"
        data = {"old_name": old.printable}
        await self._tell("device.renamed", Severity.INFO, known, summary, old, data=data)
        return True

    async def _moved(self, known: Known, event_nr: int, *, told: bool) -> None:
        """The event number moved: read, and tell what no other event of this look has told."""
        before, old_nr, uuid = known.lines, known.event_nr, known.uuid
        known.event_nr = event_nr
        await self._read(known)
        if known.uuid != uuid:
            await self._tell_uuid(known)
            told = True
        if told and known.lines == before:
            return
        data = {"before": plain_lines(before), "after": plain_lines(known.lines)}
        coalesced = max(known.events_since(old_nr) - 1, 0)
        summary = "the kernel reported an event" + _shown(before, known.lines)
        await self._tell(
            "device.event", Severity.DEBUG, known, summary, data=data, coalesced=coalesced
        )

    async def _tell_fresh(self) -> None:
        """Tell new devices that have their first table by now, or whose time is over."""
        now = asyncio.get_running_loop().time()
        for known in list(self._known.values()):
            if known.fresh_until is None:
                continue
            known.diskseq = diskseq(known.number)
            await self._read(known)
            if known.lines or now >= known.fresh_until:
                await self._tell_added(known)

    async def _tell_added(self, known: Known) -> None:
        if known.fresh_until is None:
            return
        known.fresh_until = None
        table = plain_table(known.lines)
        kinds = ", ".join(dict.fromkeys(str(line["type"]) for line in table))
        summary = f"the device was added ({kinds or 'without a table'})"
        await self._tell("device.added", Severity.INFO, known, summary, data={"targets": table})

    async def _check_uuids(self, changes: Changes) -> None:
        if changes.added:
            await self._learn_uuids([self._known[listed.number] for listed in changes.added])
        elif not changes:
            await self._find_new_uuids()

    async def _find_new_uuids(self) -> None:
        """The node fired and the list is the same: perhaps a device without a table got a uuid."""
        nameless = [known for known in self._known.values() if known.uuid is None]
        if not nameless:
            return
        await self._learn_uuids(nameless)
        for known in nameless:
            if known.uuid is not None and known.fresh_until is None:
                await self._tell_uuid(known)

    async def _learn_uuids(self, devices: Any) -> None:
        if self._version < LIST_UUID_VERSION:
            for known in devices:
                await self._learn_uuid(known)
            return
        listed = await self._call(_LIST, lambda: self._dm.list_devices(uuids=True))
        uuids = {(device.number, device.name): device.uuid for device in listed}
        for known in devices:
            known.uuid = uuids.get((known.number, known.name), known.uuid)

    async def _learn_uuid(self, known: Known) -> None:
        try:
            info = await self._call(known.number, lambda: self._dm.info(known.number))
        except (DeviceNotFoundError, StuckError):
            return
        known.uuid = info.uuid

    async def _tell_uuid(self, known: Known) -> None:
        summary = f"the device was given the uuid {known.ref.uuid}"
        await self._tell("device.uuid-set", Severity.INFO, known, summary)

    async def _read(self, known: Known) -> None:
        """Read what the targets report. What cannot be read now keeps its last state."""
        try:
            info, lines = await self._call(known.number, lambda: self._status(known))
        except (DmwatchError, OSError):
            return
        known.event_nr = info.event_nr
        known.uuid = info.uuid or known.uuid
        if lines is not None:
            known.lines = lines

    def _status(self, known: Known) -> tuple[DeviceInfo, Lines | None]:
        """On a worker: the status, but for targets that do not answer while suspended."""
        info = self._dm.info(known.number)
        if info.suspended and _blocks(known):
            return info, None
        found = self._dm.table_status(known.number, flags=Flags.NOFLUSH)
        return found.info, found.lines

    async def _arm_and_list(self) -> Snapshot:
        return Snapshot.of(await self._call(_LIST, self._armed_list))

    def _armed_list(self) -> bytes:
        self._dm.arm_poll()
        return self._dm.list_raw().data

    async def _call(self, key: Any, function: Any) -> Any:
        return await self._workers.run(key, function, self._timeout)

    async def _tell(
        self,
        type_: str,
        severity: Severity,
        known: Known,
        summary: str,
        *names: str,
        **more: Any,
    ) -> None:
        if known.matches(self._patterns, *names):
            event_nr = known.event_nr
            event = self._teller.moment(
                type_, severity, known.ref, summary, event_nr=event_nr, **more
            )
            await self._events.put(event)


def _blocks(known: Known) -> bool:
    # of a table never seen it is not known whether it holds such a target
    return not known.lines or any(find(kind).blocks_suspended for kind in known.types)


def _made_anew(known: Known, changed: Changed) -> bool:
    """Say whether a number was freed and taken by another device between two lists."""
    if changed.before.name == changed.after.name:
        return 0 <= changed.after.event_nr < changed.before.event_nr < 1 << 31
    seen = diskseq(known.number)
    return known.diskseq is not None and seen != known.diskseq


def _shown(before: Lines | None, after: Lines | None) -> str:
    old, new = _texts(before), _texts(after)
    if old == new:
        return ""
    return f": {old or 'nothing'} -> {new or 'nothing'}"


def _texts(lines: Lines | None) -> str:
    return " | ".join(f"{line.type} {line.text}".strip() for line in lines or ())


def _too_old(version: Version) -> InterfaceTooOldError:
    running = ".".join(map(str, version))
    return InterfaceTooOldError(
        "DEV_ARM_POLL",
        None,
        errno.ENOTTY,
        because=f"watching needs device-mapper 4.37 (Linux 4.14) and this kernel has {running}",
        hint="use a newer kernel",
    )
