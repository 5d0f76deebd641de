"""RaidDevice: several devices that make up for the loss of one (md's personalities)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Self, Unpack

from dmwatch.devices.adopting import read_device
from dmwatch.devices.below import Below, size_of, word_of
from dmwatch.devices.device import Device, Options
from dmwatch.devices.lower import blank
from dmwatch.devices.segment import Segment
from dmwatch.devices.waiting import wait_until
from dmwatch.dm import DeviceMapper
from dmwatch.errors import DmwatchError, InvalidValueError
from dmwatch.ioctl.abi import Flags
from dmwatch.targets import TargetMessage, TargetTable, find
from dmwatch.targets.raid import (
    Check,
    RaidLeg,
    RaidMember,
    RaidOption,
    RaidStatus,
    RaidTable,
    RaidType,
    RaidWorking,
    Repair,
)
from dmwatch.targets.words import Device as Word
from dmwatch.units import Sectors

_NO_CHUNK = Sectors(0)


@dataclass(frozen=True, slots=True)
class Leg:
    """A member of a set.

    Attributes:
        data: holds its share of the data; None where it is missing.
        metadata: holds its superblock and bitmap, a few MiB; None: the set remembers nothing.
    """

    data: Below | None
    metadata: Below | None = None

    def member(self) -> RaidMember:
        """What it is called in a table."""
        metadata = None if self.metadata is None else word_of(self.metadata)
        return RaidMember(metadata, None if self.data is None else word_of(self.data))

    def words(self) -> list[Word]:
        """What its devices are called in a table."""
        return [word_of(device) for device in (self.data, self.metadata) if device is not None]


class RaidDevice(Device[RaidTable]):
    """Several devices that make up for the loss of one.

    Blank metadata devices become a new set, which is then synced; those of a set that was taken
    down are set up as they were.

    Args:
        dm: where it lives.
        name: see DeviceName.
        kind: level and layout.
        legs: its members, in order.
        chunk: see RaidTable; raid1 has none.
        length: how large it is; None: as much as the smallest leg allows.
        features: see RaidTable.options, without rebuild.
        options: see Options.

    Attributes:
        kind: as above.
        legs: as above.
        chunk: as above.
        length: as above.
        features: as above.
    """

    def __init__(
        self,
        dm: DeviceMapper,
        name: str,
        kind: RaidType,
        legs: Iterable[Leg],
        *,
        chunk: Sectors = _NO_CHUNK,
        length: Sectors | None = None,
        features: Iterable[RaidOption] = (),
        **options: Unpack[Options],
    ) -> None:
        super().__init__(dm, name, **options)
        self.kind = kind
        self.legs = tuple(legs)
        self.chunk = chunk
        self.length = length
        self.features = tuple(features)
        self._rebuilding: tuple[int, ...] = ()

    @classmethod
    def found(cls, dm: DeviceMapper, name: str) -> Self:
        """One that is there already, whoever made it.

        Raises:
            DeviceNotFoundError: there is no such device.
            DeviceMismatchError: it is none of raid.
        """
        found = read_device(dm, name, RaidTable)
        table = found.table
        return cls(
            dm,
            name,
            table.raid_type,
            [Leg(member.data, member.metadata) for member in table.members],
            chunk=table.chunk,
            length=found.length,
            features=[option for option in table.options if option.name != "rebuild"],
            uuid=found.uuid,
            read_only=found.read_only,
        )

    def segments(self) -> tuple[Segment[RaidTable], ...]:
        """One, over all legs.

        Raises:
            InvalidTableError: there are too few legs, or another rule is broken.
        """
        rebuilds = tuple(RaidOption("rebuild", leg) for leg in self._rebuilding)
        members = tuple(leg.member() for leg in self.legs)
        table = RaidTable(self.kind, self.chunk, members, (*rebuilds, *self.features))
        table.check()  # else there could be nothing to divide by
        return (Segment(self._whole() if self.length is None else self.length, table),)

    def _whole(self) -> Sectors:
        sizes = [size_of(leg.data) for leg in self.legs if leg.data is not None]
        each = min(sizes, default=Sectors(0))
        if self.chunk:
            each -= each % self.chunk
        copies = self._copies()
        return each * (len(self.legs) - self.kind.parity) // copies

    def _copies(self) -> int:
        if self.kind.level == 1:
            return len(self.legs)
        said = (o.value for o in self.features if o.name == "raid10_copies")
        copies = next(said, 2) if self.kind.level == 10 else 1
        return copies if isinstance(copies, int) else 2

    def meaning(self, table: TargetTable) -> object:
        """Level, members and chunk; the kernel says the rest in its own way."""
        if not isinstance(table, RaidTable):
            return super().meaning(table)
        chunk = _NO_CHUNK if table.raid_type.level == 1 else table.chunk
        kind = RaidType.RAID10 if table.raid_type is RaidType.RAID10_NEAR else table.raid_type
        return replace(table, raid_type=kind, chunk=chunk, options=())

    def status(self) -> RaidStatus:
        """How its legs stand, and what is being done. Raises as `statuses`."""
        (found,) = self.statuses()
        assert isinstance(found, RaidStatus)  # noqa: S101 - its module gives no other
        return found

    # Legs

    def blank(self) -> Self:
        """Make its metadata devices blank: `create` makes a new set of them. It must not be there.

        Raises:
            InvalidValueError: it is there.
            OSError: one cannot be written.
        """
        if self.exists():
            raise InvalidValueError(f"{self.name} is there: its metadata is in use")
        for leg in self.legs:
            if leg.metadata is not None:
                blank(leg.metadata)
        return self

    def replace_leg(self, index: int, leg: Leg) -> None:
        """Put another leg in a leg's place; its data is made anew from the others.

        The start of its metadata device is overwritten. See `wait_synced` for the end of it.

        Args:
            index: of the leg, from 0.
            leg: the new one, as large as the old one.

        Raises:
            InvalidValueError: there is no such leg, none can be made from the others, or the new
                one is too small or in another leg already.
            CommandError: the kernel refuses. The set is as it was.
        """
        self._check_leg(index, leg)
        with self.change() as change:
            if leg.metadata is not None and not change.dry:
                blank(leg.metadata)
            self.legs = (*self.legs[:index], leg, *self.legs[index + 1 :])
            self._rebuilding = (index,) if leg.data is not None else ()
            self.swap(change)
            # said once: in the next table it would begin again
            self._rebuilding = ()

    def _check_leg(self, index: int, leg: Leg) -> None:
        if not 0 <= index < len(self.legs):
            raise InvalidValueError(f"{self.name} has legs 0 to {len(self.legs) - 1}, not {index}")
        if not self.kind.level:
            raise InvalidValueError("raid0 has no copy to make a leg from")
        self._refuse_member(index, leg)
        # the kernel would take a smaller one
        share = self.size * self._copies() // (len(self.legs) - self.kind.parity)
        if leg.data is not None and size_of(leg.data) < share:
            raise InvalidValueError(
                f"the new leg of {self.name} is too small: {size_of(leg.data)}, not {share}"
            )

    def _refuse_member(self, index: int, leg: Leg) -> None:
        """What another leg uses is not made blank."""
        others = (each for i, each in enumerate(self.legs) if i != index)
        used = {word for other in others for word in other.words()}
        for word in used.intersection(leg.words()):
            raise InvalidValueError(f"the new leg of {self.name} is in another leg already: {word}")

    def wait_synced(self, *, timeout: float = 3600.0) -> None:
        """Wait until every leg is in sync.

        Args:
            timeout: seconds.

        Raises:
            DmwatchError: time is up, or a leg has failed.
        """
        looks = _Looks(self._look)
        what = f"the sync of {self.name}"
        wait_until(lambda: looks.settled(self._is_synced), what, timeout, because="it is large")

    def _is_synced(self, seen: _Seen) -> bool:
        status = seen.status
        bad = [str(i) for i, leg in enumerate(status.legs) if leg is RaidLeg.FAILED]
        if bad:
            raise DmwatchError(
                f"{self.name} cannot be synced: leg {', '.join(bad)} has failed",
                because="its device had errors",
                hint="replace it: replace_leg()",
            )
        return not seen.runs and status.synced and RaidLeg.OUT_OF_SYNC not in status.legs

    # Checking

    def start_check(self) -> None:
        """Begin to compare the copies, or the parity with the data.

        Raises:
            DeviceBusyError: it is being synced.
        """
        with self.change() as change:
            change.message(self, Check())

    def check(self, *, timeout: float = 3600.0) -> int:
        """Compare the copies, or the parity with the data, to the end.

        Args:
            timeout: seconds to wait.

        Returns:
            sectors that differ.

        Raises:
            DeviceBusyError: it is being synced.
            DmwatchError: time is up. It goes on.
        """
        found = self._carry_out(Check(), timeout)
        return (found.mismatches or 0) if found else 0

    def repair(self, *, timeout: float = 3600.0) -> None:
        """As `check`, and write anew what differs; the kernel does not say how much that was."""
        self._carry_out(Repair(), timeout)

    def _carry_out(self, message: TargetMessage, timeout: float) -> RaidWorking | None:
        """Say it, and wait until it is done; None in a plan."""
        with self.change() as change:
            before = 0 if change.dry else self.info().event_nr
            change.message(self, message)
            if change.dry:
                return None
        looks = _Looks(self._look)
        began = False

        def ended(seen: _Seen) -> bool:
            # it begins in its own time; when it ends there is an event
            nonlocal began
            began = began or seen.runs or seen.event_nr != before
            return began and not seen.runs

        what = f"the end of the {message.format()} of {self.name}"
        wait_until(lambda: looks.settled(ended), what, timeout, because="it is large")
        return looks.last.status if looks.last else None

    def _look(self) -> _Seen:
        answer = self.dm.table_status(self.name, flags=Flags.NOFLUSH)
        (line,) = answer.lines
        status = find(line.type).status(line.text)
        if not isinstance(status, RaidWorking):
            raise DmwatchError(
                f"{self.name} does not tell how it stands",
                because="its layout has no name in the kernel (a reshape is under way)",
            )
        return _Seen(answer.info.event_nr, status)


@dataclass(frozen=True, slots=True)
class _Seen:
    """One look at a set."""

    event_nr: int
    status: RaidWorking

    @property
    def runs(self) -> bool:
        """Something is being synced, checked or repaired."""
        return self.status.action is not None and self.status.action.runs


class _Looks:
    """Looks at a set. It says for a moment what is not so: two that are alike count."""

    def __init__(self, look: Callable[[], _Seen]) -> None:
        self._look = look
        self.last: _Seen | None = None

    def settled(self, true: Callable[[_Seen], bool]) -> bool:
        """Look again; whether it is true and was so before."""
        before, self.last = self.last, self._look()
        return true(self.last) and self.last == before
