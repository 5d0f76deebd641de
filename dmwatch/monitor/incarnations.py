"""Whether a device is still the one that it was: its number and name can be taken anew."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from dmwatch.ioctl.payload import ListedDevice
from dmwatch.monitor.attending import EVENT_NR_SPAN
from dmwatch.monitor.snapshot import Changed
from dmwatch.monitor.tracked import Tracked
from dmwatch.monitor.uevents import Uevent
from dmwatch.names import DeviceNumber


def other_incarnation(device: Tracked, uevent: Uevent) -> bool:
    """Say whether a uevent shows that the device's number was freed and taken again."""
    if uevent.diskseq is not None:
        return device.diskseq is not None and uevent.diskseq > device.diskseq
    # Linux before 5.15 numbers no incarnations: there a removal and an addition tell
    was_removed, device.removing = device.removing, uevent.action == "remove"
    return was_removed and uevent.action == "add"


def began_anew(changed: Changed) -> bool:
    """Say whether an event number went back: then its device, and so its table, is another one."""
    moved = (changed.after.event_nr - changed.before.event_nr) % EVENT_NR_SPAN
    return moved >= EVENT_NR_SPAN // 2


def number_taken(
    device: Tracked, changed: Changed, diskseq: Callable[[DeviceNumber], int | None]
) -> bool:
    """Say whether another device took the number of a removed one between two lists."""
    if changed.before.name == changed.after.name:
        return False
    if device.usurped or device.removing or device.inbox.anew:
        return True
    return device.diskseq is not None and diskseq(device.number) != device.diskseq


async def uuid_taken(
    device: Tracked,
    changed: Changed,
    uuid_of: Callable[[ListedDevice], Awaitable[str | None]],
) -> bool:
    """Say whether a device with another uuid goes by the new name: a uuid, once set, stays.

    The incarnation does not tell where a device was removed before it could be asked for.
    """
    if device.uuid is None or changed.before.name == changed.after.name:
        return False
    found = await uuid_of(changed.after)
    return found is not None and found != device.uuid


def mark(device: Tracked, uevent: Uevent) -> bool:
    """Put what a uevent says into a device's inbox; say whether another incarnation is meant.

    A `change` has something of its own to say, or is a resume, which may have swapped the table.
    """
    if other_incarnation(device, uevent):
        device.inbox.anew = device.inbox.table = True
        return True
    if words := uevent.words:
        device.inbox.uevents.append(words)
    elif uevent.action == "change":
        device.inbox.table = True
        device.inbox.resumes += 1
    elif uevent.action == "remove" and uevent.diskseq in {None, device.diskseq}:
        # what is read then, if anything, was made anew; without a table it tells of itself by none
        device.inbox.table = True
    return False
