"""pcache: persistent memory as a write-back cache (drivers/md/dm-pcache/dm_pcache.c, 7.2).

Table   to load: `<cache> <backing> [<#options> [cache_mode writeback] [data_crc true|false]]`
        printed: the same, with `crc` in the place of `data_crc`
Status  `<superblock flags> <segments> <cache segments> <used> <gc percent> <cache flags>
        <segment>:<offset> <segment>:<offset> <segment>:<offset>`, flags in hex

It raises no events, and a live device takes no other table (dm_pcache_ctr).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from dmwatch.errors import InvalidMessageError, StatusParseError, TableParseError
from dmwatch.severity import Severity
from dmwatch.targets.base import (
    Finding,
    Gauge,
    Observation,
    Seen,
    Target,
    TargetMessage,
    TargetStatus,
    TargetTable,
)
from dmwatch.targets.catalogue import CatalogueRow, ConditionType, GaugeType
from dmwatch.targets.words import Device, Words, check_word
from dmwatch.units import Bytes

DATA_CRC, INIT_DONE = 1 << 0, 1 << 1
GC_PERCENT_MAX = 90


class PcacheMode(StrEnum):
    """When a write is done."""

    WRITEBACK = "writeback"


@dataclass(frozen=True, slots=True)
class PcacheTable(TargetTable):
    """What caches what.

    Attributes:
        cache: the persistent memory, 512 MiB at least.
        backing: the device that is cached.
        mode: when a write is done; there is only writeback.
        data_crc: whether data in the cache has a checksum; fixed when the cache is first used.
    """

    type: ClassVar[str] = "pcache"
    cache: Device
    backing: Device
    mode: PcacheMode = PcacheMode.WRITEBACK
    data_crc: bool = False

    @classmethod
    def parse(cls, text: str) -> PcacheTable:
        """Read the table's text in either form. The options and their number may be left out.

        Raises:
            TableParseError: where it does not follow the grammar.
        """
        words = Words(cls.type, text, TableParseError)
        cache, backing = words.device("cache"), words.device("backing")
        count = words.count("#options") if words.left else 0
        rest = words.left - count
        mode, data_crc = PcacheMode.WRITEBACK, False
        while words.left > rest:
            if words.expect("options", "cache_mode", "data_crc", "crc") == "cache_mode":
                mode = words.choice("cache_mode", PcacheMode)
            else:
                data_crc = words.expect("data_crc", "true", "false") == "true"
        words.end()
        return cls(cache, backing, mode, data_crc, raw=text)

    def check(self) -> None:
        """Hold pcache_parse_args' rules against the values. Raises InvalidTableError."""
        check_word(self.type, "cache", self.cache)
        check_word(self.type, "backing", self.backing)

    def format(self) -> str:
        """The text to load. Raises InvalidTableError as `check`."""
        self.check()
        crc = "true" if self.data_crc else "false"
        return f"{self.cache} {self.backing} 4 cache_mode {self.mode} data_crc {crc}"


@dataclass(frozen=True, slots=True)
class PcachePosition:
    """A place in the cache.

    Attributes:
        segment: which of its segments of 16 MiB.
        offset: where in it.
    """

    segment: int
    offset: Bytes


@dataclass(frozen=True, slots=True)
class PcacheStatus(TargetStatus):
    """What the cache says of itself.

    Attributes:
        superblock_flags: bit 0: written on a big-endian machine.
        segments: segments of 16 MiB on the cache device.
        cache_segments: those that the cache may use.
        used: those that it uses.
        gc_percent: from how much use on it frees segments.
        cache_flags: bit 0: data has a checksum; bit 1: the cache is initialised.
        key_head: where the next key is written.
        dirty_tail: up to where data has been written back.
        key_tail: up to where segments have been freed.
    """

    superblock_flags: int
    segments: int
    cache_segments: int
    used: int
    gc_percent: int
    cache_flags: int
    key_head: PcachePosition
    dirty_tail: PcachePosition
    key_tail: PcachePosition

    @property
    def initialised(self) -> bool:
        """The cache has been set up (PCACHE_CACHE_FLAGS_INIT_DONE)."""
        return bool(self.cache_flags & INIT_DONE)

    @property
    def data_crc(self) -> bool:
        """Data in the cache has a checksum (PCACHE_CACHE_FLAGS_DATA_CRC)."""
        return bool(self.cache_flags & DATA_CRC)


def parse_status(text: str) -> PcacheStatus:
    """Read the status.

    Raises:
        StatusParseError: where it does not follow the grammar.
    """
    words = Words("pcache", text, StatusParseError)
    return PcacheStatus(
        superblock_flags=words.hex("superblock_flags"),
        segments=words.number("segments"),
        cache_segments=words.number("cache_segments"),
        used=words.number("used"),
        gc_percent=words.number("gc_percent"),
        cache_flags=words.hex("cache_flags"),
        key_head=_position(words, "key_head"),
        dirty_tail=_position(words, "dirty_tail"),
        key_tail=_position(words, "key_tail"),
        extra=words.rest(),
    )


def _position(words: Words, field: str) -> PcachePosition:
    segment, offset = words.ratio(field, ":")
    return PcachePosition(segment, Bytes(offset))


_NOT_INITIALISED = Finding(
    "pcache.not-initialised", Severity.ERROR, "the cache has not been initialised"
)


def observe(seen: Seen) -> Observation:
    """Say what stands on a pcache as seen now."""
    status = seen.status
    if not isinstance(status, PcacheStatus):
        return Observation()
    gauge = Gauge("pcache.usage", status.used, status.cache_segments, "segments")
    return Observation(() if status.initialised else (_NOT_INITIALISED,), (gauge,))


@dataclass(frozen=True, slots=True)
class GcPercent(TargetMessage):
    """Set from how much use on segments are freed.

    Attributes:
        percent: 0 to 90.
    """

    percent: int

    def format(self) -> str:
        """The text for TARGET_MSG. Raises InvalidMessageError."""
        if not 0 <= self.percent <= GC_PERCENT_MAX:
            raise InvalidMessageError(f"pcache: gc_percent must be 0 to 90, not {self.percent}")
        return f"gc_percent {self.percent}"


CONDITIONS: tuple[CatalogueRow, ...] = (
    GaugeType(
        "pcache.usage",
        advice="Look whether the backing device is slow or failing: writes wait once the cache is "
        "full; a lower gc_percent frees segments earlier.",
    ),
    ConditionType(
        "pcache.not-initialised",
        (Severity.ERROR,),
        advice="Look in the kernel log for errors of the cache device, and load the table again.",
    ),
)

TARGET = Target(
    type="pcache",
    module="dm-pcache",
    since="7.2",
    summary="persistent memory as a write-back cache",
    table=PcacheTable.parse,
    status=parse_status,
    tables=(PcacheTable,),
    statuses=(PcacheStatus,),
    messages=(GcPercent,),
    observe=observe,
    conditions=CONDITIONS,
)
