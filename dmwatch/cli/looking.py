"""One look at the devices of this machine, in which no device can hang the command."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from dmwatch.cli.failure import NoSuchDeviceError
from dmwatch.dm import DeviceInfo, DeviceMapper
from dmwatch.errors import DeviceNotFoundError, DmwatchError
from dmwatch.ioctl.abi import Flags
from dmwatch.ioctl.payload import ListedDevice
from dmwatch.monitor.workers import StuckError, Workers
from dmwatch.names import DeviceNumber, label
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


def chosen(devices: Sequence[ListedDevice], wanted: Sequence[str]) -> list[ListedDevice]:
    """The devices meant by names, labels, numbers or shell globs; all where none is given.

    Raises:
        NoSuchDeviceError: one of them, without wildcards, means none.
    """
    for word in wanted:
        if not any(c in word for c in "*?[") and not any(_means(word, d) for d in devices):
            raise NoSuchDeviceError(
                f"there is no device {word!r}", hint="`dmwatch ls` lists the devices"
            )
    return [d for d in devices if not wanted or any(_means(word, d) for word in wanted)]


def _means(word: str, device: ListedDevice) -> bool:
    called = (device.name, label(device.name, device.uuid), str(device.number))
    return any(fnmatchcase(name, word) for name in called)


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
