"""struct dm_ioctl, the header of every request and reply."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

from dmwatch.errors import InvalidValueError, ReplyError
from dmwatch.ioctl.abi import HEADER_SIZE, NAME_SIZE, NO_FLAGS, UUID_SIZE, Flags, Version
from dmwatch.names import NAME_MAX, UUID_MAX, DeviceId, DeviceName, DeviceNumber, DeviceUuid

_LAYOUT = struct.Struct(f"=3IIIIiIIIQ{NAME_SIZE}s{UUID_SIZE}s7s")


@dataclass(frozen=True, slots=True)
class Header:
    """The fields of struct dm_ioctl.

    Attributes:
        version: in: the lowest that has the command. Out: the kernel's own.
        data_size: in: of the whole buffer. Out: of what is valid in it.
        data_start: where the data begins.
        target_count: how many lines a table has.
        open_count: how often the device is open.
        flags: see Flags.
        event_nr: in: the event number to wait past, or cookie and udev flags. Out: the number now.
        dev: the device number in the kernel's encoding.
        name: without the NUL.
        uuid: without the NUL.
    """

    version: Version = (4, 0, 0)
    data_size: int = 0
    data_start: int = HEADER_SIZE
    target_count: int = 0
    open_count: int = 0
    flags: Flags = NO_FLAGS
    event_nr: int = 0
    dev: int = 0
    name: bytes = b""
    uuid: bytes = b""

    def pack(self) -> bytes:
        """The 312 bytes.

        Raises:
            InvalidValueError: where a field does not fit.
        """
        if len(self.name) > NAME_MAX or len(self.uuid) > UUID_MAX:
            raise InvalidValueError("a name has at most 127 bytes, a uuid at most 128")
        try:
            return _LAYOUT.pack(
                *self.version,
                self.data_size,
                self.data_start,
                self.target_count,
                self.open_count,
                int(self.flags),
                self.event_nr,
                0,
                self.dev,
                self.name,
                self.uuid,
                b"",
            )
        except struct.error as error:
            raise InvalidValueError(f"a field of the request does not fit: {error}") from None

    @classmethod
    def unpack(cls, buffer: bytes | bytearray | memoryview) -> Header:
        """Read a header.

        Raises:
            ReplyError: where there are fewer than 312 bytes, or a name without an end.
        """
        if len(buffer) < HEADER_SIZE:
            raise ReplyError(f"a reply has a header of {HEADER_SIZE} bytes, not {len(buffer)}")
        major, minor, patch, *numbers, name, uuid, _ = _LAYOUT.unpack_from(buffer)
        data_size, data_start, target_count, open_count, flags, event_nr, _, dev = numbers
        return cls(
            version=(major, minor, patch),
            data_size=data_size,
            data_start=data_start,
            target_count=target_count,
            open_count=open_count,
            flags=Flags(flags),
            event_nr=event_nr,
            dev=dev,
            name=terminated(name, "the device name"),
            uuid=terminated(uuid, "the device uuid"),
        )


def terminated(field: bytes, what: str) -> bytes:
    """Give a field up to its NUL.

    Raises:
        ReplyError: where it has none.
    """
    text, nul, _ = field.partition(b"\x00")
    if not nul:
        raise ReplyError(f"{what} in a reply has no end")
    return text


def addressed(header: Header, device: DeviceId) -> Header:
    """The header that finds a device: by exactly one of name, uuid and dev, else it is EINVAL."""
    match device:
        case DeviceName():
            return replace(header, name=device.to_kernel())
        case DeviceUuid():
            return replace(header, uuid=device.to_kernel())
        case DeviceNumber():
            return replace(header, dev=device.to_kernel())
