"""Messages that the device-mapper core answers, whatever the target.

    @stats_*                    counters of I/O on regions of a device (drivers/md/dm-stats.c,
                                Documentation/admin-guide/device-mapper/statistics.rst)
    @cancel_deferred_remove     drivers/md/dm.c, dm_cancel_deferred_remove

They are sent with any sector, and work on a device without a table too. Each value formats itself;
`stats_replies` reads what comes back from @stats_list and @stats_print.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from dmwatch.errors import InvalidMessageError
from dmwatch.targets.base import TargetMessage
from dmwatch.targets.words import U32_MAX, U64_MAX, quoted
from dmwatch.units import Sectors

REGION_ID_MAX: Final = (1 << 31) - 1


@dataclass(frozen=True, slots=True)
class StatsRange:
    """A part of a device.

    Attributes:
        start: its first sector.
        length: 1 or more sectors; it may reach beyond the end of the device.
    """

    start: Sectors
    length: Sectors


@dataclass(frozen=True, slots=True)
class StatsCreate(TargetMessage):
    """Count the I/O on a region. The reply is the region's id (`parse_region_id`).

    Give `area_size` or `areas`. The kernel keeps the counters of each area for each processor, and
    refuses with ENOMEM what would take more than a quarter of the memory.

    Attributes:
        range: where, or None for the whole device as long as it is now.
        area_size: the region is cut into areas of so many sectors, 1 or more.
        areas: the region is cut into so many areas, 1 to 4,294,967,295.
        precise_timestamps: times are in nanoseconds, not in milliseconds.
        histogram: bounds of a histogram of latencies, in the unit of the times: rising, above 0.
        program_id: who made the region: a word for @stats_list. The kernel makes "-" of None.
        aux_data: anything its maker wants to find there again. The kernel makes "-" of None.
    """

    range: StatsRange | None = None
    area_size: Sectors | None = None
    areas: int | None = None
    precise_timestamps: bool = False
    histogram: tuple[int, ...] = ()
    program_id: str | None = None
    aux_data: str | None = None

    def format(self) -> str:
        """The text for TARGET_MSG. Raises InvalidMessageError."""
        options = self._options()
        # the number of options is always given: a program_id of digits would be taken for it
        words = ["@stats_create", self._range(), self._step(), str(len(options)), *options]
        if self.program_id is not None or self.aux_data is not None:
            words.append(_word("program_id", "-" if self.program_id is None else self.program_id))
        if self.aux_data is not None:
            words.append(_word("aux_data", self.aux_data))
        return " ".join(words)

    def _range(self) -> str:
        if self.range is None:
            return "-"
        start, length = int(self.range.start), int(self.range.length)
        _require(length >= 1, "range", "must be 1 sector or more")
        _require(start + length <= U64_MAX, "range", "must end within 64 bits")
        return f"{start}+{length}"

    def _step(self) -> str:
        one = (self.area_size is None) != (self.areas is None)
        _require(one, "area_size", "or areas must be given, and not both")
        if self.areas is not None:
            _require(1 <= self.areas <= U32_MAX, "areas", f"must be 1 to {U32_MAX}")
            return f"/{self.areas}"
        size = int(self.area_size or 0)
        _require(1 <= size <= U64_MAX, "area_size", f"must be 1 to {U64_MAX}")
        return str(size)

    def _options(self) -> list[str]:
        options = ["precise_timestamps"] if self.precise_timestamps else []
        if self.histogram:
            rising = all(low < high for low, high in pairwise((0, *self.histogram)))
            _require(rising, "histogram", "must rise, and begin above 0")
            _require(self.histogram[-1] <= U64_MAX, "histogram", f"must be at most {U64_MAX}")
            options.append(f"histogram:{','.join(map(str, self.histogram))}")
        return options


@dataclass(frozen=True, slots=True)
class StatsDelete(TargetMessage):
    """Count no more on a region, and forget it.

    Attributes:
        region_id: which (else ENOENT).
    """

    region_id: int

    def format(self) -> str:
        """The text for TARGET_MSG. Raises InvalidMessageError."""
        return f"@stats_delete {_region_id(self.region_id)}"


@dataclass(frozen=True, slots=True)
class StatsClear(TargetMessage):
    """Set a region's counters to 0, but for I/O that is under way.

    Attributes:
        region_id: which (else ENOENT).
    """

    region_id: int

    def format(self) -> str:
        """The text for TARGET_MSG. Raises InvalidMessageError."""
        return f"@stats_clear {_region_id(self.region_id)}"


@dataclass(frozen=True, slots=True)
class StatsList(TargetMessage):
    """List the regions of a device. The reply is for `parse_regions`.

    Attributes:
        program_id: only those with this word, or None for all.
    """

    program_id: str | None = None

    def format(self) -> str:
        """The text for TARGET_MSG. Raises InvalidMessageError."""
        if self.program_id is None:
            return "@stats_list"
        return f"@stats_list {_word('program_id', self.program_id)}"


@dataclass(frozen=True, slots=True)
class StatsPrint(TargetMessage):
    """Give a region's counters, one line for each area. The reply is for `parse_areas`.

    Attributes:
        region_id: which (else ENOENT).
        first: the first area, from 0; None for the first of all.
        count: how many areas at most; None for all that follow.
    """

    region_id: int
    first: int | None = None
    count: int | None = None

    def format(self) -> str:
        """The text for TARGET_MSG. Raises InvalidMessageError."""
        return _print("@stats_print", self.region_id, self.first, self.count)


@dataclass(frozen=True, slots=True)
class StatsPrintClear(TargetMessage):
    """Give a region's counters and set them to 0, so that nothing is lost in between.

    Where the reply does not fit into the caller's buffer, nothing is set to 0.

    Attributes:
        region_id: which (else ENOENT).
        first: the first area, from 0; None for the first of all.
        count: how many areas at most; None for all that follow.
    """

    region_id: int
    first: int | None = None
    count: int | None = None

    def format(self) -> str:
        """The text for TARGET_MSG. Raises InvalidMessageError."""
        return _print("@stats_print_clear", self.region_id, self.first, self.count)


@dataclass(frozen=True, slots=True)
class StatsSetAux(TargetMessage):
    """Store other auxiliary data with a region.

    Attributes:
        region_id: which (else ENOENT).
        aux_data: 1 character or more.
    """

    region_id: int
    aux_data: str

    def format(self) -> str:
        """The text for TARGET_MSG. Raises InvalidMessageError."""
        return f"@stats_set_aux {_region_id(self.region_id)} {_word('aux_data', self.aux_data)}"


@dataclass(frozen=True, slots=True)
class CancelDeferredRemove(TargetMessage):
    """Keep a device that was to be removed on its last close."""

    def format(self) -> str:
        """The text for TARGET_MSG."""
        return "@cancel_deferred_remove"


def _print(name: str, region_id: int, first: int | None, count: int | None) -> str:
    words = [name, _region_id(region_id)]
    if first is None and count is None:
        return " ".join(words)
    for field, value in (("first", first), ("count", count)):
        fits = value is None or 0 <= value <= U64_MAX
        _require(fits, field, f"must be 0 to {U64_MAX}")
        words.append("-" if value is None else str(value))
    return " ".join(words)


def _region_id(value: int) -> str:
    _require(0 <= value <= REGION_ID_MAX, "region_id", f"must be 0 to {REGION_ID_MAX}")
    return str(value)


def _word(field: str, text: str) -> str:
    # @stats_list prints them in one line, program_id as the word before aux_data
    blank = any(blank in text for blank in " \t\v\f")
    _require(not blank or field == "aux_data", field, "must be one word")
    _require(bool(text.strip()), field, "cannot be empty")
    _require(not any(c in text for c in "\x00\n\r"), field, "cannot contain NUL or a line's end")
    return quoted(text)


def _require(condition: bool, field: str, rule: str) -> None:
    if not condition:
        raise InvalidMessageError(f"stats: {field} {rule}")


MESSAGES = (
    StatsCreate,
    StatsDelete,
    StatsClear,
    StatsList,
    StatsPrint,
    StatsPrintClear,
    StatsSetAux,
    CancelDeferredRemove,
)
