"""The engine: a device that owns its table and the order of commands.

An object says what a device shall be; the kernel has what it is. The methods bring the second in
line with the first, each as one change (dmwatch.devices.change): all of its steps, or none.

How a subclass is made:

    class ZeroDevice(Device[ZeroTable]):
        def __init__(self, dm: DeviceMapper, name: str, size: Sectors, **options: Unpack[Options]):
            super().__init__(dm, name, **options)
            self.length = size

        def segments(self) -> tuple[Segment[ZeroTable], ...]:
            return (Segment(self.length, ZeroTable()),)

        def extend(self, by: Sectors) -> None:
            with self.change() as change:
                self.length += by       # put back if a step fails
                self.swap(change)       # load what `segments` says now, and put it in place

- `segments` alone is enough for create, setup, reload, suspend, resume, rename, statuses and
  teardown. It is computed from attributes each time. Lower devices are kept as `Below` (one of
  ours, a number, a path) and become part of a table by `word_of`; `size_of` gives their sizes.
- A method that changes something sets attributes and takes steps within `with self.change()`. Lower
  devices first: `self.data.extend(...)` inside joins the change; the top is swapped once, last.
- Messages: `change.message(self, Message(...), undo=Opposite(...))`. What must be undone otherwise:
  `change.otherwise(function)`. What the target does not take back: `change.settle(self.name)`.
- An order of its own: override `make` (what create does; setup too, where nothing is there), or
  `begin` (how its first table is put in place; what finishes a half-made one, too).
- Equality of its own: override `meaning`. Fields that setup shall bring in line instead of refusing
  stand in `adjustable`.
- `visibility` is PRIVATE for building blocks and PUBLIC for what file systems lie on; `swap_flags`
  go with a resume that swaps tables.
- A device that is taken apart differently overrides `teardown`. What only looks (statuses, waits)
  takes no steps and uses `self.dm` directly; `change.dry` says that nothing will be there to see.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import ClassVar, Generic, Self, TypedDict, TypeVar

from dmwatch.devices.carrying import PATIENCE
from dmwatch.devices.change import Change, changing, planning
from dmwatch.devices.known import Known
from dmwatch.devices.meaning import differences, lasting
from dmwatch.devices.segment import Segment, lines_of
from dmwatch.dm import DeviceInfo, DeviceMapper
from dmwatch.dm.udev import PRIVATE, Udev
from dmwatch.errors import (
    DeviceMismatchError,
    DeviceNotFoundError,
    DmwatchError,
    InvalidFlagsError,
)
from dmwatch.ioctl.abi import NO_FLAGS, Flags, UdevFlags
from dmwatch.names import DeviceName, DeviceNumber, DeviceUuid, printable
from dmwatch.table import TargetLine
from dmwatch.targets import TargetMessage, TargetStatus, TargetTable, find
from dmwatch.targets.words import Device as Word
from dmwatch.units import Sectors

T = TypeVar("T", bound=TargetTable)


class Options(TypedDict, total=False):
    """What every device takes by keyword.

    Attributes:
        uuid: see DeviceUuid; none by default.
        read_only: the device cannot be written.
        visibility: what udev's rules do about it: PRIVATE, PUBLIC or flags of your own.
        udev: how to wait for udev.
    """

    uuid: str | None
    read_only: bool
    visibility: UdevFlags | None
    udev: Udev | None


class Device(Generic[T]):
    """A device, its table and the order of commands. Use a subclass, or TableDevice for any table.

    Args:
        dm: where it lives.
        name: see DeviceName.
        uuid: see DeviceUuid.
        read_only: it cannot be written.
        visibility: see Options.
        udev: see Options.

    Attributes:
        dm: as above.
        name: as above; a rename changes it.
        uuid: as above.
        read_only: as above.
        visibility: as above.

    Raises:
        InvalidNameError: for a name or uuid that cannot be.
    """

    default_visibility: ClassVar[UdevFlags] = PRIVATE
    swap_flags: ClassVar[Flags] = NO_FLAGS
    adjustable: ClassVar[frozenset[str]] = frozenset()

    def __init__(
        self,
        dm: DeviceMapper,
        name: str,
        *,
        uuid: str | None = None,
        read_only: bool = False,
        visibility: UdevFlags | None = None,
        udev: Udev | None = None,
    ) -> None:
        self.dm = dm
        self.name: str = DeviceName(name)
        self.uuid: str | None = None if uuid is None else DeviceUuid(uuid)
        self.read_only = read_only
        self.visibility = self.default_visibility if visibility is None else visibility
        self._udev = udev or Udev()

    # What it shall be

    def segments(self) -> tuple[Segment[T], ...]:
        """The pieces that it shall have, in order. Every subclass says."""
        raise NotImplementedError

    def lines(self) -> tuple[TargetLine, ...]:
        """The table that it shall have.

        Raises:
            InvalidTableError: it breaks a rule of its target.
        """
        return lines_of(self.segments())

    @property
    def size(self) -> Sectors:
        """How large it shall be."""
        return sum((segment.length for segment in self.segments()), Sectors(0))

    @property
    def path(self) -> str:
        """Its link, which udev's rules make."""
        return f"/dev/mapper/{self.name}"

    def meaning(self, table: TargetTable) -> object:
        """What of a table counts when two are compared."""
        return lasting(table)

    # What the kernel has

    def exists(self) -> bool:
        """A device of this name is there, whatever it is."""
        try:
            self.dm.info(self.name)
        except DeviceNotFoundError:
            return False
        return True

    def info(self) -> DeviceInfo:
        """The kernel's record of it.

        Raises:
            DeviceNotFoundError: it is not there.
        """
        return self.dm.info(self.name)

    @property
    def number(self) -> DeviceNumber:
        """Its number.

        Raises:
            DeviceNotFoundError: it is not there.
        """
        return self.info().number

    @property
    def node(self) -> str:
        """Its node, which the kernel makes in devtmpfs: `/dev/dm-<minor>`.

        Raises:
            DeviceNotFoundError: it is not there.
        """
        return f"/dev/dm-{self.number.minor}"

    def word(self) -> Word:
        """What it is called in a table: its number; where it is only planned, its path.

        Raises:
            DeviceNotFoundError: it is not there.
        """
        change = planning()
        if change is not None and change.dry:
            known = change.look(self)
            return known.number if known and known.number else self.path
        return self.number

    def kernel_lines(self) -> tuple[TargetLine, ...]:
        """The table that is live in the kernel.

        Raises:
            DeviceNotFoundError: it is not there.
        """
        return tuple(self.dm.table(self.name, flags=Flags.SECURE_DATA))

    def statuses(self) -> tuple[TargetStatus, ...]:
        """What each line reports, typed. Nothing is flushed.

        Raises:
            DeviceNotFoundError: it is not there.
            StatusParseError: a status cannot be read.
            DmwatchError: its status cannot be asked for while it is suspended.
        """
        info = self.info()
        if info.suspended and any(
            find(segment.table.type).blocks_suspended for segment in self.segments()
        ):
            raise DmwatchError(
                f"the status of {printable(self.name)} cannot be asked for now",
                because="it is suspended, and its target would not answer before it is resumed",
                hint="resume it first",
            )
        answer = self.dm.table_status(self.name, flags=Flags.NOFLUSH)
        return tuple(find(line.type).status(line.text) for line in answer.lines)

    # Changes

    @contextmanager
    def change(self) -> Iterator[Change]:
        """A change of this device: its steps and the object's attributes, all or nothing.

        Within another change it is a part of that one.

        Raises:
            UdevTimeoutError: at the end; everything was done.
        """
        with changing(self._udev) as change:
            change.keep(self)
            yield change

    def create(self) -> Self:
        """Make it. A device of that name or uuid must not be there.

        Raises:
            DeviceBusyError: the name or the uuid is taken.
            InvalidTableError: its table breaks a rule.
            CommandError: the kernel refuses. Nothing is left behind.
        """
        with self.change() as change:
            self.make(change)
        return self

    def make(self, change: Change) -> None:
        """The steps of `create`: the table is checked first, the device comes to life last."""
        lines = self.lines()
        change.create(self)
        self._load(change, lines)
        self.begin(change)

    def begin(self, change: Change) -> None:
        """The step that puts its first table in place."""
        change.resume(self)

    def setup(self) -> Self:
        """Make it so: create, finish a half-made one, adopt an equal one, refuse a different one.

        Half-made is one without a table, or with this table loaded and not in place; one that is
        suspended is resumed. Equal is by meaning, by read_only, and by uuid where one is given.

        Raises:
            DeviceMismatchError: it is there and differs; the error says in which field.
            CommandError: the kernel refuses. What was there before is there still.
        """
        with self.change() as change:
            known = change.look(self)
            if known is None:
                self.make(change)
            else:
                self._adopt(change, known)
        return self

    def _adopt(self, change: Change, known: Known) -> None:
        if self.uuid is not None and known.uuid != self.uuid:
            raise self._mismatch("uuid", self.uuid, known.uuid or "none")
        lines = self.lines()
        table = known.live or known.staged
        loads = table is None or self._to_adjust(lines, table)
        self._refuse_other_mode(known)
        if loads:
            self._load(change, lines)
        elif known.live and known.staged:
            change.clear(self)  # left over from a reload that was cut short
        if known.live is None:
            self.begin(change)
        elif loads or known.suspended:
            change.resume(self, self.swap_flags)

    def _refuse_other_mode(self, known: Known) -> None:
        found = known.read_only if known.live else known.staged_read_only
        if (known.live or known.staged) and found != self.read_only:
            shown = {True: "yes", False: "no"}
            raise self._mismatch("read_only", shown[self.read_only], shown[found])

    def _mismatch(self, field: str, wanted: str, found: str) -> DeviceMismatchError:
        return DeviceMismatchError(printable(self.name), field, printable(wanted), printable(found))

    def _to_adjust(self, lines: tuple[TargetLine, ...], found: tuple[TargetLine, ...]) -> bool:
        """Whether fields are to be brought in line.

        Raises:
            DeviceMismatchError: for any other difference.
        """
        different = differences(lines, found, self.meaning)
        for field in different:
            if field.field not in self.adjustable:
                raise self._mismatch(field.field, field.wanted, field.found)
        return bool(different)

    def differs(self) -> list[str]:
        """The fields in which the kernel's live table differs from what it shall be.

        Raises:
            DeviceNotFoundError: it is not there.
        """
        found = differences(self.lines(), self.kernel_lines(), self.meaning)
        return [difference.field for difference in found]

    def reload(self) -> None:
        """Load the table that it shall have, and put it in place.

        A size that follows from a lower device, which may have grown, is taken anew.

        Raises:
            CommandError: the kernel refuses. It is as it was.
        """
        with self.change() as change:
            self.swap(change)

    def swap(self, change: Change, flags: Flags | None = None) -> None:
        """The steps of `reload`. Nothing is suspended before the new table is loaded."""
        self._load(change, self.lines())
        change.resume(self, self.swap_flags if flags is None else flags)

    def _load(self, change: Change, lines: tuple[TargetLine, ...]) -> None:
        change.load(self, lines, Flags.READONLY if self.read_only else NO_FLAGS)

    def suspend(self, flags: Flags = NO_FLAGS) -> None:
        """Hold its I/O back. Doing it twice does no harm.

        Args:
            flags: NOFLUSH: do not wait for what is under way in the target; SKIP_LOCKFS: do not
                freeze the file system.
        """
        if flags & ~(Flags.NOFLUSH | Flags.SKIP_LOCKFS):
            raise InvalidFlagsError(f"suspend takes NOFLUSH and SKIP_LOCKFS, not {flags!r}")
        with self.change() as change:
            change.suspend(self, flags)

    def resume(self) -> None:
        """Let its I/O run. Doing it twice does no harm."""
        with self.change() as change:
            change.resume(self)

    @contextmanager
    def suspended(self, flags: Flags = NO_FLAGS) -> Iterator[None]:
        """Hold its I/O back for the time of a block, whatever becomes of the block."""
        with self.change() as change, change.paused(self, flags):
            yield

    def send(self, message: TargetMessage, *, sector: Sectors | int = 0) -> str | None:
        """Send a message to its target; the reply, or None where there is none.

        Args:
            message: see dmwatch.targets.
            sector: where the target lies.

        Raises:
            InvalidMessageError: the target would refuse or misread it.
        """
        with self.change() as change:
            return change.message(self, message, sector=int(sector))

    def rename(self, name: str) -> None:
        """Give it another name; its own is no error.

        Raises:
            InvalidNameError: for a name that cannot be.
            DeviceBusyError: the name is taken.
        """
        new = DeviceName(name)
        if new == self.name:
            return
        with self.change() as change:
            change.rename(self, new)
            self.name = new

    def teardown(self, *, patience: float = PATIENCE) -> None:
        """Remove it. What lies below stays.

        Args:
            patience: seconds for which it is tried again while it is busy.

        Raises:
            DeviceBusyError: it is open: mounted, or another device lies on it.
            DeviceNotFoundError: it is not there.
        """
        with self.change() as change:
            change.remove(self, patience=patience)

    # With a block

    def __enter__(self) -> Self:
        """`with device.create():` or `with device.setup():` takes it down at the end."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.teardown()
            return
        try:
            self.teardown()
        except DmwatchError as failed:
            error.add_note(f"{printable(self.name)} could not be taken down: {failed}")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"
