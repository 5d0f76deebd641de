"""switch: regions of fixed size, each on one of several paths (drivers/md/dm-switch.c).

Table   `<#paths> <region size> <#options = 0> (<device> <start>)*`
Status  empty; it raises no events

Which region is on which path is set by messages and cannot be read. At first the regions go round
the paths.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dmwatch.errors import InvalidMessageError, TableParseError
from dmwatch.targets.base import (
    EmptyStatus,
    Notice,
    Target,
    TargetMessage,
    TargetTable,
    no_status,
)
from dmwatch.targets.words import (
    U32_MAX,
    U64_MAX,
    Device,
    Words,
    check_range,
    check_word,
    require,
)
from dmwatch.units import Sectors


@dataclass(frozen=True, slots=True)
class SwitchPath:
    """A path.

    Attributes:
        device: the device below.
        start: the first sector there.
    """

    device: Device
    start: Sectors


@dataclass(frozen=True, slots=True)
class SwitchTable(TargetTable):
    """The paths.

    Attributes:
        region_size: 1 to 4,294,967,295 sectors.
        paths: one or more.
    """

    type: ClassVar[str] = "switch"
    region_size: Sectors
    paths: tuple[SwitchPath, ...]

    @classmethod
    def parse(cls, text: str) -> SwitchTable:
        """Read the table's text.

        Raises:
            TableParseError: where it does not follow the grammar.
        """
        words = Words(cls.type, text, TableParseError)
        number = words.count("#paths", each=2)
        region_size = Sectors(words.number("region_size"))
        words.expect("#options", "0")
        table = cls(region_size, tuple(_path(words) for _ in range(number)), raw=text)
        words.end()
        return table

    def check(self) -> None:
        """Hold switch_ctr's rules against the values. Raises InvalidTableError."""
        check_range(self.type, "region_size", self.region_size, 1, U32_MAX)
        require(bool(self.paths), self.type, "paths", "must be one or more")
        for path in self.paths:
            check_word(self.type, "paths.device", path.device)
            check_range(self.type, "paths.start", path.start)

    def format(self) -> str:
        """The text for the kernel. Raises InvalidTableError as `check`."""
        self.check()
        paths = [f"{path.device} {int(path.start)}" for path in self.paths]
        return " ".join([str(len(paths)), str(int(self.region_size)), "0", *paths])


def _path(words: Words) -> SwitchPath:
    return SwitchPath(words.device("paths.device"), Sectors(words.number("paths.start")))


@dataclass(frozen=True, slots=True)
class RegionMapping:
    """Put a region on a path.

    Attributes:
        path: the number of the path, from 0.
        region: the number of the region, from 0; None for the one after the last that was set.
    """

    path: int
    region: int | None = None


@dataclass(frozen=True, slots=True)
class RepeatMappings:
    """Repeat what was set last on the regions that follow.

    Attributes:
        cycle: how many regions make up the pattern, 1 or more.
        regions: on how many regions that follow it is repeated.
    """

    cycle: int
    regions: int


@dataclass(frozen=True, slots=True)
class SetRegionMappings(TargetMessage):
    """Put regions on paths. What stands before a wrong one is set all the same.

    Attributes:
        mappings: in order; the first names its region.
    """

    mappings: tuple[RegionMapping | RepeatMappings, ...]

    def format(self) -> str:
        """The text for TARGET_MSG. Raises InvalidMessageError."""
        _check_mappings(self.mappings)
        return " ".join(["set_region_mappings", *map(_mapping_word, self.mappings)])


def _mapping_word(mapping: RegionMapping | RepeatMappings) -> str:
    match mapping:
        case RepeatMappings(cycle, regions):
            return f"R{cycle:x},{regions:x}"
        case RegionMapping(path, None):
            return f":{path:x}"
        case RegionMapping(path, region):
            return f"{region:x}:{path:x}"


def _check_mappings(mappings: tuple[RegionMapping | RepeatMappings, ...]) -> None:
    first = mappings[0] if mappings else None
    # without it the kernel would begin at region 1
    named = isinstance(first, RegionMapping) and first.region is not None
    _require(named, "must begin with one that names its region")
    at = 0
    for mapping in mappings:
        at = _next_region(at, mapping)
        _require(0 <= at <= U64_MAX, f"cannot reach region {at}")


def _next_region(at: int, mapping: RegionMapping | RepeatMappings) -> int:
    if isinstance(mapping, RepeatMappings):
        # process_set_region_mappings counts from region 0, set or not
        _require(1 <= mapping.cycle <= at + 1, f"cannot repeat {mapping.cycle} of {at + 1} regions")
        _require(mapping.regions >= 0, "cannot repeat on fewer than 0 regions")
        return at + mapping.regions
    _require(0 <= mapping.path <= U32_MAX, f"cannot have path {mapping.path}")
    return at + 1 if mapping.region is None else mapping.region


def _require(condition: bool, rule: str) -> None:
    if not condition:
        raise InvalidMessageError(f"switch: mappings {rule}")


TARGET = Target(
    type="switch",
    module="dm-switch",
    since="5.10",
    summary="regions of fixed size, each on one of several paths",
    table=SwitchTable.parse,
    status=no_status,
    tables=(SwitchTable,),
    statuses=(EmptyStatus,),
    messages=(SetRegionMappings,),
    notice=Notice.NOTHING,
    poll=None,
)
