"""The text of mirror: its table and its status."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from dmwatch.errors import StatusParseError, TableParseError
from dmwatch.table import TargetLine
from dmwatch.targets.base import TargetStatus, TargetTable
from dmwatch.targets.mirror.logs import TYPE, CoreLog, DiskLog, MirrorLog, parse_log
from dmwatch.targets.words import (
    U32_MAX,
    Device,
    Words,
    check_range,
    check_word,
    parse_device,
    require,
)
from dmwatch.units import Sectors

LEGS_MIN, LEGS_MAX = 2, 9
HANDLE_ERRORS, KEEP_LOG = "handle_errors", "keep_log"


@dataclass(frozen=True, slots=True)
class MirrorLeg:
    """One of the devices.

    Attributes:
        device: which.
        start: the first sector there.
    """

    device: Device
    start: Sectors


@dataclass(frozen=True, slots=True)
class MirrorTable(TargetTable):
    """What it covers.

    Attributes:
        log: what keeps track of the regions that are in sync.
        legs: 2 to 9.
        features: in order; of handle_errors and keep_log, which needs the former.
    """

    type: ClassVar[str] = TYPE
    log: MirrorLog
    legs: tuple[MirrorLeg, ...]
    features: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> MirrorTable:
        """Read the table's text. The number of features may be left out.

        Raises:
            TableParseError: where it does not follow the grammar.
        """
        words = Words(cls.type, text, TableParseError)
        log = parse_log(words)
        legs = tuple(
            MirrorLeg(words.device("device"), Sectors(words.number("start")))
            for _ in range(words.count("#legs", 2))
        )
        features = words.take("features", words.count("#features") if words.left else 0)
        words.end()
        return cls(log, legs, features, raw=text)

    def check(self) -> None:
        """Hold mirror_ctr's rules against the values. Raises InvalidTableError."""
        self.log.check()
        check_range(self.type, "#legs", len(self.legs), LEGS_MIN, LEGS_MAX)
        for leg in self.legs:
            check_word(self.type, "device", leg.device)
            check_range(self.type, "start", leg.start)
        for feature in self.features:
            known = feature in {HANDLE_ERRORS, KEEP_LOG}
            require(known, self.type, "features", f"cannot be {feature!r}")
        handled = KEEP_LOG not in self.features or HANDLE_ERRORS in self.features
        require(handled, self.type, "features", f"need {HANDLE_ERRORS} beside {KEEP_LOG}")

    def format(self) -> str:
        """The text for the kernel. Raises InvalidTableError as `check`."""
        self.check()
        words = [*self.log.words(), str(len(self.legs))]
        words += [f"{leg.device} {int(leg.start)}" for leg in self.legs]
        if self.features:
            words += [str(len(self.features)), *self.features]
        return " ".join(words)

    def line(self, start: Sectors | int, length: Sectors | int) -> TargetLine:
        """A line of a table with this text.

        Raises:
            InvalidTableError: as `check`, and where a region is longer than the line or there are
                more than 4,294,967,295 of them.
        """
        line = TargetTable.line(self, start, length)
        if isinstance(self.log, CoreLog | DiskLog):
            size = check_range(self.type, "region_size", self.log.region_size, 1, line.length)
            few = -(-line.length // size) <= U32_MAX
            require(few, self.type, "region_size", f"makes more than {U32_MAX} regions")
        return line


class MirrorHealth(StrEnum):
    """How a leg stands: the worst error since it was last cleared (device_status_char)."""

    ALIVE = "A"
    FLUSH_FAILED = "F"
    WRITE_FAILED = "D"
    SYNC_FAILED = "S"
    READ_FAILED = "R"
    UNKNOWN_ERROR = "U"


class MirrorLogHealth(StrEnum):
    """How a log stands."""

    ALIVE = "A"
    FLUSH_FAILED = "F"
    """The log's device did not take a flush."""
    FAILED = "D"
    """The log's device cannot be written or read."""
    UNREACHABLE = "COM_FAILURE"
    """The daemon of a userspace log does not answer."""


@dataclass(frozen=True, slots=True)
class MirrorLegStatus:
    """One of the devices.

    Attributes:
        device: which.
        health: how it stands.
    """

    device: Device
    health: MirrorHealth


@dataclass(frozen=True, slots=True)
class MirrorLogStatus:
    """How the log stands.

    Attributes:
        type: "core", "disk", "userspace", or what a daemon calls itself ("clustered-disk").
        device: its device, where it has one.
        health: how it stands, or None where it does not say so (a log in memory).
        arguments: its other words.
    """

    type: str
    device: Device | None = None
    health: MirrorLogHealth | None = None
    arguments: tuple[str, ...] = ()

    @property
    def failed(self) -> bool:
        """It keeps no track any more."""
        return self.health not in {None, MirrorLogHealth.ALIVE}


@dataclass(frozen=True, slots=True)
class MirrorStatus(TargetStatus):
    """How it stands.

    Attributes:
        legs: in order.
        in_sync: how many regions are the same on all legs.
        regions: of how many.
        log: how the log stands; None where a daemon says nothing.
    """

    legs: tuple[MirrorLegStatus, ...]
    in_sync: int
    regions: int
    log: MirrorLogStatus | None


def parse_status(text: str) -> MirrorStatus:
    """Read the status.

    Raises:
        StatusParseError: where it does not follow the grammar.
    """
    words = Words(TYPE, text, StatusParseError)
    devices = [words.device("device") for _ in range(words.count("#legs"))]
    in_sync, regions = words.ratio("in_sync")
    words.number("#groups")
    letters = words.letters("health", len(devices), MirrorHealth)
    pairs = zip(devices, letters, strict=True)
    legs = tuple(MirrorLegStatus(device, health) for device, health in pairs)
    log = _log_status(words) if words.left else None
    return MirrorStatus(legs, in_sync, regions, log, extra=words.rest())


def _log_status(words: Words) -> MirrorLogStatus:
    # only here the name stands before the number of words (userspace_status)
    if words.accept("userspace"):
        arguments = words.take("log", words.count("#log"))
        lost = arguments == (MirrorLogHealth.UNREACHABLE,)
        health = MirrorLogHealth.UNREACHABLE if lost else None
        return MirrorLogStatus("userspace", None, health, () if lost else arguments)
    if not (words.peek() or "").isdecimal():
        # a daemon may answer with any text
        return _named_log(words.rest())
    found = words.take("log", words.count("#log"))
    return _named_log(found) if found else MirrorLogStatus("")


def _named_log(found: tuple[str, ...]) -> MirrorLogStatus:
    kind, *rest = found
    health = {member.value: member for member in MirrorLogHealth}
    if len(rest) == 2 and rest[1] in health:
        return MirrorLogStatus(kind, parse_device(rest[0]), health[rest[1]])
    return MirrorLogStatus(kind, arguments=tuple(rest))
