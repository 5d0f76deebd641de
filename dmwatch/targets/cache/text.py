"""The text of cache: its table and its status."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from dmwatch.errors import StatusParseError, TableParseError
from dmwatch.targets.base import TargetStatus, TargetTable
from dmwatch.targets.words import U64_MAX, Device, Words, check_range, check_word, require
from dmwatch.units import DataBlocks, MetadataBlocks, Sectors

BLOCK_MIN, BLOCK_MAX, BLOCK_STEP = 64, 2_097_152, 64
FEATURES_MAX = 3
SETTINGS_MAX = 512
DIGITS_MAX = 20
THRESHOLD = "migration_threshold"


class CacheMode(StrEnum):
    """What becomes of writes."""

    WRITEBACK = "writeback"
    """They go to the cache; the origin gets them later: until then the block is dirty."""
    WRITETHROUGH = "writethrough"
    """They go to both."""
    PASSTHROUGH = "passthrough"
    """They go to the origin and drop the block from the cache."""


class CacheMetadataMode(StrEnum):
    """What the metadata allows."""

    READ_WRITE = "rw"
    READ_ONLY = "ro"


_MODES = frozenset(mode.value for mode in CacheMode)
_FEATURES = _MODES | {"metadata2", "no_discard_passdown"}
_MQ_SETTINGS = frozenset(
    {
        "random_threshold",
        "sequential_threshold",
        "discard_promote_adjustment",
        "read_promote_adjustment",
        "write_promote_adjustment",
    }
)
_POLICY_SETTINGS: dict[str, frozenset[str]] = {
    "default": frozenset(),
    "smq": frozenset(),
    "cleaner": frozenset(),
    "mq": _MQ_SETTINGS,
}
"""What each policy of the kernel takes beside migration_threshold (mq ignores its own)."""


@dataclass(frozen=True, slots=True)
class CacheTable(TargetTable):
    """What is cached, and how. The kernel prints it word for word as it was given.

    Attributes:
        metadata: the metadata device.
        cache: the fast device.
        origin: the slow device.
        block_size: 64 to 2,097,152 sectors (32 KiB to 1 GiB), a multiple of 64.
        features: in order; of writeback (what it is without), writethrough, passthrough, at most
            one of these; metadata2, no_discard_passdown. Three words at most.
        policy: smq, mq (an alias of smq), cleaner (writes all dirty blocks back), default (smq).
        settings: names and values in order: migration_threshold, in sectors, and what the policy
            takes.
        ignored: words after the end, which the kernel takes, ignores and prints.
    """

    type: ClassVar[str] = "cache"
    metadata: Device
    cache: Device
    origin: Device
    block_size: Sectors
    features: tuple[str, ...]
    policy: str
    settings: tuple[tuple[str, str], ...] = ()
    ignored: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> CacheTable:
        """Read the table's text.

        Raises:
            TableParseError: where it does not follow the grammar.
        """
        words = Words(cls.type, text, TableParseError)
        return cls(
            metadata=words.device("metadata"),
            cache=words.device("cache"),
            origin=words.device("origin"),
            block_size=Sectors(words.number("block_size")),
            features=words.take("features", words.count("#features")),
            policy=words.word("policy"),
            settings=words.pairs("settings"),
            ignored=words.rest(),
            raw=text,
        )

    @property
    def mode(self) -> CacheMode:
        """What becomes of writes."""
        asked = [feature.lower() for feature in self.features]
        return next((CacheMode(word) for word in asked if word in _MODES), CacheMode.WRITEBACK)

    def check(self) -> None:
        """Hold cache_ctr's rules against the values. Raises InvalidTableError."""
        for name in ("metadata", "cache", "origin", "policy"):
            check_word(self.type, name, getattr(self, name))
        size = check_range(self.type, "block_size", self.block_size, BLOCK_MIN, BLOCK_MAX)
        require(size % BLOCK_STEP == 0, self.type, "block_size", "must be a multiple of 64")
        self._check_features()
        self._check_settings()
        for word in self.ignored:
            check_word(self.type, "ignored", word)

    def _check_features(self) -> None:
        asked = [feature.lower() for feature in self.features]
        for feature in asked:
            require(feature in _FEATURES, self.type, "features", f"cannot be {feature!r}")
        require(len(asked) <= FEATURES_MAX, self.type, "features", "can be three at most")
        modes = [feature for feature in asked if feature in _MODES]
        require(len(modes) <= 1, self.type, "features", f"can be one of {' and '.join(modes)}")

    def _check_settings(self) -> None:
        few = len(self.settings) <= SETTINGS_MAX
        require(few, self.type, "settings", f"can be {SETTINGS_MAX} at most")
        for name, value in self.settings:
            self._check_setting(check_word(self.type, "settings", name), value)

    def _check_setting(self, name: str, value: str) -> None:
        check_word(self.type, f"settings[{name}]", value)
        taken = _POLICY_SETTINGS.get(self.policy)
        if taken is None and name.lower() != THRESHOLD:
            return
        known = name.lower() in {THRESHOLD, *(taken or ())}
        require(known, self.type, "settings", f"cannot be {name!r} with policy {self.policy}")
        digits = value.isascii() and value.isdigit() and len(value) <= DIGITS_MAX
        number = digits and int(value) <= U64_MAX
        require(number, self.type, f"settings[{name}]", f"must be 0 to {U64_MAX}")

    def format(self) -> str:
        """The text for the kernel. Raises InvalidTableError as `check`."""
        self.check()
        devices = [str(device) for device in (self.metadata, self.cache, self.origin)]
        features = [str(len(self.features)), *self.features]
        settings = [word for pair in self.settings for word in pair]
        words = [*devices, str(int(self.block_size)), *features, self.policy, str(len(settings))]
        return " ".join([*words, *settings, *self.ignored])


