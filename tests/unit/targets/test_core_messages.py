from __future__ import annotations

import pytest

from dmwatch.errors import InvalidMessageError, ParseError
from dmwatch.targets import TargetMessage, plain
from dmwatch.targets.core_messages import (
    MESSAGES,
    CancelDeferredRemove,
    StatsClear,
    StatsCreate,
    StatsDelete,
    StatsList,
    StatsPrint,
    StatsPrintClear,
    StatsRange,
    StatsSetAux,
)
from dmwatch.targets.stats_replies import (
    StatsArea,
    StatsCounters,
    StatsRegion,
    parse_areas,
    parse_region_id,
    parse_regions,
)
from dmwatch.units import Sectors

WHOLE = StatsCreate(areas=100)
ALL_BUT_AUX = StatsCreate(
    StatsRange(Sectors(16), Sectors(2048)),
    area_size=Sectors(1024),
    precise_timestamps=True,
    histogram=(1000, 2000),
    program_id="7",
)


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (WHOLE, "@stats_create - /100 0"),
        (ALL_BUT_AUX, "@stats_create 16+2048 1024 2 precise_timestamps histogram:1000,2000 7"),
        (StatsCreate(areas=1, aux_data="a b"), "@stats_create - /1 0 - a\\ b"),
        (StatsDelete(0), "@stats_delete 0"),
        (StatsClear(3), "@stats_clear 3"),
        (StatsList(), "@stats_list"),
        (StatsList("dmwatch"), "@stats_list dmwatch"),
        (StatsPrint(0), "@stats_print 0"),
        (StatsPrint(0, 2, 5), "@stats_print 0 2 5"),
        (StatsPrint(0, first=2), "@stats_print 0 2 -"),
        (StatsPrintClear(0, count=5), "@stats_print_clear 0 - 5"),
        (StatsSetAux(0, "foo bar\\baz"), "@stats_set_aux 0 foo\\ bar\\\\baz"),
        (CancelDeferredRemove(), "@cancel_deferred_remove"),
    ],
)
def test_messages(message: TargetMessage, text: str) -> None:
    assert message.format() == text
    assert type(message) in MESSAGES


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        (StatsCreate(), "area_size or areas must be given, and not both"),
        (StatsCreate(areas=1, area_size=Sectors(1)), "and not both"),
        (StatsCreate(areas=0), "areas must be 1 to"),
        (StatsCreate(area_size=Sectors(0)), "area_size must be 1 to"),
        (StatsCreate(StatsRange(Sectors(0), Sectors(0)), areas=1), "range must be 1 sector"),
        (
            StatsCreate(StatsRange(Sectors(1), Sectors((1 << 64) - 1)), areas=1),
            "range must end within 64 bits",
        ),
        (StatsCreate(areas=1, histogram=(0, 1)), "histogram must rise, and begin above 0"),
        (StatsCreate(areas=1, histogram=(2, 2)), "histogram must rise"),
        (StatsCreate(areas=1, histogram=(1 << 64,)), "histogram must be at most"),
        (StatsCreate(areas=1, program_id="a b"), "program_id must be one word"),
        (StatsCreate(areas=1, program_id=""), "program_id cannot be empty"),
        (StatsSetAux(0, "a\nb"), "aux_data cannot contain NUL or a line's end"),
        (StatsSetAux(0, " "), "aux_data cannot be empty"),
        (StatsDelete(-1), "region_id must be 0 to 2147483647"),
        (StatsPrint(1 << 31), "region_id must be 0 to 2147483647"),
        (StatsPrint(0, first=-1), "first must be 0 to"),
    ],
)
def test_messages_that_the_kernel_would_refuse(message: TargetMessage, problem: str) -> None:
    with pytest.raises(InvalidMessageError, match=problem):
        message.format()


def test_reply_of_create() -> None:
    assert parse_region_id("12") == 12
    with pytest.raises(ParseError, match=r"region_id \(word 1\) must be a number"):
        parse_region_id("no")


