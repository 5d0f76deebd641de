"""The numbers of the interface (include/uapi/linux/dm-ioctl.h) and what each command takes.

Little of this can be probed: a flag that a command does not take is ignored by the kernel without a
word. So what is taken stands here, read from drivers/md/dm-ioctl.c, and the rest is refused.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import Enum, IntFlag, unique

HEADER_SIZE = 312
"""sizeof(struct dm_ioctl): where the data of a request begins."""
DATA_OFFSET = 305
"""offsetof(struct dm_ioctl, data): the data_size of a reply that has no data."""
BUFFER_MAX = 1 << 30
"""The largest request the kernel takes (DM_MAX_TARGETS * DM_MAX_TARGET_PARAMS)."""
CONTROL_NODE = "/dev/mapper/control"
IOCTL_TYPE = 0xFD
NAME_SIZE, UUID_SIZE, TYPE_SIZE = 128, 129, 16

Version = tuple[int, int, int]
LIST_EVENTS_VERSION: Version = (4, 37, 0)
"""From here on LIST_DEVICES carries event numbers at their final offset, and poll(2) works."""
LIST_UUID_VERSION: Version = (4, 45, 0)
"""From here on LIST_DEVICES carries uuids where they are asked for, and filters by prefix."""
IMA_VERSION: Version = (4, 45, 0)
"""No kernel before this one knows IMA_MEASUREMENT (it came without a version of its own)."""


@unique
class Flags(IntFlag):
    """Flags of struct dm_ioctl. Bits of later kernels are kept."""

    READONLY = 1 << 0
    """In: TABLE_LOAD. Out: the device is read-only."""
    SUSPEND = 1 << 1
    """In: DEV_SUSPEND (without it, that command resumes). Out: the device is suspended."""
    PERSISTENT_DEV = 1 << 3
    """In: DEV_CREATE, with a chosen minor number."""
    STATUS_TABLE = 1 << 4
    """In: TABLE_STATUS and DEV_WAIT give the table instead of the status."""
    ACTIVE_PRESENT = 1 << 5
    """Out: a table is live."""
    INACTIVE_PRESENT = 1 << 6
    """Out: a table is loaded and waits for a resume."""
    BUFFER_FULL = 1 << 8
    """Out: the reply did not fit."""
    SKIP_BDGET = 1 << 9
    """Obsolete."""
    SKIP_LOCKFS = 1 << 10
    """In: DEV_SUSPEND does not freeze the file system."""
    NOFLUSH = 1 << 11
    """In: DEV_SUSPEND does not flush; TABLE_STATUS and DEV_WAIT do not commit metadata."""
    QUERY_INACTIVE_TABLE = 1 << 12
    """In: the question is about the table that waits."""
    UEVENT_GENERATED = 1 << 13
    """Out: a uevent was sent."""
    UUID = 1 << 14
    """In: DEV_RENAME sets the uuid; LIST_DEVICES gives uuids."""
    SECURE_DATA = 1 << 15
    """In: the kernel wipes its own copy of the buffer and clears ours first."""
    DATA_OUT = 1 << 16
    """Out: a message has a reply."""
    DEFERRED_REMOVE = 1 << 17
    """In: DEV_REMOVE and REMOVE_ALL, once nobody has it open. Out: that is pending."""
    INTERNAL_SUSPEND = 1 << 18
    """Out: suspended by the kernel itself."""
    IMA_MEASUREMENT = 1 << 19
    """In: TABLE_STATUS and DEV_WAIT give what is measured for integrity."""


class UdevFlags(IntFlag):
    """What udev's rules shall do about this change; upper half of the cookie."""

    DISABLE_DM_RULES = 0x0001
    DISABLE_SUBSYSTEM_RULES = 0x0002
    DISABLE_DISK_RULES = 0x0004
    DISABLE_OTHER_RULES = 0x0008
    LOW_PRIORITY = 0x0010
    DISABLE_LIBRARY_FALLBACK = 0x0020
    PRIMARY_SOURCE = 0x0040
    SUBSYSTEM_0 = 0x0100
    SUBSYSTEM_1 = 0x0200
    SUBSYSTEM_2 = 0x0400
    SUBSYSTEM_3 = 0x0800
    SUBSYSTEM_4 = 0x1000
    SUBSYSTEM_5 = 0x2000
    SUBSYSTEM_6 = 0x4000
    SUBSYSTEM_7 = 0x8000


