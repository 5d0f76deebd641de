"""era: remembers in which era each block was written last (drivers/md/dm-era-target.c).

Table   `<metadata> <origin> <block>`
Status  `Error` | `<metadata block> <used>/<total> <current era> <metadata snapshot|->`

It raises no events. Its status sleeps until resume while the device is suspended, and no signal
wakes it: it is not read then.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dmwatch.errors import StatusParseError, TableParseError
from dmwatch.severity import Severity
from dmwatch.targets.base import (
    Finding,
    Gauge,
    Moment,
    Notice,
    Observation,
    Seen,
    Target,
    TargetMessage,
    TargetStatus,
    TargetTable,
)
from dmwatch.targets.catalogue import CatalogueRow, ConditionType, GaugeType, MomentType
from dmwatch.targets.words import U32_MAX, Device, Words, check_range, check_word, require
from dmwatch.units import MetadataBlocks, Sectors

BLOCK_STEP = 8


@dataclass(frozen=True, slots=True)
class EraTable(TargetTable):
    """What is watched, and how finely.

    Attributes:
        metadata: the metadata device.
        origin: the device below.
        block_size: 8 to 4,294,967,288 sectors, a multiple of 8.
    """

    type: ClassVar[str] = "era"
    metadata: Device
    origin: Device
    block_size: Sectors

    @classmethod
    def parse(cls, text: str) -> EraTable:
        """Read the table's text.

        Raises:
            TableParseError: where it does not follow the grammar.
        """
        words = Words(cls.type, text, TableParseError)
        table = cls(
            metadata=words.device("metadata"),
            origin=words.device("origin"),
            block_size=Sectors(words.number("block_size")),
            raw=text,
        )
        words.end()
        return table

    def check(self) -> None:
        """Hold era_ctr's rules against the values. Raises InvalidTableError."""
        check_word(self.type, "metadata", self.metadata)
        check_word(self.type, "origin", self.origin)
        size = check_range(self.type, "block_size", self.block_size, BLOCK_STEP, U32_MAX)
        require(size % BLOCK_STEP == 0, self.type, "block_size", "must be a multiple of 8")

    def format(self) -> str:
        """The text for the kernel. Raises InvalidTableError as `check`."""
        self.check()
        return f"{self.metadata} {self.origin} {int(self.block_size)}"


@dataclass(frozen=True, slots=True)
class EraWorking(TargetStatus):
    """An era device that answers.

    Attributes:
        metadata_block: the size of a metadata block.
        metadata_used: blocks used.
        metadata_total: blocks on the metadata device.
        current_era: from 1; a checkpoint or a resume begins a new one.
        metadata_snap: block of the metadata snapshot, or None.
    """

    metadata_block: Sectors
    metadata_used: MetadataBlocks
    metadata_total: MetadataBlocks
    current_era: int
    metadata_snap: int | None


@dataclass(frozen=True, slots=True)
class EraError(TargetStatus):
    """`Error`: the kernel could not read the figures from the metadata."""

    state: ClassVar[str] = "error"


EraStatus = EraWorking | EraError


def parse_status(text: str) -> EraStatus:
    """Read an era's status.

    Raises:
        StatusParseError: where it does not follow the grammar.
    """
    words = Words("era", text, StatusParseError)
    if words.accept("Error"):
        return EraError(extra=words.rest())
    block, (used, total) = words.number("metadata_block"), words.ratio("metadata")
    return EraWorking(
        metadata_block=Sectors(block),
        metadata_used=MetadataBlocks(used),
        metadata_total=MetadataBlocks(total),
        current_era=words.number("current_era"),
        metadata_snap=None if words.accept("-") else words.number("metadata_snap"),
        extra=words.rest(),
    )


@dataclass(frozen=True, slots=True)
class Checkpoint(TargetMessage):
    """Begin a new era perhaps; what was written before belongs to an era that is over."""

    def format(self) -> str:
        """The text for TARGET_MSG."""
        return "checkpoint"


@dataclass(frozen=True, slots=True)
class TakeMetadataSnap(TargetMessage):
    """Hold a copy of the metadata for programs in user space to read, and begin a new era."""

    def format(self) -> str:
        """The text for TARGET_MSG."""
        return "take_metadata_snap"


@dataclass(frozen=True, slots=True)
class DropMetadataSnap(TargetMessage):
    """Drop the copy of the metadata."""

    def format(self) -> str:
        """The text for TARGET_MSG."""
        return "drop_metadata_snap"


@dataclass(frozen=True, slots=True)
class EraAdvancedData:
    """For era-advanced: the eras."""

    before: int
    after: int


def observe(seen: Seen) -> Observation:
    """Say what stands on an era device as seen now."""
    match seen.status:
        case EraWorking(metadata_used=used, metadata_total=total):
            gauge = Gauge("era.metadata-usage", int(used), int(total), "metadata blocks")
            return Observation(gauges=(gauge,))
        case EraError():
            return Observation((_UNREADABLE,))
    return Observation()


_UNREADABLE = Finding(
    "era.unreadable", Severity.ERROR, "the kernel cannot read the device's own figures"
)


def moments(before: Seen, after: Seen) -> tuple[Moment, ...]:
    """Say what happened to an era device between two looks."""
    old, new = before.status, after.status
    if not isinstance(old, EraWorking) or not isinstance(new, EraWorking):
        return ()
    if new.current_era == old.current_era:
        return ()
    summary = f"era {new.current_era} has begun"
    data = EraAdvancedData(old.current_era, new.current_era)
    return (Moment("era.era-advanced", Severity.DEBUG, summary, data),)


CONDITIONS: tuple[CatalogueRow, ...] = (
    ConditionType(
        "era.unreadable",
        (Severity.ERROR,),
        advice="Look in the kernel log for errors of the metadata device; where it is damaged, "
        "take the device down and run era_check on it.",
    ),
    GaugeType(
        "era.metadata-usage",
        advice="Drop the metadata snapshot where there is one, or move to a larger metadata "
        "device: writes fail when it is full.",
    ),
)

MOMENTS = (MomentType("era.era-advanced", Severity.DEBUG, EraAdvancedData),)

TARGET = Target(
    type="era",
    module="dm-era",
    since="5.10",
    summary="remembers in which era each block was written last",
    table=EraTable.parse,
    status=parse_status,
    tables=(EraTable,),
    statuses=(EraWorking, EraError),
    messages=(Checkpoint, TakeMetadataSnap, DropMetadataSnap),
    observe=observe,
    moments=moments,
    conditions=CONDITIONS,
    moment_types=MOMENTS,
    notice=Notice.POLL,
    blocks_suspended=True,
)
