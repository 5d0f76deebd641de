"""Reading a device that somebody else made, so that it can be one of ours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from dmwatch.devices.meaning import typed
from dmwatch.dm import DeviceMapper
from dmwatch.errors import DeviceMismatchError
from dmwatch.ioctl.abi import Flags
from dmwatch.targets import TargetTable
from dmwatch.units import Sectors

T = TypeVar("T", bound=TargetTable)
_TABLE = Flags.STATUS_TABLE | Flags.SECURE_DATA | Flags.NOFLUSH


@dataclass(frozen=True, slots=True)
class Found(Generic[T]):
    """A device of one line, as the kernel has it.

    Attributes:
        length: of the line.
        table: of the line, devices by number.
        uuid: of the device, or None.
        read_only: it cannot be written.
    """

    length: Sectors
    table: T
    uuid: str | None
    read_only: bool


def read_device(dm: DeviceMapper, name: str, kind: type[T]) -> Found[T]:
    """Read a device whose live table is one line of a target.

    Args:
        dm: where it lives.
        name: of the device.
        kind: the target's table.

    Raises:
        DeviceNotFoundError: there is no such device.
        DeviceMismatchError: its table is another one.
        TableParseError: its table cannot be read.
    """
    answer = dm.table_status(name, flags=_TABLE)
    types = [line.type for line in answer.lines]
    if types != [kind.type]:
        raise DeviceMismatchError(name, "type", kind.type, ", ".join(types) or "no table")
    (line,) = answer.lines
    table = typed(line)
    assert isinstance(table, kind)  # noqa: S101 - the type of the line says so
    return Found(Sectors(line.length), table, answer.info.uuid, answer.info.read_only)
