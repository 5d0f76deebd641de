from __future__ import annotations

import pytest

from dmwatch.errors import InvalidMessageError, InvalidTableError, TableParseError
from dmwatch.names import DeviceNumber
from dmwatch.targets import find
from dmwatch.targets.switch import (
    RegionMapping,
    RepeatMappings,
    SetRegionMappings,
    SwitchPath,
    SwitchTable,
)
from dmwatch.units import Sectors

SWITCH = find("switch")
PATHS = (
    SwitchPath(DeviceNumber(254, 0), Sectors(0)),
    SwitchPath(DeviceNumber(254, 1), Sectors(16)),
)
TABLE = SwitchTable(Sectors(8), PATHS)


def test_table_reads_and_writes() -> None:
    assert SWITCH.table("2 8 0 254:0 0 254:1 16") == TABLE
    assert TABLE.format() == "2 8 0 254:0 0 254:1 16"


@pytest.mark.parametrize(
    ("text", "field", "position"),
    [
        ("3 8 0 254:0 0 254:1", "#paths", 1),
        ("2 8 1 x 254:0 0 254:1 0", "#options", 3),
        ("2 8 0 254:0 0 254:1", "paths.start", 7),
        ("1 8 0 254:0 0 254:1", "end", 6),
    ],
)
def test_wrong_table(text: str, field: str, position: int) -> None:
    with pytest.raises(TableParseError) as caught:
        SWITCH.table(text)
    assert (caught.value.field, caught.value.position) == (field, position)


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        (SwitchTable(Sectors(0), PATHS), "region_size must be 1 to"),
        (SwitchTable(Sectors(8), ()), "paths must be one or more"),
    ],
)
def test_what_the_kernel_would_refuse(table: SwitchTable, problem: str) -> None:
    with pytest.raises(InvalidTableError, match=problem):
        table.format()


def test_message() -> None:
    mappings = (
        RegionMapping(1, region=0),
        RegionMapping(0),
        RepeatMappings(2, 16),
        RegionMapping(11, region=255),
    )
    assert SetRegionMappings(mappings).format() == "set_region_mappings 0:1 :0 R2,10 ff:b"


@pytest.mark.parametrize(
    ("mappings", "problem"),
    [
        ((), "must begin with one that names its region"),
        ((RegionMapping(0),), "must begin with one that names its region"),
        ((RepeatMappings(1, 1),), "must begin with one that names its region"),
        ((RegionMapping(0, 0), RepeatMappings(2, 1)), "cannot repeat 2 of 1 regions"),
        ((RegionMapping(0, 0), RepeatMappings(0, 1)), "cannot repeat 0 of 1 regions"),
        ((RegionMapping(0, 0), RepeatMappings(1, -1)), "cannot repeat on fewer than 0"),
        ((RegionMapping(-1, 0),), "cannot have path -1"),
        ((RegionMapping(0, -1),), "cannot reach region -1"),
    ],
)
def test_messages_that_the_kernel_would_refuse(
    mappings: tuple[RegionMapping | RepeatMappings, ...], problem: str
) -> None:
    with pytest.raises(InvalidMessageError, match=f"switch: mappings {problem}"):
        SetRegionMappings(mappings).format()
