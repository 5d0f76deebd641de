"""Reading one device on a worker thread: its record, what its targets report, its table.

NOFLUSH always: without it thin-pool, cache and clone commit metadata. A target that blocks while
suspended (era) is not asked then. The table of a device with a segment that can carry a key is
never asked for, and neither is that of an unknown target.
"""

from __future__ import annotations

from dataclasses import dataclass

from dmwatch.dm import DeviceInfo, DeviceMapper
from dmwatch.ioctl.abi import Flags
from dmwatch.names import DeviceNumber
from dmwatch.table import TargetLine
from dmwatch.targets import find

Lines = tuple[TargetLine, ...]
_TRIES = 3


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be read.

    Attributes:
        status: what the targets report; else only the device's record.
        table: the table too, where it may be asked for.
        types: the target types of the table last seen, empty where none was.
    """

    status: bool = True
    table: bool = False
    types: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Raw:
    """What was read.

    Attributes:
        info: the device's record; of the status call where there was one.
        lines: what each target reports; None where that was not asked.
        tables: the table's text for each of these lines; None where that was not asked.
        deps: the devices below, where the table was read and a target lives in a pool.
    """

    info: DeviceInfo
    lines: Lines | None = None
    tables: Lines | None = None
    deps: frozenset[DeviceNumber] | None = None


def read(dm: DeviceMapper, number: DeviceNumber, wish: Wish) -> Raw:
    """Read a device. It may block for ever: call it on a worker.

    Raises:
        CommandError: DeviceNotFoundError where it is gone.
        ReplyError: the kernel's answer does not hold together.
    """
    info = dm.info(number)
    if not wish.status or (info.suspended and _may_block(wish.types)):
        return Raw(info)
    for _ in range(_TRIES):
        found = dm.table_status(number, flags=Flags.NOFLUSH)
        tables = _tables(dm, number, found.lines, wish)
        if tables is None or _shape(tables) == _shape(found.lines):
            break
    else:
        # the table is being swapped right now; its uevent or the next poll brings it back here
        tables = None
    return Raw(found.info, found.lines, tables, _deps(dm, number, found.lines, wish))


def _may_block(types: frozenset[str]) -> bool:
    # of a table never seen it is not known whether such a target is in it
    return not types or any(find(kind).blocks_suspended for kind in types)


def _tables(dm: DeviceMapper, number: DeviceNumber, lines: Lines, wish: Wish) -> Lines | None:
    targets = [find(line.type) for line in lines]
    wanted = wish.table or any(target.wants_table for target in targets)
    if not wanted or any(target.keyed for target in targets):
        return None
    return tuple(dm.table(number, flags=Flags.NOFLUSH))


def _deps(
    dm: DeviceMapper, number: DeviceNumber, lines: Lines, wish: Wish
) -> frozenset[DeviceNumber] | None:
    if not wish.table or not any(find(line.type).pooled for line in lines):
        return None
    return frozenset(dm.deps(number))


def _shape(lines: Lines) -> list[tuple[int, int, str]]:
    return [(line.start, line.length, line.type) for line in lines]
