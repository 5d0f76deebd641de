"""dust: reads of blocks that were named bad fail (drivers/md/dm-dust.c).

Table   `<device> <start> <block size in bytes>`
Status  `<device> (fail_read_on_bad_block|bypass) (quiet|verbose)`; it raises no events

The list of bad blocks is neither in the table nor in the status: messages ask for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Final

from dmwatch.errors import InvalidMessageError, StatusParseError, TableParseError
from dmwatch.severity import Severity
from dmwatch.table import TargetLine
from dmwatch.targets.base import (
    Finding,
    Observation,
    Seen,
    Target,
    TargetMessage,
    TargetStatus,
    TargetTable,
)
from dmwatch.targets.catalogue import ConditionType
from dmwatch.targets.words import (
    U64_MAX,
    Device,
    Words,
    check_range,
    check_word,
    power_of_two,
    require,
)
from dmwatch.units import Bytes, Sectors

BLOCK_MIN, BLOCK_MAX = 512, 1 << 30
WRITE_FAIL_COUNT_MAX: Final = 255


@dataclass(frozen=True, slots=True)
class DustTable(TargetTable):
    """What it covers.

    Attributes:
        device: the device below.
        start: the first sector there.
        block_size: 512 to 1,073,741,824 bytes, a power of two.
    """

    type: ClassVar[str] = "dust"
    device: Device
    start: Sectors
    block_size: Bytes

    @classmethod
    def parse(cls, text: str) -> DustTable:
        """Read the table's text.

        Raises:
            TableParseError: where it does not follow the grammar.
        """
        words = Words(cls.type, text, TableParseError)
        table = cls(
            device=words.device("device"),
            start=Sectors(words.number("start")),
            block_size=Bytes(words.number("block_size")),
            raw=text,
        )
        words.end()
        return table

    def check(self) -> None:
        """Hold dust_ctr's rules against the values. Raises InvalidTableError."""
        check_word(self.type, "device", self.device)
        check_range(self.type, "start", self.start)
        size = check_range(self.type, "block_size", self.block_size, BLOCK_MIN, BLOCK_MAX)
        require(power_of_two(size), self.type, "block_size", "must be a power of two")

    def format(self) -> str:
        """The text for the kernel. Raises InvalidTableError as `check`."""
        self.check()
        return f"{self.device} {int(self.start)} {int(self.block_size)}"

    def line(self, start: Sectors | int, length: Sectors | int) -> TargetLine:
        """A line of a table with this text.

        Raises:
            InvalidTableError: as `check`, and where a block is longer than the line.
        """
        fits = int(self.block_size.sectors()) <= int(length)
        require(fits, self.type, "block_size", "cannot be more than the length of the line")
        return TargetTable.line(self, start, length)


class DustReads(StrEnum):
    """What reads of bad blocks meet."""

    FAIL = "fail_read_on_bad_block"
    BYPASS = "bypass"


class DustLog(StrEnum):
    """Whether it writes to the kernel log what it does."""

    QUIET = "quiet"
    VERBOSE = "verbose"


@dataclass(frozen=True, slots=True)
class DustStatus(TargetStatus):
    """How it stands.

    Attributes:
        device: the device below.
        reads: whether reads of bad blocks fail; writes mend bad blocks only while they do.
        log: whether it writes to the kernel log.
    """

    device: Device
    reads: DustReads
    log: DustLog


def parse_status(text: str) -> DustStatus:
    """Read a dust's status.

    Raises:
        StatusParseError: where it does not follow the grammar.
    """
    words = Words("dust", text, StatusParseError)
    return DustStatus(
        device=words.device("device"),
        reads=words.choice("reads", DustReads),
        log=words.choice("log", DustLog),
        extra=words.rest(),
    )


def _block(value: int) -> str:
    if not 0 <= value <= U64_MAX:
        raise InvalidMessageError(f"dust: block must be 0 to {U64_MAX}, not {value}")
    return str(value)


