from __future__ import annotations

import pytest

from dmwatch.errors import InvalidTableError, StatusParseError, TableParseError
from dmwatch.names import DeviceNumber
from dmwatch.severity import Severity
from dmwatch.targets import Gauge, Seen, find
from dmwatch.targets.thin import (
    ThinError,
    ThinFail,
    ThinTable,
    ThinTableUnavailable,
    ThinUnbound,
    ThinWorking,
)
from dmwatch.units import Sectors

THIN = find("thin")


@pytest.mark.parametrize(
    ("text", "table"),
    [
        ("254:2 0", ThinTable(DeviceNumber(254, 2), 0)),
        ("254:2 16777215 7:0", ThinTable(DeviceNumber(254, 2), 16777215, DeviceNumber(7, 0))),
        ("/dev/mapper/pool 7 /dev/sdb", ThinTable("/dev/mapper/pool", 7, "/dev/sdb")),
    ],
)
def test_table_reads_and_writes(text: str, table: ThinTable) -> None:
    assert THIN.table(text) == table
    assert table.format() == text


@pytest.mark.parity("B7")
@pytest.mark.parametrize("answer", ["Fail", "-"])
def test_the_kernel_may_answer_without_a_table(answer: str) -> None:
    table = THIN.table(answer)
    assert table == ThinTableUnavailable(answer)
    with pytest.raises(InvalidTableError, match=f"answered '{answer}'"):
        table.format()


def test_a_device_may_be_called_fail() -> None:
    assert THIN.table("Fail 7") == ThinTable("Fail", 7)


@pytest.mark.parametrize(
    ("text", "field", "position"),
    [
        ("", "pool", 1),
        ("254:2", "thin_id", 2),
        ("254:2 x", "thin_id", 2),
        ("254:2 1 7:0 9", "end", 4),
    ],
)
def test_table_errors(text: str, field: str, position: int) -> None:
    with pytest.raises(TableParseError) as caught:
        THIN.table(text)
    assert (caught.value.field, caught.value.position) == (field, position)


@pytest.mark.parity(44)
@pytest.mark.parity("B25")
@pytest.mark.parametrize(
    ("table", "field"),
    [
        (ThinTable("/dev/p", 1 << 24), "thin_id"),
        (ThinTable("/dev/p q", 1), "pool"),
        (ThinTable("/dev/p", 1, ""), "origin"),
        (ThinTable("/dev/p", 1, "/dev/p"), "origin"),
    ],
)
def test_rules(table: ThinTable, field: str) -> None:
    with pytest.raises(InvalidTableError) as caught:
        table.format()
    assert caught.value.field == field


@pytest.mark.parity("B7")
@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("0 -", ThinWorking(Sectors(0), None)),
        ("8192 8191", ThinWorking(Sectors(8192), Sectors(8191))),
        ("65536 65535 new", ThinWorking(Sectors(65536), Sectors(65535), extra=("new",))),
        ("Fail", ThinFail()),
        ("-", ThinUnbound()),
        ("Error", ThinError()),
    ],
)
def test_status(text: str, status: object) -> None:
    assert THIN.status(text) == status


def test_status_error() -> None:
    with pytest.raises(StatusParseError) as caught:
        THIN.status("8192")
    assert (caught.value.field, caught.value.position) == ("highest_mapped", 2)


def look(text: str | None, table: str | None = None) -> Seen:
    status = None if text is None else THIN.status(text)
    asked = None if table is None else THIN.table(table)
    return Seen("thin", Sectors(0), Sectors(10000), status, asked)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("8192 8191", []),
        ("Fail", [("thin.failed", Severity.CRITICAL, None)]),
        ("Error", [("thin.unreadable", Severity.ERROR, None)]),
        ("-", []),
        (None, []),
    ],
)
def test_what_stands(text: str | None, expected: object) -> None:
    found = THIN.observe(look(text, "Fail")).findings
    assert [(f.type, f.severity, f.key) for f in found] == expected


def test_usage_is_a_share_of_the_volume_and_off_until_configured() -> None:
    (gauge,) = THIN.observe(look("8192 8191")).gauges
    assert gauge == Gauge("thin.usage", 8192, 10000, "sectors")
    assert [row.rungs for row in THIN.conditions if row.type == "thin.usage"] == [()]  # type: ignore[union-attr]


def test_a_block_beyond_the_end_is_not_more_than_everything() -> None:
    (gauge,) = THIN.observe(look("10112 10111")).gauges
    assert gauge.percent == 100


def test_no_moments() -> None:
    assert THIN.moments(look("0 -"), look("Fail")) == ()


def test_it_is_read_with_its_pool() -> None:
    assert THIN.pooled
