from __future__ import annotations

import pytest

from dmwatch.errors import InvalidTableError, StatusParseError, TableParseError
from dmwatch.names import DeviceNumber
from dmwatch.severity import Severity
from dmwatch.targets import EmptyStatus, Seen, TargetTable, find
from dmwatch.targets.striped import (
    StripedHealth,
    StripedLeg,
    StripedLegData,
    StripedLegStatus,
    StripedStatus,
    StripedTable,
)
from dmwatch.units import Sectors

STRIPED = find("striped")
A, B = DeviceNumber(254, 0), DeviceNumber(254, 1)

TABLES = [
    (
        "2 128 254:0 0 254:1 8",
        StripedTable(Sectors(128), (StripedLeg(A, Sectors(0)), StripedLeg(B, Sectors(8)))),
    ),
    ("1 3 /dev/sda 0", StripedTable(Sectors(3), (StripedLeg("/dev/sda", Sectors(0)),))),
]


def look(text: str) -> Seen:
    return Seen("striped", Sectors(0), Sectors(2048), STRIPED.status(text))


@pytest.mark.parametrize(("text", "table"), TABLES)
def test_table_reads_and_writes(text: str, table: TargetTable) -> None:
    assert STRIPED.table(text) == table
    assert table.format() == text


@pytest.mark.parametrize(
    "text", ["", "2", "2 128 254:0 0", "1 128 254:0 0 254:1 0", "2 x 254:0 0 254:1 0"]
)
def test_table_is_refused(text: str) -> None:
    with pytest.raises(TableParseError):
        STRIPED.table(text)


@pytest.mark.parametrize(
    ("chunk", "legs", "field"),
    [(0, 2, "chunk"), (1 << 32, 2, "chunk"), (8, 0, "legs")],
)
def test_check(chunk: int, legs: int, field: str) -> None:
    table = StripedTable(Sectors(chunk), (StripedLeg(A, Sectors(0)),) * legs)
    with pytest.raises(InvalidTableError) as caught:
        table.format()
    assert caught.value.field == field


def test_check_of_a_device() -> None:
    table = StripedTable(Sectors(8), (StripedLeg("/dev/my disk", Sectors(0)),))
    with pytest.raises(InvalidTableError, match="device must be one word"):
        table.check()


def test_the_length_is_whole_chunks_on_every_leg() -> None:
    table = TABLES[0][1]
    assert table.line(0, 512).text == table.format()
    with pytest.raises(InvalidTableError, match="length must be a multiple"):
        table.line(0, 384)


def test_status() -> None:
    alive, dead = StripedHealth.ALIVE, StripedHealth.DEAD
    expected = StripedStatus((StripedLegStatus(A, alive), StripedLegStatus(B, dead)))
    assert STRIPED.status("2 254:0 254:1 1 AD") == expected


@pytest.mark.parametrize(
    ("text", "field", "position"),
    [
        ("2 254:0 254:1 1 A", "health", 5),
        ("2 254:0 254:1 1 AX", "health", 5),
        ("9 254:0 254:1 1 AA", "#legs", 1),
    ],
)
def test_status_errors(text: str, field: str, position: int) -> None:
    with pytest.raises(StatusParseError) as caught:
        STRIPED.status(text)
    assert (caught.value.field, caught.value.position) == (field, position)


def test_what_stands() -> None:
    assert STRIPED.observe(look("2 254:0 254:1 1 AA")).findings == ()
    (found,) = STRIPED.observe(look("2 254:0 254:1 1 AD")).findings
    assert (found.type, found.severity, found.key) == (
        "striped.leg-failed",
        Severity.CRITICAL,
        "1",
    )
    assert found.data == StripedLegData(1, "254:1")
    assert "leg 1 (254:1)" in found.summary


def test_what_stands_without_a_status() -> None:
    for status in (None, EmptyStatus()):
        seen = Seen("striped", Sectors(0), Sectors(8), status)
        assert STRIPED.observe(seen).findings == ()
        assert STRIPED.parts(seen) is None


def test_parts() -> None:
    assert STRIPED.parts(look("2 254:0 254:1 1 AD")) == frozenset({"0", "1"})
