"""writecache: writes go to a fast device first (drivers/md/dm-writecache.c).

Table   `p|s <origin> <cache> <block bytes> <#words> [<option> [<value>]] ...`
Status  `<error> <blocks> <free> <writeback> <reads> <read hits> <writes> <uncommitted hits>
        <committed hits> <writes around> <writes allocate> <writes blocked> <flushes> <discards>`;
        the first four only before 5.15

It raises no events, not even when its device fails: it is polled.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar

from dmwatch.errors import StatusParseError, TableParseError
from dmwatch.severity import Severity
from dmwatch.targets.base import (
    Finding,
    Notice,
    Observation,
    Seen,
    Target,
    TargetMessage,
    TargetStatus,
    TargetTable,
)
from dmwatch.targets.catalogue import VOLATILE, CatalogueRow, ConditionType
from dmwatch.targets.words import (
    U32_MAX,
    U64_MAX,
    Device,
    Words,
    check_range,
    check_word,
    power_of_two,
    require,
)
from dmwatch.units import Bytes, DataBlocks

BLOCK_MIN, BLOCK_MAX = 512, 65_536  # the largest page of any Linux; on x86 the kernel stops at 4096
WORDS_MAX = 18
_HIGH_DEFAULT, _LOW_DEFAULT = 50, 45
_FLAGS = frozenset({"cleaner", "fua", "nofua", "metadata_only"})
_LIMITS = {
    "start_sector": U64_MAX,
    "high_watermark": 100,
    "low_watermark": 100,
    "writeback_jobs": U32_MAX,
    "autocommit_blocks": U32_MAX,
    "autocommit_time": 3_600_000,
    "max_age": 86_400_000,
    "pause_writeback": 60_000,
}


class WritecacheMedium(StrEnum):
    """What the fast device is."""

    PMEM = "p"
    SSD = "s"


@dataclass(frozen=True, slots=True)
class WritecacheOption:
    """One option.

    Attributes:
        name: start_sector (of the cache), high_watermark, low_watermark (percent in use at which
            writing back begins and ends), writeback_jobs, autocommit_blocks, autocommit_time,
            max_age, pause_writeback (milliseconds), cleaner, fua, nofua, metadata_only.
        value: None for the last four.
    """

    name: str
    value: int | None = None


@dataclass(frozen=True, slots=True)
class WritecacheTable(TargetTable):
    """What is cached, and how.

    Attributes:
        medium: what the fast device is.
        origin: the slow device.
        cache: the fast device.
        block_size: 512 bytes to a page (4096 on x86), a power of two.
        options: in order, 18 words at most.
    """

    type: ClassVar[str] = "writecache"
    medium: WritecacheMedium
    origin: Device
    cache: Device
    block_size: Bytes
    options: tuple[WritecacheOption, ...] = ()

    @classmethod
    def parse(cls, text: str) -> WritecacheTable:
        """Read the table's text.

        Raises:
            TableParseError: where it does not follow the grammar.
        """
        words = Words(cls.type, text, TableParseError)
        table = cls(
            medium=_medium(words),
            origin=words.device("origin"),
            cache=words.device("cache"),
            block_size=Bytes(words.number("block_size")),
            options=_options(words),
            raw=text,
        )
        words.end()
        return table

    def check(self) -> None:
        """Hold writecache_ctr's rules against the values. Raises InvalidTableError."""
        check_word(self.type, "origin", self.origin)
        check_word(self.type, "cache", self.cache)
        size = check_range(self.type, "block_size", self.block_size, BLOCK_MIN, BLOCK_MAX)
        require(power_of_two(size), self.type, "block_size", "must be a power of two")
        for option in self.options:
            self._check_option(option)
        rule = f"can be {WORDS_MAX} words at most"
        require(len(self._option_words()) <= WORDS_MAX, self.type, "options", rule)
        self._check_watermarks()

    def _check_option(self, option: WritecacheOption) -> None:
        name, field = option.name.lower(), f"options[{option.name}]"
        if name in _FLAGS:
            require(option.value is None, self.type, field, "takes no value")
        else:
            require(name in _LIMITS, self.type, "options", f"cannot be {option.name!r}")
            require(option.value is not None, self.type, field, "needs a value")
            check_range(self.type, field, option.value, 0, _LIMITS[name])
        if name in {"fua", "nofua"}:
            require(self.medium is WritecacheMedium.PMEM, self.type, field, "needs medium p")
        if name == "pause_writeback":
            require(self.medium is WritecacheMedium.SSD, self.type, field, "needs medium s")

    def _check_watermarks(self) -> None:
        asked = {option.name.lower(): option.value for option in self.options}
        high = asked.get("high_watermark", _HIGH_DEFAULT)
        low = asked.get("low_watermark", _LOW_DEFAULT)
        rule = f"must be at least low_watermark: {high} is less than {low}"
        met = high is None or low is None or high >= low
        require(met, self.type, "options[high_watermark]", rule)

    def format(self) -> str:
        """The text for the kernel. Raises InvalidTableError as `check`."""
        self.check()
        options = self._option_words()
        devices = [self.medium.value, str(self.origin), str(self.cache)]
        return " ".join([*devices, str(int(self.block_size)), str(len(options)), *options])

    def _option_words(self) -> list[str]:
        words: list[str] = []
        for option in self.options:
            words += [option.name] if option.value is None else [option.name, str(option.value)]
        return words


def _medium(words: Words) -> WritecacheMedium:
    found = words.word("medium")
    try:
        return WritecacheMedium(found.lower())
    except ValueError:
        words.fail("medium", "must be p or s")


