"""Commands that carry a cookie, and what takes commands back. A change's hands."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from weakref import WeakKeyDictionary

from dmwatch.devices.known import Known, look
from dmwatch.dm import DeviceMapper
from dmwatch.dm.udev import Answer, Cookie
from dmwatch.errors import CommandError, DeviceBusyError, DeviceNotFoundError
from dmwatch.ioctl.abi import NO_FLAGS, Flags, UdevFlags
from dmwatch.names import DeviceName
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


def was_cleared(dm: DeviceMapper, name: str) -> bool:
    """A staged table was taken away, and none was put in place for a renaming since.

    dm-ima (since 5.15) would free the text that it has measured twice, and the kernel's memory be
    no longer sound: TABLE_CLEAR leaves it to the live and to the staged table, and DEV_RENAME frees
    it for the one only (drivers/md/dm-ima.c).
    """
    return name in _cleared.get(dm, ())


def sound(dm: DeviceMapper, name: str) -> None:
    """A table was put in place: the device can be renamed."""
    _cleared.get(dm, set()).discard(name)


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
        """DEV_RENAME."""
        udev |= UdevFlags.PRIMARY_SOURCE
        self._carry(lambda number: dm.rename(name, new, udev=udev, cookie=number))

    def remove(
        self, dm: DeviceMapper, name: str, udev: UdevFlags, patience: float = PATIENCE
    ) -> None:
        """DEV_REMOVE; while it is busy udev may finish, and it is tried again.

        What udev does not finish meanwhile is still waited for at the end.
        """
        udev |= UdevFlags.PRIMARY_SOURCE
        deadline = time.monotonic() + patience
        while True:
            try:
                self._carry(lambda number: dm.remove(name, udev=udev, cookie=number))
            except DeviceBusyError:
                if time.monotonic() >= deadline:
                    raise
                self.cookie.caught_up(deadline)
                time.sleep(_PAUSE)
            else:
                return

    # Taking back

    def unload(self, dm: DeviceMapper, before: Known | None) -> None:
        """Take back a load."""
        if before and before.staged:
            restage(dm, before)
        elif before:
            clear(dm, before.name)

    def unresume(self, dm: DeviceMapper, before: Known, udev: UdevFlags) -> None:
        """Take back a resume: the table that was live, suspended if it was."""
        if before.live is None:
            # only a new device has no table
            self.remove(dm, before.name, udev)
            self.remake(dm, before, udev)
            return
        if before.staged:
            self._swap_in(dm, before, udev)
        if before.suspended:
            dm.suspend(before.name, flags=AT_ONCE)
        restage(dm, before)

    def put_back(self, dm: DeviceMapper, before: Known, udev: UdevFlags) -> None:
        """Take back what a refused resume left: what was live runs as it did; what is staged stays.

        Where a table cannot be put in place the old one stays, suspended (dm_swap_table); where its
        target refuses to go on it is in place, and suspended (preresume). The device is found by
        number: it may have been renamed back meanwhile.
        """
        now = _by_number(dm, before)
        if now is None:
            return
        was = replace(now, live=before.live, suspended=before.suspended, read_only=before.read_only)
        if before.live is None:
            self.remove(dm, now.name, udev)
            self.remake(dm, was, udev)
            return
        if now.live != was.live or now.staged:
            self._swap_in(dm, was, udev)
        elif now.suspended and not was.suspended:
            self.resume(dm, now.name, udev)
        if was.suspended:
            dm.suspend(now.name, flags=AT_ONCE)
        restage(dm, was)

    def _swap_in(self, dm: DeviceMapper, wanted: Known, udev: UdevFlags) -> None:
        """Load a live table again, and put it in place."""
        now = look(dm, wanted.name)
        dm.load(wanted.name, wanted.live or (), flags=wanted.flags | secrecy(wanted.live or ()))
        try:
            self.resume(dm, wanted.name, udev, AT_ONCE)
        except CommandError:
            if now and now.live and not now.suspended:
                # its target does not go back: that it runs comes first
                with suppress(CommandError):
                    dm.load(now.name, now.live, flags=now.flags | secrecy(now.live))
                    self.resume(dm, now.name, udev, AT_ONCE)
            raise
        sound(dm, wanted.name)

    def unrename(self, dm: DeviceMapper, name: str, new: str, udev: UdevFlags) -> None:
        """Take back a renaming."""
        known = look(dm, new)
        if known is None:
            return  # it was interrupted before it was renamed
        if was_cleared(dm, new) and known.live and not known.staged:
            self._swap_in(dm, known, udev)
            if known.suspended:
                dm.suspend(new, flags=AT_ONCE)
        self.rename(dm, new, name, udev)

    def unmake(self, dm: DeviceMapper, name: str, udev: UdevFlags) -> None:
        """Take back a creation."""
        with suppress(DeviceNotFoundError):  # it was interrupted before it was made
            self.remove(dm, name, udev)

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


def cut_short(dm: DeviceMapper, before: Known) -> bool:
    """Whether a resume that was refused has done a part of its work."""
    now = look(dm, before.name)
    return now is not None and (bool(now.staged), now.suspended) != (
        bool(before.staged),
        before.suspended,
    )


def _by_number(dm: DeviceMapper, before: Known) -> Known | None:
    try:
        name = dm.info(before.number or DeviceName(before.name)).name
    except DeviceNotFoundError:
        return None
    return look(dm, name or before.name)


def restage(dm: DeviceMapper, before: Known) -> None:
    """Load again what was loaded."""
    if before.staged:
        flags = before.staged_flags | secrecy(before.staged)
        dm.load(before.name, before.staged, flags=flags)
