"""The text of clone: its table and its status."""

from __future__ import annotations

from dataclasses import dataclass
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
    power_of_two,
    require,
)
from dmwatch.units import DataBlocks, MetadataBlocks, Sectors

REGION_MIN, REGION_MAX = 8, 2_097_152
OPTIONS_MAX = 2
_FEATURES = frozenset({"no_hydration", "no_discard_passdown"})
_SETTINGS = frozenset({"hydration_threshold", "hydration_batch_size"})


@dataclass(frozen=True, slots=True)
class CloneTable(TargetTable):
    """What is copied, and how. The kernel prints it word for word as it was given.

    Attributes:
        metadata: the metadata device.
        destination: the device that becomes the copy.
        source: the device that is copied; it is only read.
        region: the unit of copying, 8 to 2,097,152 sectors, a power of two.
        features: in order; of no_hydration (copy nothing but what is used, until a message says
            otherwise), no_discard_passdown.
        settings: names and values in order: hydration_threshold (regions copied at a time,
            0 to 2**32 - 1, 1 without it), hydration_batch_size (regions copied as one, same).
        ignored: words after the end, which the kernel takes, ignores and prints.
    """

    type: ClassVar[str] = "clone"
    metadata: Device
    destination: Device
    source: Device
    region: Sectors
    features: tuple[str, ...] = ()
    settings: tuple[tuple[str, int], ...] = ()
    ignored: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> CloneTable:
        """Read the table's text. Both counted lists may be left out, the last first.

        Raises:
            TableParseError: where it does not follow the grammar.
        """
        words = Words(cls.type, text, TableParseError)
        return cls(
            metadata=words.device("metadata"),
            destination=words.device("destination"),
            source=words.device("source"),
            region=Sectors(words.number("region")),
            features=words.take("features", words.count("#features") if words.left else 0),
            settings=_settings(words) if words.left else (),
            ignored=words.rest(),
            raw=text,
        )

    def check(self) -> None:
        """Hold clone_ctr's rules against the values. Raises InvalidTableError."""
        for name in ("metadata", "destination", "source"):
            check_word(self.type, name, getattr(self, name))
        size = check_range(self.type, "region", self.region, REGION_MIN, REGION_MAX)
        require(power_of_two(size), self.type, "region", "must be a power of two")
        self._check_options()
        for word in self.ignored:
            check_word(self.type, "ignored", word)

    def _check_options(self) -> None:
        for feature in self.features:
            known = feature.lower() in _FEATURES
            require(known, self.type, "features", f"cannot be {feature!r}")
        for name, value in self.settings:
            require(name.lower() in _SETTINGS, self.type, "settings", f"cannot be {name!r}")
            check_range(self.type, f"settings[{name}]", value, 0, U32_MAX)
        for field in ("features", "settings"):
            few = len(getattr(self, field)) <= OPTIONS_MAX
            require(few, self.type, field, f"can be {OPTIONS_MAX} at most")

    def format(self) -> str:
        """The text for the kernel. Raises InvalidTableError as `check`."""
        self.check()
        devices = [str(device) for device in (self.metadata, self.destination, self.source)]
        words = [*devices, str(int(self.region)), str(len(self.features)), *self.features]
        if self.settings or self.ignored:
            words.append(str(2 * len(self.settings)))
        words += [f"{name} {value}" for name, value in self.settings]
        return " ".join([*words, *self.ignored])


def _settings(words: Words) -> tuple[tuple[str, int], ...]:
    number = words.count("#settings")
    if number % 2:
        words.fail("#settings", "must be even: names and values come in pairs")
    return tuple((words.word("settings"), words.number("settings")) for _ in range(number // 2))


class CloneMode(StrEnum):
    """What the metadata allows."""

    READ_WRITE = "rw"
    READ_ONLY = "ro"
    FAIL = "Fail"


@dataclass(frozen=True, slots=True)
class CloneWorking(TargetStatus):
    """A clone that answers.

    Attributes:
        metadata_block: the size of a metadata block.
        metadata_used: blocks used.
        metadata_total: blocks on the metadata device.
        region: the size of a region.
        hydrated: regions copied or overwritten.
        regions: of how many.
        hydrating: regions that are being copied now.
        features: as in effect: no_hydration, no_discard_passdown.
        settings: names and values: hydration_threshold, hydration_batch_size.
        mode: what the metadata allows.
    """

    metadata_block: Sectors
    metadata_used: MetadataBlocks
    metadata_total: MetadataBlocks
    region: Sectors
    hydrated: DataBlocks
    regions: DataBlocks
    hydrating: DataBlocks
    features: tuple[str, ...]
    settings: tuple[tuple[str, int], ...]
    mode: CloneMode

    @property
    def complete(self) -> bool:
        """Every region is copied: the source is not needed any more."""
        return self.hydrated == self.regions


@dataclass(frozen=True, slots=True)
class CloneFail(TargetStatus):
    """`Fail`: the metadata cannot be used any more; all I/O fails."""

    state: ClassVar[str] = "fail"


@dataclass(frozen=True, slots=True)
class CloneError(TargetStatus):
    """`Error`: the kernel could not read the figures from the metadata."""

    state: ClassVar[str] = "error"


CloneStatus = CloneWorking | CloneFail | CloneError


def parse_status(text: str) -> CloneStatus:
    """Read a clone's status.

    Raises:
        StatusParseError: where it does not follow the grammar.
    """
    words = Words("clone", text, StatusParseError)
    match words.accept("Fail", "Error"):
        case "Fail":
            return CloneFail(extra=words.rest())
        case "Error":
            return CloneError(extra=words.rest())
    return _working(words)


def _working(words: Words) -> CloneWorking:
    metadata_block, metadata = words.number("metadata_block"), words.ratio("metadata")
    region, regions = words.number("region"), words.ratio("hydrated")
    return CloneWorking(
        metadata_block=Sectors(metadata_block),
        metadata_used=MetadataBlocks(metadata[0]),
        metadata_total=MetadataBlocks(metadata[1]),
        region=Sectors(region),
        hydrated=DataBlocks(regions[0]),
        regions=DataBlocks(regions[1]),
        hydrating=DataBlocks(words.number("hydrating")),
        features=words.take("features", words.count("#features")),
        settings=_settings(words),
        mode=words.choice("mode", CloneMode),
        extra=words.rest(),
    )
