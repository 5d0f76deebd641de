"""thin: a volume in a thin-pool (drivers/md/dm-thin.c).

Table   `<pool> <id>[ <external origin>]`, or `Fail` or `-` where the kernel does not tell
Status  `Fail` | `-` | `Error` | `<mapped sectors> <highest mapped sector|->`

It raises no events of its own, not even when it fails: its pool does. So it is read when its pool
changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dmwatch.errors import InvalidTableError, StatusParseError, TableParseError
from dmwatch.severity import Severity
from dmwatch.targets.base import (
    Finding,
    Gauge,
    Notice,
    Observation,
    Seen,
    Target,
    TargetStatus,
    TargetTable,
)
from dmwatch.targets.catalogue import CatalogueRow, ConditionType, GaugeType
from dmwatch.targets.words import Device, Words, check_range, check_word, require
from dmwatch.units import Sectors

THIN_ID_MAX = (1 << 24) - 1


@dataclass(frozen=True, slots=True)
class ThinTable(TargetTable):
    """Which volume of which pool.

    Attributes:
        pool: the pool's device.
        thin_id: 0 to 16,777,215; made in the pool by a message before.
        origin: a device outside the pool that is read where nothing is mapped, or None.
    """

    type: ClassVar[str] = "thin"
    pool: Device
    thin_id: int
    origin: Device | None = None

    @classmethod
    def parse(cls, text: str) -> ThinTable | ThinTableUnavailable:
        """Read the table's text.

        Raises:
            TableParseError: where it does not follow the grammar.
        """
        words = Words(cls.type, text, TableParseError)
        answer = words.accept("Fail", "-") if words.left == 1 else None
        if answer:
            return ThinTableUnavailable(answer, raw=text)
        table = cls(
            pool=words.device("pool"),
            thin_id=words.number("thin_id"),
            origin=words.device("origin") if words.left else None,
            raw=text,
        )
        words.end()
        return table

    def check(self) -> None:
        """Hold thin_ctr's rules against the values. Raises InvalidTableError."""
        pool = check_word(self.type, "pool", self.pool)
        check_range(self.type, "thin_id", self.thin_id, 0, THIN_ID_MAX)
        if self.origin is not None:
            origin = check_word(self.type, "origin", self.origin)
            require(origin != pool, self.type, "origin", "cannot be the pool")

    def format(self) -> str:
        """The text for the kernel. Raises InvalidTableError as `check`."""
        self.check()
        origin = "" if self.origin is None else f" {self.origin}"
        return f"{self.pool} {self.thin_id}{origin}"


@dataclass(frozen=True, slots=True)
class ThinTableUnavailable(TargetTable):
    """What the kernel says instead of a table: nothing that it would take back.

    Attributes:
        answer: `Fail` where the pool has failed, `-` where the volume is not bound to its pool.
    """

    type: ClassVar[str] = "thin"
    answer: str

    def check(self) -> None:
        """Refuse: this is not a table. Raises InvalidTableError."""
        rule = f"is not known: the kernel answered {self.answer!r}"
        raise InvalidTableError(self.type, "table", rule)

    def lasting(self) -> object:
        """Nothing: the table is there, but its pool does not show it."""
        return None

    def format(self) -> str:
        """Refuse: this is not a table. Raises InvalidTableError."""
        self.check()
        return self.answer


@dataclass(frozen=True, slots=True)
class ThinWorking(TargetStatus):
    """A volume that answers.

    Attributes:
        mapped: sectors that have a block in the pool, in whole blocks.
        highest_mapped: the last sector of the last block that is mapped, or None.
    """

    mapped: Sectors
    highest_mapped: Sectors | None


@dataclass(frozen=True, slots=True)
class ThinFail(TargetStatus):
    """`Fail`: the pool has failed, and all I/O with it."""

    state: ClassVar[str] = "fail"


@dataclass(frozen=True, slots=True)
class ThinUnbound(TargetStatus):
    """`-`: the volume is not bound to its pool."""

    state: ClassVar[str] = "unbound"


@dataclass(frozen=True, slots=True)
class ThinError(TargetStatus):
    """`Error`: the kernel could not read the figures from the pool's metadata."""

    state: ClassVar[str] = "error"


ThinStatus = ThinWorking | ThinFail | ThinUnbound | ThinError


def parse_status(text: str) -> ThinStatus:
    """Read a thin volume's status.

    Raises:
        StatusParseError: where it does not follow the grammar.
    """
    words = Words("thin", text, StatusParseError)
    match words.accept("Fail", "-", "Error"):
        case "Fail":
            return ThinFail(extra=words.rest())
        case "-":
            return ThinUnbound(extra=words.rest())
        case "Error":
            return ThinError(extra=words.rest())
    return ThinWorking(
        mapped=Sectors(words.number("mapped")),
        highest_mapped=None if words.accept("-") else Sectors(words.number("highest_mapped")),
        extra=words.rest(),
    )


def observe(seen: Seen) -> Observation:
    """Say what stands on a volume as seen now."""
    match seen.status:
        case ThinWorking(mapped=mapped):
            # the last block can reach beyond the end of the volume
            used = min(mapped, seen.length)
            return Observation(
                gauges=(Gauge("thin.usage", int(used), int(seen.length), "sectors"),)
            )
        case ThinFail():
            return Observation((_FAILED,))
        case ThinError():
            return Observation((_UNREADABLE,))
    return Observation()


_FAILED = Finding(
    "thin.failed", Severity.CRITICAL, "the volume's pool has failed: all its I/O fails"
)
_UNREADABLE = Finding(
    "thin.unreadable", Severity.ERROR, "the kernel cannot read the volume's own figures"
)

CONDITIONS: tuple[CatalogueRow, ...] = (
    ConditionType(
        "thin.failed",
        (Severity.CRITICAL,),
        advice="Take the volume's pool down and repair or restore its metadata (thin_check, "
        "thin_repair).",
    ),
    ConditionType(
        "thin.unreadable",
        (Severity.ERROR,),
        advice="Look in the kernel log for errors of the pool's metadata device.",
    ),
    GaugeType(
        "thin.usage",
        rungs=(),
        advice="Delete or trim what is on the volume, or extend it.",
    ),
)

TARGET = Target(
    type="thin",
    module="dm-thin-pool",
    since="5.10",
    summary="a volume in a thin-pool",
    table=ThinTable.parse,
    status=parse_status,
    tables=(ThinTable, ThinTableUnavailable),
    statuses=(ThinWorking, ThinFail, ThinUnbound, ThinError),
    observe=observe,
    conditions=CONDITIONS,
    notice=Notice.POLL,
    pooled=True,
)
