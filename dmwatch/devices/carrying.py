"""Commands that carry a cookie, and what takes commands back. A change's hands."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from weakref import WeakKeyDictionary

from dmwatch.devices.known import Known, look
from dmwatch.dm import DeviceMapper
from dmwatch.dm.udev import Answer, Cookie
from dmwatch.errors import DeviceBusyError, UdevError
from dmwatch.ioctl.abi import NO_FLAGS, Flags, UdevFlags
from dmwatch.table import KEYED_TYPES, TargetLine

PATIENCE = 2.0
"""Seconds for which a removal is tried again while the device is busy: udev may look into it."""
AT_ONCE = Flags.NOFLUSH | Flags.SKIP_LOCKFS
_PAUSE = 0.05
# The devices whose staged table was taken away, and which were not renamed since.
_cleared: WeakKeyDictionary[DeviceMapper, set[str]] = WeakKeyDictionary()


def clear(dm: DeviceMapper, name: str) -> None:
    """TABLE_CLEAR, remembered for a renaming."""
    dm.clear(name)
    _cleared.setdefault(dm, set()).add(name)


def secrecy(lines: Sequence[TargetLine]) -> Flags:
    """The flag for loading a table that may hold a key."""
    return Flags.SECURE_DATA if any(line.type in KEYED_TYPES for line in lines) else NO_FLAGS


class Carrier:
    """Carries out the commands that udev hears of.

    Args:
        cookie: that they carry.
    """

    def __init__(self, cookie: Cookie) -> None:
        self.cookie = cookie

    def _carry(self, command: Callable[[int], Answer]) -> None:
        self.cookie.carry(command)

    def resume(self, dm: DeviceMapper, name: str, udev: UdevFlags, flags: Flags = NO_FLAGS) -> None:
        """DEV_SUSPEND without SUSPEND."""
        udev |= UdevFlags.PRIMARY_SOURCE
        self._carry(lambda number: dm.resume(name, flags=flags, udev=udev, cookie=number))

    def rename(self, dm: DeviceMapper, name: str, new: str, udev: UdevFlags) -> None:
        """DEV_RENAME; after a TABLE_CLEAR the live table is put in place of itself before.

        Without that dm-ima (since 5.15) frees the text that it has measured twice, and the kernel's
        memory is no longer sound: TABLE_CLEAR leaves it to the live and to the staged table, and
        DEV_RENAME frees it for the one only (drivers/md/dm-ima.c).
        """
        if name in _cleared.get(dm, ()):
            self._swap_with_itself(dm, name, udev)
            _cleared[dm].discard(name)
        udev |= UdevFlags.PRIMARY_SOURCE
        self._carry(lambda number: dm.rename(name, new, udev=udev, cookie=number))

    def _swap_with_itself(self, dm: DeviceMapper, name: str, udev: UdevFlags) -> None:
        known = look(dm, name)
        if known is None or not known.live or known.staged:
            return
        dm.load(name, known.live, flags=known.flags | secrecy(known.live))
        self.resume(dm, name, udev, AT_ONCE)
        if known.suspended:
            dm.suspend(name, flags=AT_ONCE)

    def remove(
        self, dm: DeviceMapper, name: str, udev: UdevFlags, patience: float = PATIENCE
    ) -> None:
        """DEV_REMOVE; while it is busy udev may finish, and it is tried again."""
        udev |= UdevFlags.PRIMARY_SOURCE
        deadline = time.monotonic() + patience
        while True:
            try:
                self._carry(lambda number: dm.remove(name, udev=udev, cookie=number))
            except DeviceBusyError:
                if time.monotonic() >= deadline:
                    raise
                with suppress(UdevError):
                    self.cookie.wait()
                time.sleep(_PAUSE)
            else:
                return

    # Taking back

    def unload(self, dm: DeviceMapper, before: Known | None) -> None:
        """Take back a load, and the suspend that a resume leaves when it cannot swap."""
        if before is None:
            return
        if before.staged:
            restage(dm, before)
            return
        clear(dm, before.name)
        now = dm.info(before.name)
        if now.suspended and now.has_table and not before.suspended:
            dm.resume(before.name)

    def unresume(self, dm: DeviceMapper, before: Known, udev: UdevFlags) -> None:
        """Take back a resume: the table that was live, suspended if it was."""
        if before.live is None:
            # only a new device has no table
            self.remove(dm, before.name, udev)
            self.remake(dm, before, udev)
            return
        if before.staged:
            dm.load(before.name, before.live, flags=before.flags | secrecy(before.live))
            self.resume(dm, before.name, udev, AT_ONCE)
        if before.suspended:
            dm.suspend(before.name, flags=AT_ONCE)
        restage(dm, before)

    def remake(self, dm: DeviceMapper, before: Known, udev: UdevFlags) -> None:
        """Take back a removal: the same number, tables and state."""
        if look(dm, before.name) is not None:
            return  # it was interrupted before it was removed
        dm.create(before.name, before.uuid, minor=before.number.minor if before.number else None)
        if before.live:
            dm.load(before.name, before.live, flags=before.flags | secrecy(before.live))
            self.resume(dm, before.name, udev)
            if before.suspended:
                dm.suspend(before.name, flags=AT_ONCE)
        restage(dm, before)


def restage(dm: DeviceMapper, before: Known) -> None:
    """Load again what was loaded."""
    if before.staged:
        dm.load(before.name, before.staged, flags=secrecy(before.staged))