NO_FLAGS = Flags(0)
NO_UDEV_FLAGS = UdevFlags(0)
_STATUS_FLAGS = (
    Flags.STATUS_TABLE
    | Flags.NOFLUSH
    | Flags.QUERY_INACTIVE_TABLE
    | Flags.SECURE_DATA
    | Flags.IMA_MEASUREMENT
)


@dataclass(frozen=True, slots=True)
class CommandSpec:
    """What is fixed about a command.

    Attributes:
        number: of the ioctl.
        version: the lowest interface version that has it. A request carries this one, as a
            kernel refuses any version newer than its own.
        flags: those it takes.
        grows: its reply may outgrow the buffer, and asking again does no harm.
        repeatable: it may be sent again after a signal interrupted it.
    """

    number: int
    version: Version = (4, 0, 0)
    flags: Flags = NO_FLAGS
    grows: bool = False
    repeatable: bool = True


class Command(Enum):
    """The commands of the control node."""

    VERSION = CommandSpec(0)
    REMOVE_ALL = CommandSpec(1, flags=Flags.DEFERRED_REMOVE)
    LIST_DEVICES = CommandSpec(2, flags=Flags.UUID, grows=True)
    DEV_CREATE = CommandSpec(3, flags=Flags.PERSISTENT_DEV)
    DEV_REMOVE = CommandSpec(4, flags=Flags.DEFERRED_REMOVE)
    DEV_RENAME = CommandSpec(5, flags=Flags.UUID)
    DEV_SUSPEND = CommandSpec(6, flags=Flags.SUSPEND | Flags.NOFLUSH | Flags.SKIP_LOCKFS)
    DEV_STATUS = CommandSpec(7, flags=Flags.QUERY_INACTIVE_TABLE)
    DEV_WAIT = CommandSpec(8, flags=_STATUS_FLAGS, grows=True)
    TABLE_LOAD = CommandSpec(9, flags=Flags.READONLY | Flags.SECURE_DATA)
    TABLE_CLEAR = CommandSpec(10)
    TABLE_DEPS = CommandSpec(11, flags=Flags.QUERY_INACTIVE_TABLE, grows=True)
    TABLE_STATUS = CommandSpec(12, flags=_STATUS_FLAGS, grows=True)
    LIST_VERSIONS = CommandSpec(13, (4, 1, 0), grows=True)
    TARGET_MSG = CommandSpec(14, (4, 2, 0), Flags.SECURE_DATA, repeatable=False)
    DEV_SET_GEOMETRY = CommandSpec(15, (4, 6, 0))
    # libdm says 4.36, but a kernel of that version exists without it
    DEV_ARM_POLL = CommandSpec(16, (4, 37, 0))
    GET_TARGET_VERSION = CommandSpec(17, (4, 41, 0), grows=True)

    @property
    def request(self) -> int:
        """The number for ioctl(2): _IOWR(0xfd, number, struct dm_ioctl)."""
        return _IOC_READ_WRITE << 30 | HEADER_SIZE << 16 | IOCTL_TYPE << 8 | self.value.number


_IOC_READ_WRITE = 3


def aligned(size: int) -> int:
    """Round up to a multiple of 8, as every record of the interface is."""
    return (size + 7) & ~7


TARGET_SPEC = struct.Struct("=QQiI16s")
"""struct dm_target_spec: start, length, status, next, type."""
NAME_LIST = struct.Struct("=QI")
"""The fixed head of struct dm_name_list: dev, next; the name follows at once."""
NAME_LIST_TAIL = struct.Struct("=II")
"""After the name, aligned: event number, flags (1 uuid follows, 2 has none, 0 not asked)."""
DEPS = struct.Struct("=II")
"""The head of struct dm_target_deps: count, padding; that many u64 follow."""
TARGET_VERSIONS = struct.Struct("=I3I")
"""The head of struct dm_target_versions: next, version; the name follows at once."""
TARGET_MSG = struct.Struct("=Q")
"""The head of struct dm_target_msg: sector; the text follows at once."""
