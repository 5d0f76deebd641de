"""One look at the devices of this machine, in which no device can hang the command."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from dmwatch.cli.failure import NoSuchDeviceError
from dmwatch.dm import DeviceInfo, DeviceMapper
from dmwatch.errors import DeviceNotFoundError, DmwatchError
from dmwatch.ioctl.abi import Flags
from dmwatch.ioctl.payload import ListedDevice
from dmwatch.monitor.workers import StuckError, Workers
from dmwatch.names import DeviceNumber, label, matches
from dmwatch.table import TargetLine
from dmwatch.targets import find

DEADLINE = 5.0
_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Look:
    """A device as it is now.

    Attributes:
        device: as listed.
        info: the kernel's record, or None where it did not answer.
        lines: its live table's lines with what they report; None where that could not be read.
        problem: why not, or None.
    """

    device: ListedDevice
    info: DeviceInfo | None
    lines: tuple[TargetLine, ...] | None
    problem: str | None = None

    @property
    def suspended(self) -> bool:
        """Its I/O is suspended, as far as is known."""
        return bool(self.info and self.info.suspended)

    @property
    def blocks(self) -> bool:
        """Its status was not asked for, of no line: one of them would block (see `read_status`)."""
        unread = [line for line in self.lines or () if not line.text]
        return self.suspended and any(find(line.type).blocks_suspended for line in unread)


def chosen(devices: Sequence[ListedDevice], wanted: Sequence[str]) -> list[ListedDevice]:
    """The devices meant by names, labels, numbers or shell globs; all where none is given.

    Raises:
        NoSuchDeviceError: one of them, without wildcards, means none.
    """
    called = [(d.name, label(d.name, d.uuid), str(d.number)) for d in devices]
    refuse_unknown(wanted, called)
    return [d for d, names in zip(devices, called, strict=True) if is_meant(names, wanted)]


def is_meant(names: Sequence[str], wanted: Sequence[str]) -> bool:
    """Say whether a device of these names is meant; all are where none is named."""
    return not wanted or any(matches(word, *names) for word in wanted)


def refuse_unknown(wanted: Sequence[str], called: Sequence[Sequence[str]]) -> None:
    """Refuse a word without wildcards that means no device.

    Args:
        wanted: names, labels, numbers or shell globs.
        called: what each device is called.

    Raises:
        NoSuchDeviceError: naming the first such word.
    """
    for word in wanted:
        if not any(c in word for c in "*?[") and not any(
            is_meant(names, [word]) for names in called
        ):
            raise NoSuchDeviceError(
                f"there is no device {word!r}", hint="`dmwatch ls` lists the devices"
            )


def refuse_absent(wanted: Sequence[str]) -> None:
    """Refuse a word without wildcards that means no device of this machine.

    Raises:
        NoSuchDeviceError: naming the first such word.
        DmwatchError: the list of devices cannot be had.
    """
    if wanted:
        with DeviceMapper() as dm:
            chosen(dm.list_devices(uuids=True), wanted)


Reader = Callable[[DeviceMapper, DeviceNumber], tuple[DeviceInfo, tuple[TargetLine, ...]]]


def look_at(wanted: Sequence[str], read: Reader) -> list[Look]:
    """Look at the devices that are meant, several at once, each with a deadline, ordered by name.

    Args:
        wanted: see `chosen`.
        read: looks at one device: `read_status` or `read_table`.

    Raises:
        DmwatchError: the list of devices cannot be had.
    """
    return asyncio.run(_look_at(wanted, read))


async def _look_at(wanted: Sequence[str], read: Reader) -> list[Look]:
    workers = Workers()
    try:
        with DeviceMapper() as dm:
            return await _look_with(workers, dm, wanted, read)
    finally:
        workers.close()


async def _look_with(
    workers: Workers, dm: DeviceMapper, wanted: Sequence[str], read: Reader
) -> list[Look]:
    gate = asyncio.Semaphore(_AT_ONCE)
    listed = await workers.run("the device list", lambda: dm.list_devices(uuids=True), DEADLINE)
    devices = sorted(chosen(listed, wanted), key=lambda device: device.name)
    looks = await asyncio.gather(*(_look(workers, gate, dm, d, read) for d in devices))
    return [look for look in looks if look]


async def _look(
    workers: Workers, gate: asyncio.Semaphore, dm: DeviceMapper, device: ListedDevice, read: Reader
) -> Look | None:
    async with gate:
        try:
            call = workers.run(device.number, lambda: read(dm, device.number), DEADLINE)
            info, lines = await call
        except DeviceNotFoundError:
            return None  # removed since it was listed
        except StuckError:
            return Look(device, None, None, f"it has not answered within {DEADLINE:g} s")
        except DmwatchError as error:
            return Look(device, None, None, str(error))
    return Look(replace(device, uuid=info.uuid), info, lines)


def read_status(
    dm: DeviceMapper, number: DeviceNumber
) -> tuple[DeviceInfo, tuple[TargetLine, ...]]:
    """Read what the targets report, but not of one that would block while suspended (era).

    The text of its lines is empty then.
    """
    info = dm.info(number)
    if info.suspended:
        info, lines = read_table(dm, number)
        if any(find(line.type).blocks_suspended for line in lines):
            return info, tuple(replace(line, text="") for line in lines)
    found = dm.table_status(number, flags=Flags.NOFLUSH)
    return found.info, found.lines


def read_table(dm: DeviceMapper, number: DeviceNumber) -> tuple[DeviceInfo, tuple[TargetLine, ...]]:
    """Read the live table; the kernel wipes its copy, as there may be keys in it."""
    found = dm.table_status(number, flags=Flags.NOFLUSH | Flags.STATUS_TABLE | Flags.SECURE_DATA)
    return found.info, found.lines
