"""What commands do to devices: who is told, which number moves (drivers/md/dm.c, dm-ioctl.c).

operation                        poll fires     event number
create                           yes            starts at 0
load, clear, suspend, message    no             -
resume with a loaded table       yes            unchanged
resume without one               no             -
rename, set uuid                 yes            +1 if a table is live
remove, deferred remove          yes            +1 for who waits, if a table is live
last close of a deferred one     with a table   gone
"""

from __future__ import annotations

import errno
import re
import threading

from dmwatch.ioctl.abi import Version
from dmwatch.names import DeviceNumber
from dmwatch.testing.devices import Devices, FakeDevice, FakeTable
from dmwatch.testing.poll import GlobalEvents
from dmwatch.testing.refusing import refuse

EVENT_NR_SPAN = 1 << 32
RESERVED_SINCE: Version = (4, 48, 0)
_RESERVED = frozenset({b"control", b".", b".."})
TARGETS: dict[str, Version] = {
    "cache": (2, 3, 0),
    "crypt": (1, 24, 0),
    "delay": (1, 3, 0),
    "era": (1, 0, 0),
    "error": (1, 5, 0),
    "linear": (1, 4, 0),
    "mirror": (1, 14, 0),
    "multipath": (1, 14, 0),
    "raid": (1, 15, 1),
    "snapshot": (1, 16, 0),
    "striped": (1, 6, 0),
    "thin": (1, 22, 0),
    "thin-pool": (1, 22, 0),
    "unstriped": (1, 1, 0),
    "verity": (1, 9, 0),
    "zero": (1, 1, 0),
}

DISK_WITH_TABLE_SINCE: Version = (4, 45, 0)
"""Before Linux 5.15 a device is a disk from the start, not from its first table on."""


class Machine:
    """The devices and the counter. Whoever calls holds `changed`.

    Attributes:
        version: of the interface.
        devices: all of them.
        events: the global counter.
        changed: the lock of it all, and told when an event number moves.
        targets: the target types and their versions.
        swap_gate: while it is clear, a resume that has put its table in place goes no further.
    """

    def __init__(self, version: Version) -> None:
        self.version = version
        self.devices = Devices()
        self.events = GlobalEvents()
        self.changed = threading.Condition(threading.RLock())
        self.targets = dict(TARGETS)
        self.swap_gate = threading.Event()
        self.swap_gate.set()
        self._interrupts = 0
        self._incarnations = 0

    def is_disk(self, device: FakeDevice) -> bool:
        """Say whether there is a block device that uevents can be about."""
        return device.diskseq is not None or self.version < DISK_WITH_TABLE_SINCE

    def create(self, name: bytes, uuid: bytes, minor: int | None) -> FakeDevice:
        """DEV_CREATE."""
        self._check_name(name)
        device = self.devices.create(name, uuid, minor)
        self.events.happen()
        return device

    def _check_name(self, name: bytes) -> None:
        if b"/" in name or (self.version >= RESERVED_SINCE and name in _RESERVED):
            refuse(errno.EINVAL)

    def remove(self, device: FakeDevice, *, deferred: bool) -> bool:
        """DEV_REMOVE; False where it has to wait for its users."""
        if device.open_count:
            if not deferred:
                refuse(errno.EBUSY)
            device.deferred_remove = True
            self.events.happen()
            return False
        self._destroy(device)
        self.events.happen()
        return True

    def _destroy(self, device: FakeDevice) -> None:
        self.devices.remove(device)
        device.suspended = True
        if device.live is not None:
            self.target_event(device)
        # a device without a table wakes nobody: its removal waits for them
        while device.live is None and device.waiters:
            self.changed.wait()

    def close(self, device: FakeDevice) -> None:
        """One user less; the last one takes a device along whose removal was deferred."""
        device.open_count -= 1
        if not device.open_count and device.deferred_remove:
            self._destroy(device)

    def rename(self, name: bytes, new: bytes, *, uuid: bool) -> FakeDevice:
        """DEV_RENAME. That the new name is taken is found before that the old one is not."""
        if not uuid:
            self._check_name(new)
        device = self.devices.named(name)
        taken = self.devices.find(b"", new, 0) if uuid else self.devices.named(new)
        if taken is not None:
            refuse(errno.EBUSY)
        if device is None:
            refuse(errno.ENXIO)
        if uuid:
            self.devices.set_uuid(device, new)
        else:
            self.devices.rename(device, new)
        if device.live is not None:
            self.target_event(device)
        self.events.happen()
        return device

    def load(self, device: FakeDevice, table: FakeTable) -> None:
        """TABLE_LOAD. The first one brings the block device to life."""
        end = 0
        for line in table.lines:
            if line.start != end or not line.length or line.type not in self.targets:
                refuse(errno.EINVAL)
            end += line.length
        if not table.lines:
            refuse(errno.EINVAL)
        device.staged = table
        if device.diskseq is None:
            self._incarnations += 1
            device.diskseq = self._incarnations

    def resume(self, device: FakeDevice) -> bool:
        """DEV_SUSPEND without SUSPEND; say whether it sent a uevent."""
        if device.staged is not None:
            device.suspended = True
            device.live, device.staged = device.staged, None
            device.read_only = device.live.read_only
            self.events.happen()
            # poll fires here already: who is quick finds the new table suspended
            while not self.swap_gate.is_set():
                self.changed.wait(0.005)
        if not device.suspended:
            return False
        if device.live is None:
            refuse(errno.EINVAL)
        device.suspended = False
        return True

    def target_event(self, device: FakeDevice) -> None:
        """A target reports something: the device's number and the global one move."""
        device.event_nr = (device.event_nr + 1) % EVENT_NR_SPAN
        self.changed.notify_all()
        self.events.happen()

    def wait(self, device: FakeDevice, event_nr: int) -> None:
        """DEV_WAIT, until the number differs or `interrupt` is called.

        Raises:
            OSError: EINTR.
        """
        interrupts = self._interrupts
        device.waiters += 1
        try:
            while device.event_nr == event_nr:
                self.changed.wait()
                if self._interrupts != interrupts:
                    refuse(errno.EINTR)
        finally:
            device.waiters -= 1
            self.changed.notify_all()

    def interrupt(self) -> None:
        """A signal for everybody who waits."""
        self._interrupts += 1
        self.changed.notify_all()

    def remove_all(self, *, deferred: bool) -> None:
        """REMOVE_ALL: what is open stays."""
        for device in self.devices:
            if not device.open_count:
                self._destroy(device)
            elif deferred:
                device.deferred_remove = True
        self.events.happen()


def dependencies(table: FakeTable) -> list[DeviceNumber]:
    """The device numbers that stand in a table's text, each once."""
    found = [word for line in table.lines for word in re.findall(r"\b\d+:\d+\b", line.table)]
    return [DeviceNumber.parse(word) for word in dict.fromkeys(found)]