def _options(words: Words) -> tuple[WritecacheOption, ...]:
    end = words.left - 1 - words.count("#options")
    found = []
    while words.left > end:
        found.append(_option(words, words.left - end))
    return tuple(found)


def _option(words: Words, left: int) -> WritecacheOption:
    name = words.word("options")
    if name.lower() in _FLAGS:
        return WritecacheOption(name)
    following = words.peek() if left > 1 else None
    if name.lower() in _LIMITS or (following or "").isdecimal():
        if following is None:
            words.fail(f"options[{name}]", "has no value")
        return WritecacheOption(name, words.number(f"options[{name}]"))
    return WritecacheOption(name)


@dataclass(frozen=True, slots=True)
class WritecacheStatus(TargetStatus):
    """How the cache does. The counters run from activation or the last `clear_stats`.

    Attributes:
        error: 0, or not where the cache has failed (the kernel's error number is not shown).
        blocks: blocks on the cache device.
        free: blocks that can be written.
        writeback: blocks that are being written back.
        reads: read requests; this and all below are None before 5.15.
        read_hits: of these, answered by the cache.
        writes: blocks written (write requests on some kernels).
        hits_uncommitted: of these, into a block that was not committed.
        hits_committed: of these, into a block that was.
        writes_around: of these, past the cache as it was busy.
        writes_allocate: of these, into a new block.
        writes_blocked: of these, that waited for a free block.
        flushes: flush requests.
        discards: discard requests.
    """

    error: int
    blocks: DataBlocks
    free: DataBlocks
    writeback: DataBlocks
    reads: int | None = None
    read_hits: int | None = None
    writes: int | None = None
    hits_uncommitted: int | None = None
    hits_committed: int | None = None
    writes_around: int | None = None
    writes_allocate: int | None = None
    writes_blocked: int | None = None
    flushes: int | None = None
    discards: int | None = None


_COUNTERS = (
    "reads",
    "read_hits",
    "writes",
    "hits_uncommitted",
    "hits_committed",
    "writes_around",
    "writes_allocate",
    "writes_blocked",
    "flushes",
    "discards",
)


def parse_status(text: str) -> WritecacheStatus:
    """Read a writecache's status.

    Raises:
        StatusParseError: where it does not follow the grammar.
    """
    words = Words("writecache", text, StatusParseError)
    error = words.signed("error")
    blocks, free, writeback = (words.number(name) for name in ("blocks", "free", "writeback"))
    counters = {name: words.number(name) for name in _COUNTERS if words.left}
    return WritecacheStatus(
        error=error,
        blocks=DataBlocks(blocks),
        free=DataBlocks(free),
        writeback=DataBlocks(writeback),
        **counters,
        extra=words.rest(),
    )


@dataclass(frozen=True, slots=True)
class Flush(TargetMessage):
    """Write everything back and wait for it. EBUSY while suspended, EIO where it has failed."""

    def format(self) -> str:
        """The text for TARGET_MSG."""
        return "flush"


@dataclass(frozen=True, slots=True)
class FlushOnSuspend(TargetMessage):
    """Write everything back at the next suspend; for taking the cache away."""

    def format(self) -> str:
        """The text for TARGET_MSG."""
        return "flush_on_suspend"


@dataclass(frozen=True, slots=True)
class Cleaner(TargetMessage):
    """Write everything back and take nothing new, until the device is activated again."""

    def format(self) -> str:
        """The text for TARGET_MSG."""
        return "cleaner"


@dataclass(frozen=True, slots=True)
class ClearStats(TargetMessage):
    """Set the counters of the status to 0. Kernels before 5.15 refuse it."""

    def format(self) -> str:
        """The text for TARGET_MSG."""
        return "clear_stats"


@dataclass(frozen=True, slots=True)
class BlocksData:
    """For failed and full: the blocks of the cache."""

    blocks: DataBlocks
    free: DataBlocks = field(metadata=VOLATILE)
    writeback: DataBlocks = field(metadata=VOLATILE)


def observe(seen: Seen) -> Observation:
    """Say what stands on a writecache as seen now."""
    status = seen.status
    if not isinstance(status, WritecacheStatus):
        return Observation()
    data = BlocksData(status.blocks, status.free, status.writeback)
    found = []
    if status.error:
        summary = "the write cache has failed: writes fail, and what it holds is not on the origin"
        found.append(Finding("writecache.failed", Severity.CRITICAL, summary, data=data))
    if status.blocks and not status.free:
        summary = "the write cache is full: writes are as slow as the origin"
        found.append(Finding("writecache.full", Severity.WARNING, summary, data=data))
    return Observation(tuple(found))


CONDITIONS: tuple[CatalogueRow, ...] = (
    ConditionType(
        "writecache.failed",
        (Severity.CRITICAL,),
        BlocksData,
        advice="Look in the kernel log which device failed, and keep the cache device: what it "
        "holds is missing on the origin.",
    ),
    ConditionType("writecache.full", (Severity.WARNING,), BlocksData),
)

TARGET = Target(
    type="writecache",
    module="dm-writecache",
    since="5.10",
    summary="writes go to a fast device first",
    table=WritecacheTable.parse,
    status=parse_status,
    tables=(WritecacheTable,),
    statuses=(WritecacheStatus,),
    messages=(Flush, FlushOnSuspend, Cleaner, ClearStats),
    observe=observe,
    conditions=CONDITIONS,
    notice=Notice.POLL,
)
