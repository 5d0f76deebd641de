"""What the watcher remembers of a device between two looks."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

from dmwatch.events import DeviceRef
from dmwatch.ioctl.payload import ListedDevice
from dmwatch.names import DeviceName, DeviceNumber, DeviceUuid, label
from dmwatch.table import TargetLine

Lines = tuple[TargetLine, ...]
EVENT_NR_SPAN = 1 << 32


@dataclass(slots=True)
class Known:
    """A device as it was last seen.

    Attributes:
        number: its device number.
        name: its name.
        uuid: its uuid, or None where it has none or was not asked yet.
        event_nr: the one that came with `lines`, or the list's where nothing was read.
        diskseq: the incarnation of its number, or None where it cannot be told.
        lines: what its targets reported, () without a live table, None where it was not read.
        fresh_until: the loop's time until which its first table is waited for; None once it
            was told.
    """

    number: DeviceNumber
    name: DeviceName
    uuid: DeviceUuid | None
    event_nr: int
    diskseq: int | None = None
    lines: Lines | None = None
    fresh_until: float | None = None

    @classmethod
    def listed(cls, device: ListedDevice) -> Known:
        """A device that a list shows and nothing else is known of."""
        return cls(device.number, device.name, device.uuid, device.event_nr)

    @property
    def ref(self) -> DeviceRef:
        """How events name it."""
        return DeviceRef.of(self.name, self.uuid, self.number, self.diskseq)

    @property
    def types(self) -> set[str]:
        """The target types of its live table as last seen."""
        return {line.type for line in self.lines or ()}

    def matches(self, patterns: tuple[str, ...], *names: str) -> bool:
        """Say whether it (or one of `names`) is meant by one of the shell globs. None means all."""
        called = (self.name, label(self.name, self.uuid), str(self.number), *names)
        return not patterns or any(fnmatchcase(c, p) for c in called for p in patterns)

    def events_since(self, event_nr: int) -> int:
        """How many events lie between `event_nr` and the one seen last; the counter wraps."""
        return (self.event_nr - event_nr) % EVENT_NR_SPAN


def plain_lines(lines: Lines | None) -> list[dict[str, object]] | None:
    """The lines as an event carries them."""
    if lines is None:
        return None
    return [
        {"start": line.start, "length": line.length, "type": line.type, "status": line.text}
        for line in lines
    ]


def plain_table(lines: Lines | None) -> list[dict[str, object]]:
    """The shape of a table as an event carries it: types and sizes, never text."""
    return [{"start": line.start, "length": line.length, "type": line.type} for line in lines or ()]
