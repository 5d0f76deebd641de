"""The kernel's own copy of a request, which becomes the reply (drivers/md/dm-ioctl.c: copy_params).

Written apart from dmwatch.ioctl.header, so that a slip in one of the two shows.
"""

from __future__ import annotations

import errno
import struct
from dataclasses import dataclass

from dmwatch.ioctl.abi import BUFFER_MAX, Flags, Version, aligned
from dmwatch.names import DeviceNumber
from dmwatch.testing.refusing import refuse

_FIELDS = struct.Struct("=IIIIIIiIIIQ128s129s")
MINIMUM = 305
DATA = 312
_CLEARED = Flags.BUFFER_FULL | Flags.UEVENT_GENERATED | Flags.SECURE_DATA | Flags.DATA_OUT


@dataclass(slots=True)
class Params:
    """A request in the kernel's hands.

    Attributes:
        memory: the whole of it, header included.
        version: of the request, then the kernel's.
        data_size: of the request, then of the reply.
        data_start: where the data begins.
        target_count: as in struct dm_ioctl.
        open_count: as in struct dm_ioctl.
        flags: as in struct dm_ioctl.
        event_nr: as in struct dm_ioctl.
        dev: as in struct dm_ioctl.
        name: up to its NUL.
        uuid: up to its NUL.
    """

    memory: bytearray
    version: Version
    data_size: int
    data_start: int
    target_count: int
    open_count: int
    flags: Flags
    event_nr: int
    dev: int
    name: bytes
    uuid: bytes

    @classmethod
    def copied(cls, buffer: bytearray, *, header_only: bool) -> Params:
        """Copy a request from user memory, and wipe that where it asks for it.

        Raises:
            OSError: EINVAL for an impossible size, EFAULT for memory that is not there.
        """
        *version, size, start, targets, opens, flags, event_nr, _, dev, name, uuid = (
            _FIELDS.unpack_from(buffer)
        )
        if not MINIMUM <= size <= BUFFER_MAX:
            refuse(errno.EINVAL)
        if header_only:
            size = MINIMUM
        if size > len(buffer):
            refuse(errno.EFAULT)
        memory = bytearray(buffer[:size])
        if flags & Flags.SECURE_DATA:
            buffer[:size] = bytes(size)
        return cls(
            memory,
            (version[0], version[1], version[2]),
            size,
            start,
            targets,
            opens,
            Flags(flags) & ~_CLEARED,
            event_nr,
            dev,
            name[:127].partition(b"\x00")[0],
            uuid[:128].partition(b"\x00")[0],
        )

    def copy_back(self, buffer: bytearray) -> None:
        """Give the reply to user memory: as much of it as data_size says."""
        fields = _FIELDS.pack(
            *self.version,
            self.data_size,
            self.data_start,
            self.target_count,
            self.open_count,
            self.flags,
            self.event_nr,
            0,
            self.dev,
            self.name,
            self.uuid,
        )
        self.memory[:MINIMUM] = fields
        buffer[: self.data_size] = self.memory[: self.data_size]

    @property
    def number(self) -> DeviceNumber:
        """The device number in it."""
        return DeviceNumber.from_kernel(self.dev & 0xFFFFFFFF)

    @property
    def room(self) -> int:
        """How many bytes of result there is room for."""
        return max(len(self.memory) - DATA, 0)

    def string(self, extra: int = 0) -> bytes:
        """The string at data_start, or `extra` bytes after it.

        Raises:
            OSError: EINVAL where it begins outside the data or has no end.
        """
        start = self.data_start + extra
        end = self.memory.find(b"\x00", start)
        if self.data_start < MINIMUM or end < 0:
            refuse(errno.EINVAL)
        return bytes(self.memory[start:end])

    def result(self, needed: int) -> bool:
        """Say whether a result fits; else the reply says that it does not, and has none."""
        self.data_start = DATA
        if needed > self.room:
            self.flags |= Flags.BUFFER_FULL
            return False
        self.data_size = DATA + needed
        return True

    def put(self, offset: int, raw: bytes) -> int:
        """Write a part of the result; what lies between two parts keeps its bytes.

        Returns:
            where the next part begins, aligned.
        """
        self.memory[DATA + offset : DATA + offset + len(raw)] = raw
        return aligned(offset + len(raw))
