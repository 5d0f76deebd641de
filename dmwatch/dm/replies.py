"""What the kernel answers, as values."""

from __future__ import annotations

from dataclasses import dataclass

from dmwatch.errors import InvalidValueError, ReplyError
from dmwatch.ioctl.abi import Flags, Version
from dmwatch.ioctl.header import Header
from dmwatch.names import DeviceName, DeviceNumber, DeviceUuid
from dmwatch.table import U64_MAX, TargetLine


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """The kernel's record of a device (struct dm_ioctl, as __dev_status fills it).

    Attributes:
        name: its name; after a rename the old one. None in answers that are about no device.
        uuid: its uuid, or None where it has none.
        number: its device number.
        open_count: how often it is open, by mounts, programs and other devices.
        event_nr: its event number: compare with `!=`, it wraps and starts anew when re-created.
        target_count: lines of its live table; 0 without one.
        flags: as the kernel set them, bits that dmwatch does not know included.
        version: of the kernel's interface.
    """

    name: DeviceName | None
    uuid: DeviceUuid | None
    number: DeviceNumber
    open_count: int
    event_nr: int
    target_count: int
    flags: Flags
    version: Version

    @classmethod
    def from_header(cls, header: Header) -> DeviceInfo:
        """Read it from a reply.

        Raises:
            ReplyError: for an impossible device number.
        """
        if header.dev >> 32:
            raise ReplyError(f"a reply names an impossible device: {header.dev:#x}")
        return cls(
            name=DeviceName.from_kernel(header.name) if header.name else None,
            uuid=DeviceUuid.from_kernel(header.uuid) if header.uuid else None,
            number=DeviceNumber.from_kernel(header.dev),
            open_count=header.open_count,
            event_nr=header.event_nr,
            target_count=header.target_count,
            flags=header.flags,
            version=header.version,
        )

    @property
    def suspended(self) -> bool:
        """Its I/O is held back by somebody's command."""
        return bool(self.flags & Flags.SUSPEND)

    @property
    def internally_suspended(self) -> bool:
        """Its I/O is held back by the kernel itself, as thins while their pool changes."""
        return bool(self.flags & Flags.INTERNAL_SUSPEND)

    @property
    def read_only(self) -> bool:
        """It cannot be written."""
        return bool(self.flags & Flags.READONLY)

    @property
    def has_table(self) -> bool:
        """A table is live."""
        return bool(self.flags & Flags.ACTIVE_PRESENT)

    @property
    def has_staged_table(self) -> bool:
        """A table is loaded and waits for a resume."""
        return bool(self.flags & Flags.INACTIVE_PRESENT)

    @property
    def deferred_remove(self) -> bool:
        """It goes away once nobody has it open."""
        return bool(self.flags & Flags.DEFERRED_REMOVE)

    @property
    def uevent_generated(self) -> bool:
        """A uevent was sent: udev's rules will complete a cookie."""
        return bool(self.flags & Flags.UEVENT_GENERATED)


@dataclass(frozen=True, slots=True)
class Removal:
    """The answer to a removal: the device's record is gone with the device.

    Attributes:
        flags: as the kernel set them.
    """

    flags: Flags

    @property
    def deferred_remove(self) -> bool:
        """It is open: it goes away once nobody has it open."""
        return bool(self.flags & Flags.DEFERRED_REMOVE)

    @property
    def uevent_generated(self) -> bool:
        """A uevent was sent: udev's rules will complete a cookie."""
        return bool(self.flags & Flags.UEVENT_GENERATED)


@dataclass(frozen=True, slots=True)
class TableStatus:
    """What the lines of a table report, or the table itself.

    Attributes:
        info: the device's record. Its event number was read before the targets were asked, so
            the text is at least that new.
        lines: one for each line of the table, in order; none where no table is live.
    """

    info: DeviceInfo
    lines: tuple[TargetLine, ...]


@dataclass(frozen=True, slots=True)
class MessageReply:
    """The answer to a message.

    Attributes:
        info: the device's record.
        text: what the target answered, or None where it answered nothing.
    """

    info: DeviceInfo
    text: str | None


@dataclass(frozen=True, slots=True)
class Geometry:
    """A disk's geometry as HDIO_GETGEO tells it.

    Attributes:
        cylinders: 0 to 65,535.
        heads: 0 to 255.
        sectors: for each track, 0 to 255.
        start: the device's first sector, in sectors of 512 bytes.
    """

    cylinders: int
    heads: int
    sectors: int
    start: int = 0

    def format(self) -> str:
        """The text for the kernel (dev_set_geometry).

        Raises:
            InvalidValueError: for a number out of range.
        """
        limits = {"cylinders": 65535, "heads": 255, "sectors": 255, "start": U64_MAX}
        for field, limit in limits.items():
            value = getattr(self, field)
            if not 0 <= value <= limit:
                raise InvalidValueError(f"a geometry's {field} must be 0 to {limit}, not {value}")
        return f"{self.cylinders} {self.heads} {self.sectors} {self.start}"