@dataclass(frozen=True, slots=True)
class CacheWorking(TargetStatus):
    """A cache that answers.

    Attributes:
        metadata_block: the size of a metadata block.
        metadata_used: blocks used.
        metadata_total: blocks on the metadata device.
        block_size: the size of a cache block.
        cache_used: cache blocks in use.
        cache_total: blocks on the cache device.
        read_hits: reads that the cache answered; this and the next five counters have 32 bits.
        read_misses: reads that it did not.
        write_hits: writes to blocks that it has.
        write_misses: writes to others.
        demotions: blocks that were moved out, since activation.
        promotions: blocks that were moved in, since activation.
        dirty: blocks that the origin has not got yet.
        features: as in effect: metadata2, the mode, no_discard_passdown.
        core_settings: names and values of the target itself: migration_threshold.
        policy: smq also where the table says default.
        policy_settings: names and values of the policy.
        metadata_mode: what the metadata allows.
        needs_check: the metadata must be checked (cache_check) before it can be written again.
    """

    metadata_block: Sectors
    metadata_used: MetadataBlocks
    metadata_total: MetadataBlocks
    block_size: Sectors
    cache_used: DataBlocks
    cache_total: DataBlocks
    read_hits: int
    read_misses: int
    write_hits: int
    write_misses: int
    demotions: int
    promotions: int
    dirty: DataBlocks
    features: tuple[str, ...]
    core_settings: tuple[tuple[str, str], ...]
    policy: str
    policy_settings: tuple[tuple[str, str], ...]
    metadata_mode: CacheMetadataMode
    needs_check: bool

    @property
    def mode(self) -> CacheMode | None:
        """What becomes of writes, or None where the kernel says `unknown`."""
        return next((CacheMode(word) for word in self.features if word in _MODES), None)


@dataclass(frozen=True, slots=True)
class CacheFail(TargetStatus):
    """`Fail`: the metadata cannot be used any more; all I/O fails."""

    state: ClassVar[str] = "fail"


@dataclass(frozen=True, slots=True)
class CacheError(TargetStatus):
    """`Error`: the kernel could not read the figures from the metadata."""

    state: ClassVar[str] = "error"


CacheStatus = CacheWorking | CacheFail | CacheError


def parse_status(text: str) -> CacheStatus:
    """Read a cache's status.

    Raises:
        StatusParseError: where it does not follow the grammar.
    """
    words = Words("cache", text, StatusParseError)
    match words.accept("Fail", "Error"):
        case "Fail":
            return CacheFail(extra=words.rest())
        case "Error":
            return CacheError(extra=words.rest())
    return _working(words)


def _working(words: Words) -> CacheWorking:
    metadata_block, metadata = words.number("metadata_block"), words.ratio("metadata")
    block_size, blocks = words.number("block_size"), words.ratio("cache")
    return CacheWorking(
        metadata_block=Sectors(metadata_block),
        metadata_used=MetadataBlocks(metadata[0]),
        metadata_total=MetadataBlocks(metadata[1]),
        block_size=Sectors(block_size),
        cache_used=DataBlocks(blocks[0]),
        cache_total=DataBlocks(blocks[1]),
        read_hits=words.number("read_hits"),
        read_misses=words.number("read_misses"),
        write_hits=words.number("write_hits"),
        write_misses=words.number("write_misses"),
        demotions=words.number("demotions"),
        promotions=words.number("promotions"),
        dirty=DataBlocks(words.number("dirty")),
        features=words.take("features", words.count("#features")),
        core_settings=words.pairs("core_settings"),
        policy=words.word("policy"),
        policy_settings=words.pairs("policy_settings"),
        metadata_mode=words.choice("metadata_mode", CacheMetadataMode),
        needs_check=words.expect("needs_check", "needs_check", "-") == "needs_check",
        extra=words.rest(),
    )
