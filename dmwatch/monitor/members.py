"""Who is there: devices that come, go, and are called otherwise from one list to the next."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from dmwatch.ioctl.payload import ListedDevice
from dmwatch.monitor.attending import Attendant
from dmwatch.monitor.incarnations import began_anew, number_taken, uuid_taken
from dmwatch.monitor.listing import Lister
from dmwatch.monitor.pooling import Pooling
from dmwatch.monitor.settings import Settings
from dmwatch.monitor.snapshot import Changed, Changes
from dmwatch.monitor.tracked import Tracked
from dmwatch.names import DeviceNumber

FRESH_SECONDS = 1.0
"""How long a new device's first table is waited for before the device is told without one."""


class Members:
    """Keeps the devices in step with the list.

    Args:
        lister: arms and lists.
        attendant: attends to devices.
        attend: has a device attended to, where it is wanted.
        settings: of the devices.
        diskseq: gives the incarnation of a device number.

    Attributes:
        tracked: the devices, by number.
        pooling: which of them live in which.
    """

    def __init__(
        self,
        lister: Lister,
        attendant: Attendant,
        attend: Callable[[Tracked], None],
        settings: Settings,
        diskseq: Callable[[DeviceNumber], int | None],
    ) -> None:
        self._lister = lister
        self._attendant = attendant
        self._attend = attend
        self._settings = settings
        self._diskseq = diskseq
        self._nameless: list[Tracked] = []
        self.tracked: dict[DeviceNumber, Tracked] = {}
        self.pooling = Pooling()

    def adopt(self, settings: Settings) -> None:
        """Go by other settings from now on."""
        self._settings = settings

    async def begin(self, changes: Changes) -> None:
        """Take in the first list: nobody on it is new."""
        for listed in changes.added:
            self._track(listed)
        await self._learn_uuids()

    async def take_in(self, changes: Changes) -> None:
        """Take in what differs from the list before.

        It may fail half-way, and is then called again with what differs from what it has taken in.
        """
        for listed in changes.removed:
            self._remove(listed.number)
        for listed in changes.added:
            self._add(listed)
        if changes.removed or changes.added:
            self._lister.counted()
        await self._learn_uuids()
        for changed in changes.changed:
            await self._change(changed)

    async def seek_uuids(self) -> None:
        """Tell of those that were given a uuid since they were asked for one."""
        nameless = [device for device in self.tracked.values() if device.may_get_uuid]
        if nameless:
            await self._lister.learn_uuids(nameless)
        for device in nameless:
            if device.uuid is not None and not device.renewed:
                await self._attendant.uuid_set(device)
                self._attend_unread(device)

    def _track(self, listed: ListedDevice) -> Tracked:
        device = Tracked(listed.number, listed.name, listed.event_nr, self._settings)
        self.tracked[listed.number] = device
        self._nameless.append(device)
        return device

    def _add(self, listed: ListedDevice) -> None:
        device = self._track(listed)
        device.fresh_until = asyncio.get_running_loop().time() + FRESH_SECONDS

    def _remove(self, number: DeviceNumber) -> None:
        device = self.tracked.pop(number, None)
        if device:
            device.gone = True
            self.pooling.forget(device)
            self._attendant.attend(device)

    async def _learn_uuids(self) -> None:
        if self._nameless:
            await self._lister.learn_uuids(self._nameless)
            self._nameless.clear()

    async def _change(self, changed: Changed) -> None:
        device = self.tracked.get(changed.after.number)
        if device is None:
            return
        if number_taken(device, changed, self._diskseq) or await uuid_taken(
            device, changed, self._lister.uuid_of
        ):
            self._remove(device.number)
            self._add(changed.after)
            await self._learn_uuids()
            return
        if device.name != changed.after.name:
            await self._attendant.renamed(device, changed.after.name)
            self._attend_unread(device)
        if device.event_nr != changed.after.event_nr:
            device.inbox.event_nr = changed.after.event_nr
        # also where its status was read meanwhile, and so came with the new one's number
        device.inbox.table |= began_anew(changed)
        if device.inbox:
            self._attend(device)

    def _attend_unread(self, device: Tracked) -> None:
        """By what it is called now it may be wanted, and it was not before."""
        if device.lines is None and device.fresh_until is None:
            device.inbox.table = True
            self._attend(device)
