"""Replies of the core's @stats_ messages, typed (drivers/md/dm-stats.c).

A reply that did not fit its buffer ends in the middle of a line: what sends the message must look
at the BUFFER_FULL flag before it gives the text to these.
"""

from __future__ import annotations

from dataclasses import dataclass

from dmwatch.errors import ParseError
from dmwatch.targets.core_messages import REGION_ID_MAX
from dmwatch.targets.words import Words
from dmwatch.units import Sectors


@dataclass(frozen=True, slots=True)
class StatsRegion:
    """A region, as @stats_list shows it.

    Attributes:
        region_id: what the other messages know it by.
        start: its first sector.
        length: how long it is.
        step: how long each area is; the last can be shorter.
        program_id: who made it; "-" where that was not said.
        aux_data: what its maker stored with it; "-" for nothing.
        precise_timestamps: times are in nanoseconds, not in milliseconds.
        histogram: bounds of the histogram, in the unit of the times; empty where there is none.
    """

    region_id: int
    start: Sectors
    length: Sectors
    step: Sectors
    program_id: str
    aux_data: str
    precise_timestamps: bool = False
    histogram: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class StatsCounters:
    """What reads, or writes, of an area came to.

    Attributes:
        completed: how many were completed.
        merged: how many were merged.
        sectors: how much was read or written.
        time: spent by all of them together, each counted in full.
        busy_time: during which at least one was under way.
    """

    completed: int
    merged: int
    sectors: Sectors
    time: int
    busy_time: int


@dataclass(frozen=True, slots=True)
class StatsArea:
    """The counters of one area. Times are in milliseconds, or nanoseconds if the region says so.

    Attributes:
        start: its first sector.
        length: the region's step. The last area can be shorter; the kernel prints the step for it
            too.
        reads: of reads.
        writes: of writes.
        in_flight: I/O under way.
        busy_time: during which any I/O was under way.
        weighted_time: the same, counted once for each I/O under way.
        histogram: how many took a time below the first bound, between the bounds, and from the last
            bound on; empty where the region has none.
        extra: words that this version of dmwatch does not know.
    """

    start: Sectors
    length: Sectors
    reads: StatsCounters
    writes: StatsCounters
    in_flight: int
    busy_time: int
    weighted_time: int
    histogram: tuple[int, ...] = ()
    extra: tuple[str, ...] = ()


def parse_region_id(text: str) -> int:
    """Read the reply of @stats_create.

    Raises:
        ParseError: where it is not a region's id.
    """
    words = Words("@stats_create", text, ParseError)
    region_id = words.number("region_id", REGION_ID_MAX)
    words.end()
    return region_id


def parse_regions(text: str) -> tuple[StatsRegion, ...]:
    """Read the reply of @stats_list.

    Raises:
        ParseError: where a line does not follow the grammar; it has that line as its text.
    """
    return tuple(_region(line) for line in text.split("\n") if line)


def parse_areas(text: str) -> tuple[StatsArea, ...]:
    """Read the reply of @stats_print or @stats_print_clear.

    Raises:
        ParseError: where a line does not follow the grammar; it has that line as its text.
    """
    return tuple(_area(line) for line in text.split("\n") if line)


def _region(line: str) -> StatsRegion:
    words = Words("@stats_list", line, ParseError)
    region_id = _region_id(words)
    start, length = words.ratio("range", "+")
    step = words.number("step")
    program_id = words.word("program_id")
    words.word("aux_data")
    aux_data, precise, histogram = _tail(line)
    return StatsRegion(
        region_id=region_id,
        start=Sectors(start),
        length=Sectors(length),
        step=Sectors(step),
        program_id=program_id,
        aux_data=aux_data,
        precise_timestamps=precise,
        histogram=histogram,
    )


def _tail(line: str) -> tuple[str, bool, tuple[int, ...]]:
    # aux_data is free text, blanks and all: what follows it is taken off from the end
    rest = "".join(line.split(" ", 4)[4:])
    before, _, bounds = rest.rpartition(" histogram:")
    histogram = _numbers(bounds, ",") if before else ()
    if not histogram:
        before = rest
    aux_data = before.removesuffix(" precise_timestamps")
    return aux_data, aux_data != before, histogram


def _region_id(words: Words) -> int:
    word = words.word("region_id")
    digits = word.removesuffix(":")
    if digits == word or not _is_number(digits):
        words.fail("region_id", "must be a number with ':' after it")
    return int(digits)


def _area(line: str) -> StatsArea:
    words = Words("@stats_print", line, ParseError)
    start, length = words.ratio("area", "+")
    reads = [words.number(f"reads.{name}") for name in _COUNTERS]
    writes = [words.number(f"writes.{name}") for name in _COUNTERS]
    in_flight = words.signed("in_flight")
    busy_time, weighted_time = words.number("busy_time"), words.number("weighted_time")
    return StatsArea(
        start=Sectors(start),
        length=Sectors(length),
        reads=_counters(reads, words.number("reads.busy_time")),
        writes=_counters(writes, words.number("writes.busy_time")),
        in_flight=in_flight,
        busy_time=busy_time,
        weighted_time=weighted_time,
        histogram=_histogram(words) if words.left else (),
        extra=words.rest(),
    )


_COUNTERS = ("completed", "merged", "sectors", "time")


def _counters(values: list[int], busy_time: int) -> StatsCounters:
    completed, merged, sectors, time = values
    return StatsCounters(completed, merged, Sectors(sectors), time, busy_time)


def _histogram(words: Words) -> tuple[int, ...]:
    histogram = _numbers(words.word("histogram"), ":")
    if not histogram:
        words.fail("histogram", "must be numbers with ':' between them")
    return histogram


def _numbers(text: str, separator: str) -> tuple[int, ...]:
    parts = text.split(separator)
    return tuple(map(int, parts)) if all(map(_is_number, parts)) else ()


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 20