@dataclass(frozen=True, slots=True)
class AddBadBlock(TargetMessage):
    """Call a block bad.

    Attributes:
        block: its number, in blocks of the table's size; not one that is bad already.
        write_fail_count: how many writes to it fail before one mends it, 0 to 255.
    """

    block: int
    write_fail_count: int = 0

    def format(self) -> str:
        """The text for TARGET_MSG. Raises InvalidMessageError."""
        if not 0 <= self.write_fail_count <= WRITE_FAIL_COUNT_MAX:
            rule = f"must be 0 to {WRITE_FAIL_COUNT_MAX}, not {self.write_fail_count}"
            raise InvalidMessageError(f"dust: write_fail_count {rule}")
        count = f" {self.write_fail_count}" if self.write_fail_count else ""
        return f"addbadblock {_block(self.block)}{count}"


@dataclass(frozen=True, slots=True)
class RemoveBadBlock(TargetMessage):
    """Call a block good again.

    Attributes:
        block: its number; it must be bad.
    """

    block: int

    def format(self) -> str:
        """The text for TARGET_MSG. Raises InvalidMessageError."""
        return f"removebadblock {_block(self.block)}"


@dataclass(frozen=True, slots=True)
class QueryBlock(TargetMessage):
    """Ask whether a block is bad. The reply is a sentence.

    Attributes:
        block: its number.
    """

    block: int

    def format(self) -> str:
        """The text for TARGET_MSG. Raises InvalidMessageError."""
        return f"queryblock {_block(self.block)}"


@dataclass(frozen=True, slots=True)
class CountBadBlocks(TargetMessage):
    """Ask how many blocks are bad. The reply is a sentence."""

    def format(self) -> str:
        """The text for TARGET_MSG."""
        return "countbadblocks"


@dataclass(frozen=True, slots=True)
class ListBadBlocks(TargetMessage):
    """Ask which blocks are bad. The reply has one number a line, or a sentence: there is none."""

    def format(self) -> str:
        """The text for TARGET_MSG."""
        return "listbadblocks"


@dataclass(frozen=True, slots=True)
class ClearBadBlocks(TargetMessage):
    """Call all blocks good. The reply is a sentence."""

    def format(self) -> str:
        """The text for TARGET_MSG."""
        return "clearbadblocks"


@dataclass(frozen=True, slots=True)
class Enable(TargetMessage):
    """Let reads of bad blocks fail."""

    def format(self) -> str:
        """The text for TARGET_MSG."""
        return "enable"


@dataclass(frozen=True, slots=True)
class Disable(TargetMessage):
    """Let reads of bad blocks pass."""

    def format(self) -> str:
        """The text for TARGET_MSG."""
        return "disable"


@dataclass(frozen=True, slots=True)
class Quiet(TargetMessage):
    """Turn its words in the kernel log off, or on again: it is a switch."""

    def format(self) -> str:
        """The text for TARGET_MSG."""
        return "quiet"


def observe(seen: Seen) -> Observation:
    """Say what stands on a dust as seen now."""
    if isinstance(seen.status, DustStatus) and seen.status.reads is DustReads.FAIL:
        summary = "reads of blocks that were named bad fail"
        return Observation((Finding("dust.failing-reads", Severity.NOTICE, summary),))
    return Observation()


TARGET = Target(
    type="dust",
    module="dm-dust",
    since="5.10",
    summary="reads of blocks that were named bad fail",
    table=DustTable.parse,
    status=parse_status,
    tables=(DustTable,),
    statuses=(DustStatus,),
    messages=(
        AddBadBlock,
        RemoveBadBlock,
        QueryBlock,
        CountBadBlocks,
        ListBadBlocks,
        ClearBadBlocks,
        Enable,
        Disable,
        Quiet,
    ),
    observe=observe,
    conditions=(ConditionType("dust.failing-reads", (Severity.NOTICE,)),),
)
