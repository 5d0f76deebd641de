"""The text of vdo: its table and its status."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar

from dmwatch.errors import StatusParseError, TableParseError
from dmwatch.targets.base import TargetStatus, TargetTable
from dmwatch.targets.words import (
    U32_MAX,
    Device,
    Words,
    check_range,
    check_word,
    decimal,
    power_of_two,
    require,
)
from dmwatch.units import Bytes, DataBlocks

VERSION = 4
VIOS = 2048
ERA_MAX = 16_380
MAX_DISCARD = U32_MAX // 4096
_VERSION = re.compile(r"V([1-4])")
_MEMORY = re.compile(r"0\.25|0\.5|0\.75|[1-9][0-9]{0,3}")
INDEX_MEMORY_MAX = 1024

RANGES = {
    "maxDiscard": (1, MAX_DISCARD),
    "bioRotationInterval": (1, 1024),
    "logical": (0, 60),
    "physical": (0, 16),
    "hash": (0, 100),
    "ack": (0, 100),
    "cpu": (1, 100),
    "bio": (1, 100),
    "slabSize": (1 << 13, 1 << 23),
}
SWITCHES = frozenset({"deduplication", "compression", "indexSparse"})
ZONES = ("logical", "physical", "hash")


@dataclass(frozen=True, slots=True)
class VdoTable(TargetTable):
    """What a vdo was asked to be. Blocks have 4 KiB.

    Attributes:
        device: the storage below; the kernel repeats it as it was given.
        physical_blocks: its size; None in a line of version 0, where the device's own size counts.
        logical_block_size: the smallest write that it takes: 512 or 4096 bytes.
        cache_blocks: the block map's cache; at least 4,096 for each logical zone.
        era_length: how slowly the cache writes its pages out, 1 to 16,380.
        options: key and value, in order. Threads: ack, bio, bioRotationInterval, cpu, hash,
            logical, physical. Others: maxDiscard, deduplication and compression (on, off). Since
            7.2, for a device that the kernel formats: indexSparse (on, off), indexMemory (in GiB:
            0.25, 0.5, 0.75, 1 to 1,024), slabSize (a power of two, 8,192 to 8,388,608 blocks). The
            kernel passes over numbers under a key that it does not know.
        version: the layout it was read from; `format` always writes the fourth.
    """

    type: ClassVar[str] = "vdo"
    device: Device
    physical_blocks: DataBlocks | None
    logical_block_size: Bytes
    cache_blocks: DataBlocks
    era_length: int
    options: tuple[tuple[str, str], ...] = ()
    version: int = field(default=VERSION, kw_only=True, compare=False)

    @classmethod
    def parse(cls, text: str) -> VdoTable:
        """Read the table's text, in any of the five layouts.

        Raises:
            TableParseError: where it does not follow the grammar.
        """
        words = Words(cls.type, text, TableParseError)
        match = _VERSION.fullmatch(words.peek() or "")
        version = int(words.word("version")[1:]) if match else 0
        table = cls(
            device=words.device("device"),
            physical_blocks=DataBlocks(words.number("physical_blocks")) if version else None,
            logical_block_size=Bytes(words.number("logical_block_size")),
            cache_blocks=_cache_blocks(words, version),
            era_length=words.number("era_length", U32_MAX),
            options=_options(words, version),
            version=version,
            raw=text,
        )
        words.end()
        return table

    def option(self, key: str) -> str | None:
        """The last value of a key, as the kernel lets the last one win, or None."""
        return dict(self.options).get(key)

    @property
    def deduplication(self) -> bool:
        """Whether deduplication is asked for: yes, where nothing is said."""
        return self.option("deduplication") != "off"

    def check(self) -> None:
        """Hold parse_device_config's rules against the values. Raises InvalidTableError."""
        check_word(self.type, "device", self.device)
        require(self.physical_blocks is not None, self.type, "physical_blocks", "must be given")
        check_range(self.type, "physical_blocks", self.physical_blocks, 1)
        size = int(self.logical_block_size)
        require(size in {512, 4096}, self.type, "logical_block_size", "must be 512 or 4096")
        check_range(self.type, "era_length", self.era_length, 1, ERA_MAX)
        for key, value in self.options:
            check_word(self.type, "options", key)
            check_word(self.type, "options", value)
            _check_option(key, value)
        zones = self._check_zones()
        check_range(self.type, "cache_blocks", self.cache_blocks, 2 * VIOS * zones, U32_MAX)

    def _check_zones(self) -> int:
        counts = [int(self.option(key) or 0) for key in ZONES]
        rule = "must have logical, physical and hash all zero or none of them"
        require(all(counts) or not any(counts), self.type, "options", rule)
        return counts[0]

    def format(self) -> str:
        """The text for the kernel, in the fourth layout. Raises InvalidTableError as `check`."""
        self.check()
        numbers = (self.physical_blocks, self.logical_block_size, self.cache_blocks)
        words = [f"V{VERSION}", str(self.device), *(str(int(number or 0)) for number in numbers)]
        words.append(str(self.era_length))
        for pair in self.options:
            words.extend(pair)
        return " ".join(words)