REGION = StatsRegion(0, Sectors(0), Sectors(2048), Sectors(1024), "-", "-")


@pytest.mark.parametrize(
    ("line", "region"),
    [
        ("0: 0+2048 1024 - -", REGION),
        (
            "7: 16+2048 1024 dmwatch a  b precise_timestamps histogram:1000,2000",
            StatsRegion(
                7,
                Sectors(16),
                Sectors(2048),
                Sectors(1024),
                "dmwatch",
                "a  b",
                precise_timestamps=True,
                histogram=(1000, 2000),
            ),
        ),
        (
            "0: 0+2048 1024 - - histogram:5",
            StatsRegion(0, Sectors(0), Sectors(2048), Sectors(1024), "-", "-", histogram=(5,)),
        ),
        (
            "0: 0+2048 1024 - precise_timestamps",
            StatsRegion(0, Sectors(0), Sectors(2048), Sectors(1024), "-", "precise_timestamps"),
        ),
        (
            "0: 0+2048 1024 - histogram:5 histogram:x",
            StatsRegion(
                0, Sectors(0), Sectors(2048), Sectors(1024), "-", "histogram:5 histogram:x"
            ),
        ),
    ],
)
def test_reply_of_list(line: str, region: StatsRegion) -> None:
    assert parse_regions(f"{line}\n") == (region,)


def test_replies_have_any_number_of_lines() -> None:
    assert parse_regions("") == ()
    assert parse_regions("0: 0+2048 1024 - -\n0: 0+2048 1024 - -\n") == (REGION, REGION)
    assert parse_areas("") == ()


@pytest.mark.parametrize(
    ("line", "field", "position"),
    [
        ("0 0+2048 1024 - -", "region_id", 1),
        ("0: 0-2048 1024 - -", "range", 2),
        ("0: 0+2048 x - -", "step", 3),
        ("0: 0+2048 1024 -", "aux_data", 5),
    ],
)
def test_wrong_reply_of_list(line: str, field: str, position: int) -> None:
    with pytest.raises(ParseError) as caught:
        parse_regions(line)
    found = caught.value
    assert (found.target, found.field, found.position) == ("@stats_list", field, position)


AREA = StatsArea(
    start=Sectors(0),
    length=Sectors(1024),
    reads=StatsCounters(1, 2, Sectors(3), 4, 12),
    writes=StatsCounters(5, 6, Sectors(7), 8, 13),
    in_flight=9,
    busy_time=10,
    weighted_time=11,
)


@pytest.mark.parametrize(
    ("line", "histogram", "extra"),
    [
        ("0+1024 1 2 3 4 5 6 7 8 9 10 11 12 13", (), ()),
        ("0+1024 1 2 3 4 5 6 7 8 9 10 11 12 13 0:1:2", (0, 1, 2), ()),
        ("0+1024 1 2 3 4 5 6 7 8 9 10 11 12 13 0:1:2 new", (0, 1, 2), ("new",)),
    ],
)
def test_reply_of_print(line: str, histogram: tuple[int, ...], extra: tuple[str, ...]) -> None:
    (area,) = parse_areas(f"{line}\n")
    expected = plain(AREA) | {"histogram": list(histogram), "extra": list(extra)}
    assert plain(area) | {"extra": list(area.extra)} == expected


@pytest.mark.parametrize(
    ("line", "field", "position"),
    [
        ("0+1024 1 2 3 4 5 6 7 8 9 10 11 12", "writes.busy_time", 14),
        ("1024 1 2 3 4 5 6 7 8 9 10 11 12 13", "area", 1),
        ("0+1024 1 2 3 4 5 6 7 8 9 10 11 12 13 1:x", "histogram", 15),
    ],
)
def test_wrong_reply_of_print(line: str, field: str, position: int) -> None:
    with pytest.raises(ParseError) as caught:
        parse_areas(line)
    found = caught.value
    assert (found.target, found.field, found.position) == ("@stats_print", field, position)
