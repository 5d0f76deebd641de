"""striped: chunks on several devices in turn (drivers/md/dm-stripe.c).

Table   `<#legs> <chunk> (<device> <start>)*`
Status  `<#legs> (<device>)* 1 <health>`, one letter a leg: `A`, or `D` once an I/O has failed there

A failed I/O raises an event, the first 14 of each device. `D` stays until the table is loaded
anew, even where the leg works again: the kernel only counts errors.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from dmwatch.errors import StatusParseError, TableParseError
from dmwatch.severity import Severity
from dmwatch.table import TargetLine
from dmwatch.targets.base import (
    Finding,
    Notice,
    Observation,
    Seen,
    Target,
    TargetStatus,
    TargetTable,
)
from dmwatch.targets.catalogue import ConditionType
from dmwatch.targets.words import U32_MAX, Device, Words, check_range, check_word, require
from dmwatch.units import Sectors


@dataclass(frozen=True, slots=True)
class StripedLeg:
    """One of the devices.

    Attributes:
        device: which.
        start: the first sector there.
    """

    device: Device
    start: Sectors


@dataclass(frozen=True, slots=True)
class StripedTable(TargetTable):
    """What it covers.

    Attributes:
        chunk: 1 to 4,294,967,295 sectors; so much lies on a leg before the next one follows.
        legs: one or more, in order.
    """

    type: ClassVar[str] = "striped"
    chunk: Sectors
    legs: tuple[StripedLeg, ...]

    @classmethod
    def parse(cls, text: str) -> StripedTable:
        """Read the table's text.

        Raises:
            TableParseError: where it does not follow the grammar.
        """
        words = Words(cls.type, text, TableParseError)
        number = words.number("#legs", U32_MAX)
        chunk = Sectors(words.number("chunk"))
        if number * 2 != words.left:
            words.fail("#legs", f"announces {number} legs where {words.left} words follow")
        legs = tuple(
            StripedLeg(words.device("device"), Sectors(words.number("start")))
            for _ in range(number)
        )
        return cls(chunk, legs, raw=text)

    def check(self) -> None:
        """Hold stripe_ctr's rules against the values. Raises InvalidTableError."""
        check_range(self.type, "chunk", self.chunk, 1, U32_MAX)
        require(bool(self.legs), self.type, "legs", "must be one or more")
        for leg in self.legs:
            check_word(self.type, "device", leg.device)
            check_range(self.type, "start", leg.start)

    def format(self) -> str:
        """The text for the kernel. Raises InvalidTableError as `check`."""
        self.check()
        legs = [f"{leg.device} {int(leg.start)}" for leg in self.legs]
        return " ".join([str(len(self.legs)), str(int(self.chunk)), *legs])

    def line(self, start: Sectors | int, length: Sectors | int) -> TargetLine:
        """A line of a table with this text.

        Raises:
            InvalidTableError: as `check`, and where the length is no whole number of chunks a leg.
        """
        line = TargetTable.line(self, start, length)
        round_ = int(self.chunk) * len(self.legs)
        whole = line.length % round_ == 0
        require(whole, self.type, "length", f"must be a multiple of chunk times legs ({round_})")
        return line


class StripedHealth(StrEnum):
    """How a leg stands."""

    ALIVE = "A"
    """No I/O has failed since the table was loaded."""
    DEAD = "D"
    """At least one I/O has failed since the table was loaded."""


@dataclass(frozen=True, slots=True)
class StripedLegStatus:
    """One of the devices.

    Attributes:
        device: which.
        health: how it stands.
    """

    device: Device
    health: StripedHealth


@dataclass(frozen=True, slots=True)
class StripedStatus(TargetStatus):
    """How it stands.

    Attributes:
        legs: in order.
    """

    legs: tuple[StripedLegStatus, ...]


def parse_status(text: str) -> StripedStatus:
    """Read the status.

    Raises:
        StatusParseError: where it does not follow the grammar.
    """
    words = Words("striped", text, StatusParseError)
    devices = [words.device("device") for _ in range(words.count("#legs"))]
    words.number("#groups")
    letters = words.letters("health", len(devices), StripedHealth)
    pairs = zip(devices, letters, strict=True)
    legs = tuple(StripedLegStatus(device, health) for device, health in pairs)
    return StripedStatus(legs, extra=words.rest())


@dataclass(frozen=True, slots=True)
class StripedLegData:
    """For leg-failed: which leg, counted from 0, and its device."""

    leg: int
    device: str


def observe(seen: Seen) -> Observation:
    """Say which legs have failed."""
    if not isinstance(seen.status, StripedStatus):
        return Observation()
    dead = StripedHealth.DEAD
    legs = enumerate(seen.status.legs)
    return Observation(tuple(_failed(i, leg) for i, leg in legs if leg.health is dead))


def parts(seen: Seen) -> frozenset[str] | None:
    """The keys of all legs."""
    if not isinstance(seen.status, StripedStatus):
        return None
    return frozenset(map(str, range(len(seen.status.legs))))


def _failed(index: int, leg: StripedLegStatus) -> Finding:
    return Finding(
        "striped.leg-failed",
        Severity.CRITICAL,
        f"I/O to leg {index} ({leg.device}) has failed, and no other leg has its data",
        str(index),
        StripedLegData(index, str(leg.device)),
    )


TARGET = Target(
    type="striped",
    module="dm-mod",
    since="5.10",
    summary="chunks on several devices in turn",
    table=StripedTable.parse,
    status=parse_status,
    tables=(StripedTable,),
    statuses=(StripedStatus,),
    observe=observe,
    parts=parts,
    conditions=(
        ConditionType(
            "striped.leg-failed",
            (Severity.CRITICAL,),
            StripedLegData,
            key="leg",
            advice="Look in the kernel log for errors of that device, replace it and restore the "
            "data; where it works again, load the table anew: until then the mark stays.",
        ),
    ),
    notice=Notice.EVENT,
)
