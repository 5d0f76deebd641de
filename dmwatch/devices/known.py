"""What the kernel has of a device: one look at its record and both its tables."""

from __future__ import annotations

from dataclasses import dataclass, replace

from dmwatch.dm import DeviceMapper, TableStatus
from dmwatch.errors import DeviceNotFoundError
from dmwatch.ioctl.abi import NO_FLAGS, Flags
from dmwatch.names import DeviceNumber
from dmwatch.table import TargetLine

Lines = tuple[TargetLine, ...]


@dataclass(frozen=True, slots=True)
class Known:
    """A device as the kernel has it, or as a plan will make it.

    Attributes:
        name: its name.
        uuid: its uuid, or None.
        number: its number; None where it is only planned.
        live: the table in place, or None.
        staged: the table that waits for a resume, or None.
        suspended: its I/O is held back.
        read_only: it cannot be written.
        staged_read_only: it could not be once the staged table were in place.
    """

    name: str
    uuid: str | None = None
    number: DeviceNumber | None = None
    live: Lines | None = None
    staged: Lines | None = None
    suspended: bool = False
    read_only: bool = False
    staged_read_only: bool = False

    @property
    def flags(self) -> Flags:
        """For loading its live table again."""
        return Flags.READONLY if self.read_only else NO_FLAGS

    def resumed(self) -> Known:
        """As it is after a resume."""
        return replace(
            self,
            live=self.staged or self.live,
            staged=None,
            suspended=False,
            read_only=self.staged_read_only if self.staged else self.read_only,
            staged_read_only=False,
        )

    @property
    def staged_flags(self) -> Flags:
        """For loading its staged table again."""
        return Flags.READONLY if self.staged_read_only else NO_FLAGS


def look(dm: DeviceMapper, name: str) -> Known | None:
    """Look at a device; None where it is not there. It asks targets for their tables only."""
    try:
        answer = dm.table_status(name, flags=_TABLE)
        info = answer.info
        staged = _staged(dm, name) if info.has_staged_table else None
    except DeviceNotFoundError:
        return None
    return Known(
        name=name,
        uuid=info.uuid,
        number=info.number,
        live=answer.lines if info.has_table else None,
        staged=(staged and staged.lines) or None,
        suspended=info.suspended,
        read_only=info.read_only,
        staged_read_only=bool(staged and staged.info.read_only),
    )


def _staged(dm: DeviceMapper, name: str) -> TableStatus:
    return dm.table_status(name, flags=_TABLE | Flags.QUERY_INACTIVE_TABLE)


# tables can hold keys
_TABLE = Flags.STATUS_TABLE | Flags.SECURE_DATA | Flags.NOFLUSH