def _cache_blocks(words: Words, version: int) -> DataBlocks:
    if version <= 1:
        words.take("read cache", 2)
    return DataBlocks(words.number("cache_blocks", U32_MAX))


def _options(words: Words, version: int) -> tuple[tuple[str, str], ...]:
    # MD RAID 5 mode, write policy and pool name of older layouts mean nothing any more
    unused = {0: 3, 1: 3, 2: 3, 3: 1}.get(version, 0)
    words.take("unused", unused)
    if version <= 1:
        return _thread_config(words)
    options = []
    while words.left:
        key = words.word("key")
        options.append((key, words.word(key)))
    return tuple(options)


def _thread_config(words: Words) -> tuple[tuple[str, str], ...]:
    text = words.word("threads")
    if text == ".":
        return ()
    pairs = [part.partition("=") for part in text.split(",")]
    if not all(key and value for key, _, value in pairs):
        words.fail("threads", "must be <key>=<number>,... or .")
    return tuple((key, value) for key, _, value in pairs)


def _check_option(key: str, value: str) -> None:
    if key in SWITCHES:
        require(value in {"on", "off"}, "vdo", key, "must be on or off")
    elif key == "indexMemory":
        fits = _MEMORY.fullmatch(value) and float(value) <= INDEX_MEMORY_MAX
        require(bool(fits), "vdo", key, "must be 0.25, 0.5, 0.75 or 1 to 1024")
    else:
        number = decimal(value)
        require(number is not None, "vdo", "options", f"need a number: {key}")
        size = check_range("vdo", key, number, *RANGES.get(key, (0, U32_MAX)))
        slab = key != "slabSize" or power_of_two(size)
        require(slab, "vdo", key, "must be a power of two")


class VdoMode(StrEnum):
    """What the volume allows."""

    NORMAL = "normal"
    RECOVERING = "recovering"
    READ_ONLY = "read-only"


class VdoIndex(StrEnum):
    """What the deduplication index is doing."""

    CLOSED = "closed"
    CLOSING = "closing"
    ERROR = "error"
    OFFLINE = "offline"
    ONLINE = "online"
    OPENING = "opening"
    SUSPENDED = "suspended"
    UNKNOWN = "unknown"


class VdoCompression(StrEnum):
    """Whether what is written is compressed."""

    ONLINE = "online"
    OFFLINE = "offline"


@dataclass(frozen=True, slots=True)
class VdoStatus(TargetStatus):
    """What a vdo says of itself. Blocks have 4 KiB.

    Attributes:
        device: the storage below, as a path in /dev.
        mode: what the volume allows.
        recovering: it rebuilds its reference counts after a crash.
        index: what the deduplication index is doing.
        compression: whether what is written is compressed.
        used: blocks of data and of vdo's own metadata.
        total: the physical size.
    """

    device: str
    mode: VdoMode
    recovering: bool
    index: VdoIndex
    compression: VdoCompression
    used: DataBlocks
    total: DataBlocks


def parse_status(text: str) -> VdoStatus:
    """Read the status.

    Raises:
        StatusParseError: where it does not follow the grammar.
    """
    words = Words("vdo", text, StatusParseError)
    return VdoStatus(
        device=words.word("device"),
        mode=words.choice("mode", VdoMode),
        recovering=words.expect("recovering", "recovering", "-") == "recovering",
        index=words.choice("index", VdoIndex),
        compression=words.choice("compression", VdoCompression),
        used=DataBlocks(words.number("used")),
        total=DataBlocks(words.number("total")),
        extra=words.rest(),
    )
