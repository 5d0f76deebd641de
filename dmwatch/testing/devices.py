"""What the fake kernel knows of its devices: values, and one place to find them by."""

from __future__ import annotations

import errno
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

from dmwatch.names import DeviceNumber
from dmwatch.testing.refusing import refuse

MAJOR = 253
MINORS = 1 << 20


@dataclass(slots=True)
class FakeLine:
    """A line of a table, in a target.

    Attributes:
        start: in sectors.
        length: in sectors.
        type: the target type.
        table: what the target answers to STATUS_TABLE.
        status: what it answers else; None where it writes nothing, as unstriped does.
    """

    start: int
    length: int
    type: str
    table: str = ""
    status: str | None = ""


@dataclass(slots=True)
class FakeTable:
    """A table.

    Attributes:
        lines: in order.
        read_only: it was loaded with READONLY.
    """

    lines: list[FakeLine] = field(default_factory=list)
    read_only: bool = False


@dataclass(slots=True, eq=False)
class FakeDevice:
    """A device. A test may change what it likes: nobody is told unless it says so.

    Attributes:
        name: as bytes, without the NUL.
        number: its device number.
        uuid: as bytes; b"" where it has none.
        event_nr: its event number.
        open_count: how often it is open.
        live: the table in place, or None.
        staged: the table that waits for a resume, or None.
        suspended: by a command.
        internally_suspended: by the kernel.
        read_only: as the block layer sees it.
        deferred_remove: it goes away with its last user.
        diskseq: its incarnation; None before its first table.
        geometry: what DEV_SET_GEOMETRY set last.
        waiters: how many DEV_WAIT are out on it.
        gone: it was removed; those who wait on it still hold it.
    """

    name: bytes
    number: DeviceNumber
    uuid: bytes = b""
    event_nr: int = 0
    open_count: int = 0
    live: FakeTable | None = None
    staged: FakeTable | None = None
    suspended: bool = False
    internally_suspended: bool = False
    read_only: bool = False
    deferred_remove: bool = False
    diskseq: int | None = None
    geometry: tuple[int, int, int, int] | None = None
    waiters: int = 0
    gone: bool = False


class Devices:
    """The devices, each found by name, uuid and number."""

    def __init__(self) -> None:
        self._by_name: dict[bytes, FakeDevice] = {}
        self._by_uuid: dict[bytes, FakeDevice] = {}
        self._by_minor: dict[int, FakeDevice] = {}

    def __iter__(self) -> Iterator[FakeDevice]:
        """In the order in which they were made."""
        return iter(list(self._by_name.values()))

    def __len__(self) -> int:
        return len(self._by_name)

    def named(self, name: bytes) -> FakeDevice | None:
        """The device of that name."""
        return self._by_name.get(name)

    def find(self, name: bytes, uuid: bytes, dev: int) -> FakeDevice | None:
        """The device that a request means: by exactly one of the three."""
        if uuid:
            return None if name or dev else self._by_uuid.get(uuid)
        if name:
            return None if dev else self._by_name.get(name)
        found = self._by_minor.get(DeviceNumber.from_kernel(dev & 0xFFFFFFFF).minor)
        return found if found and found.number.to_kernel() == dev else None

    def create(self, name: bytes, uuid: bytes, minor: int | None) -> FakeDevice:
        """Make a device; the lowest free minor number where none is asked for.

        Raises:
            OSError: ENXIO for a minor that is taken or too large, then EBUSY for a name or uuid.
        """
        if minor is not None and (minor in self._by_minor or not 0 <= minor < MINORS):
            refuse(errno.ENXIO)
        if name in self._by_name or (uuid and uuid in self._by_uuid):
            refuse(errno.EBUSY)
        if minor is None:
            minor = next(m for m in itertools.count() if m not in self._by_minor)
        device = FakeDevice(name, DeviceNumber(MAJOR, minor), uuid)
        self._by_name[name] = self._by_minor[minor] = device
        if uuid:
            self._by_uuid[uuid] = device
        return device

    def remove(self, device: FakeDevice) -> None:
        """Forget a device; its number is free at once."""
        del self._by_name[device.name], self._by_minor[device.number.minor]
        self._by_uuid.pop(device.uuid, None)
        device.gone = True

    def rename(self, device: FakeDevice, name: bytes) -> None:
        """Give a device another name.

        Raises:
            OSError: EBUSY where it is taken, also by the device itself.
        """
        if name in self._by_name:
            refuse(errno.EBUSY)
        del self._by_name[device.name]
        device.name = name
        self._by_name[name] = device

    def set_uuid(self, device: FakeDevice, uuid: bytes) -> None:
        """Give a device its uuid.

        Raises:
            OSError: EBUSY where it is taken, EINVAL where the device has one.
        """
        if uuid in self._by_uuid:
            refuse(errno.EBUSY)
        if device.uuid:
            refuse(errno.EINVAL)
        device.uuid = uuid
        self._by_uuid[uuid] = device
