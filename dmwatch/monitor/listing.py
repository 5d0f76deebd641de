"""The list of devices, taken on a worker and compared with the one before."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from dmwatch.dm import DeviceMapper
from dmwatch.errors import DeviceNotFoundError, InterfaceTooOldError
from dmwatch.ioctl.abi import LIST_UUID_VERSION, Version
from dmwatch.ioctl.payload import ListedDevice
from dmwatch.monitor.snapshot import Changes, Snapshot, compare
from dmwatch.monitor.tracked import Tracked
from dmwatch.monitor.workers import StuckError

# Not by the device: its record asks no target, and a read of its status may be under way.
_RECORD = "a device's record"


class Call(Protocol):
    """Calls a function where it may hang; see Attendant.call."""

    async def __call__(self, key: Any, function: Callable[[], Any]) -> Any:
        """Give what the function gives.

        Raises:
            StuckError: it has not come back in time.
        """


class Lister:
    """Arms and lists.

    Args:
        dm: the device-mapper.
        call: makes a call that may hang.

    Attributes:
        version: of the kernel's interface.
    """

    def __init__(self, dm: DeviceMapper, call: Call) -> None:
        self._dm = dm
        self._call = call
        self._before = Snapshot.of(b"")
        self._after = self._before
        self.version: Version = (0, 0, 0)

    async def look(self) -> Changes:
        """Arm, list, and compare with the list that was last `done` with.

        Raises:
            DmwatchError: it cannot be had now. What changed is found next time.
        """
        data = await self._call("the device list", self._armed_list)
        self._after = self._before.following(data)
        return compare(self._before, self._after)

    def done(self) -> None:
        """Everything that the last look found was taken in: compare with it from now on."""
        self._before = self._after

    def counted(self) -> None:
        """Who came and who went was taken in, whatever becomes of the rest of the look."""
        self._before = self._before.with_members_of(self._after)

    async def learn_uuids(self, devices: Iterable[Tracked]) -> None:
        """Ask for the uuids of devices; on a kernel whose list has none, one by one."""
        if self.version < LIST_UUID_VERSION:
            for device in devices:
                await self._learn_uuid(device)
            return
        listed = await self._call("the device list", lambda: self._dm.list_devices(uuids=True))
        uuids = {(found.number, found.name): found.uuid for found in listed}
        for device in devices:
            device.uuid = uuids.get((device.number, device.name), device.uuid)

    async def uuid_of(self, listed: ListedDevice) -> str | None:
        """The uuid of a device; None where it has none, is not there any more, or hangs."""
        try:
            info = await self._call(_RECORD, lambda: self._dm.info(listed.number))
        except (DeviceNotFoundError, StuckError):
            return None
        return info.uuid if info.name == listed.name else None

    async def _learn_uuid(self, device: Tracked) -> None:
        try:
            info = await self._call(_RECORD, lambda: self._dm.info(device.number))
        except (DeviceNotFoundError, StuckError):
            return
        device.uuid = info.uuid

    def _armed_list(self) -> bytes:
        self._dm.arm_poll()
        return self._dm.list_raw().data


def too_old(version: Version) -> InterfaceTooOldError:
    """The refusal to watch with a device-mapper that cannot list what changed."""
    running = ".".join(map(str, version))
    return InterfaceTooOldError(
        "DEV_ARM_POLL",
        None,
        errno.ENOTTY,
        because=f"watching needs device-mapper 4.37 (Linux 4.14) and this kernel has {running}",
        hint="use a newer kernel",
    )
