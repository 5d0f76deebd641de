"""linear, error, zero, delay, ebs, unstriped: targets whose text is all there is to them."""

from __future__ import annotations

import pytest

from dmwatch.errors import InvalidTableError, StatusParseError, TableParseError
from dmwatch.names import DeviceNumber
from dmwatch.targets import EmptyStatus, Observation, Seen, TargetTable, find
from dmwatch.targets.delay import DelayPath, DelayStatus, DelayTable
from dmwatch.targets.ebs import EbsTable
from dmwatch.targets.error import ErrorTable
from dmwatch.targets.linear import LinearTable
from dmwatch.targets.unstriped import UnstripedTable
from dmwatch.targets.zero import ZeroTable
from dmwatch.units import Sectors

SDA, DM1 = DeviceNumber(8, 0), DeviceNumber(254, 1)
READS = DelayPath(SDA, Sectors(0), 5)

TABLES: list[tuple[str, TargetTable]] = [
    ("8:0 2048", LinearTable(SDA, Sectors(2048))),
    ("/dev/sda 0", LinearTable("/dev/sda", Sectors(0))),
    ("", ErrorTable()),
    ("8:0 16", ErrorTable(SDA, Sectors(16))),
    ("", ZeroTable()),
    ("8:0 0 5", DelayTable(READS)),
    ("8:0 0 5 254:1 8 0", DelayTable(READS, DelayPath(DM1, Sectors(8), 0))),
    (
        "8:0 0 5 254:1 8 0 254:1 8 20",
        DelayTable(READS, DelayPath(DM1, Sectors(8), 0), DelayPath(DM1, Sectors(8), 20)),
    ),
    ("8:0 1024 8", EbsTable(SDA, Sectors(1024), Sectors(8))),
    ("8:0 1024 1 8", EbsTable(SDA, Sectors(1024), Sectors(1), Sectors(8))),
    ("2 128 0 254:1 0", UnstripedTable(2, Sectors(128), 0, DM1, Sectors(0))),
]


@pytest.mark.parametrize(("text", "table"), TABLES)
def test_table_reads_and_writes(text: str, table: TargetTable) -> None:
    assert find(table.type).table(text) == table
    assert table.format() == text


@pytest.mark.parametrize(
    ("target", "text", "field", "position"),
    [
        ("linear", "8:0", "start", 2),
        ("linear", "8:0 x", "start", 2),
        ("linear", "8:0 0 0", "end", 3),
        ("zero", "8:0", "end", 1),
        ("error", "8:0", "start", 2),
        ("delay", "8:0 0 5 254:1", "writes.start", 5),
        ("delay", "8:0 0 5 8:0 0 5 8:0 0 5 8:0", "end", 10),
        ("ebs", "8:0 0", "emulated", 3),
        ("unstriped", "2 128 0 254:1", "start", 5),
    ],
)
def test_wrong_table(target: str, text: str, field: str, position: int) -> None:
    with pytest.raises(TableParseError) as caught:
        find(target).table(text)
    found = caught.value
    assert (found.target, found.field, found.position) == (target, field, position)


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        (LinearTable("a b", Sectors(0)), "linear: device must be one word"),
        (LinearTable("/dev/à", Sectors(0)), "linear: device has the byte A0"),
        (ErrorTable(SDA), "error: start must be given with the device"),
        (DelayTable(READS, flushes=READS), "delay: flushes can have a path only where"),
        (DelayTable(DelayPath(SDA, Sectors(0), 1 << 32)), "delay: reads.delay must be 0 to"),
        (EbsTable(SDA, Sectors(0), Sectors(3)), "ebs: emulated must be a power of two"),
        (EbsTable(SDA, Sectors(0), Sectors(256)), "ebs: emulated must be 1 to 128"),
        (EbsTable(SDA, Sectors(4), Sectors(1), Sectors(8)), "ebs: start must be a multiple"),
        (UnstripedTable(2, Sectors(100), 0, SDA, Sectors(0)), "chunk must be a power of two"),
        (UnstripedTable(2, Sectors(128), 2, SDA, Sectors(0)), "stripe must be 0 to 1, not 2"),
        (UnstripedTable(0, Sectors(128), 0, SDA, Sectors(0)), "stripes must be 1 to"),
    ],
)
def test_what_the_kernel_would_refuse(table: TargetTable, problem: str) -> None:
    with pytest.raises(InvalidTableError, match=problem):
        table.format()


@pytest.mark.parametrize(
    ("table", "length", "problem"),
    [
        (EbsTable(SDA, Sectors(8), Sectors(1)), 8, "start must be less than the length"),
        (UnstripedTable(3, Sectors(8), 0, SDA, Sectors(0)), 16, "multiple of the number"),
        (UnstripedTable(2, Sectors(8), 0, SDA, Sectors(0)), 24, "must be whole chunks"),
    ],
)
def test_rules_that_need_the_length(table: TargetTable, length: int, problem: str) -> None:
    with pytest.raises(InvalidTableError, match=problem):
        table.line(0, length)


def test_line_that_the_kernel_takes() -> None:
    line = UnstripedTable(2, Sectors(8), 1, SDA, Sectors(0)).line(0, 32)
    assert (line.start, line.length, line.type, line.text) == (0, 32, "unstriped", "2 8 1 8:0 0")


@pytest.mark.parametrize("target", ["linear", "error", "zero", "ebs", "unstriped"])
def test_no_status_but_perhaps_one_later(target: str) -> None:
    assert find(target).status("") == EmptyStatus()
    assert find(target).status("new words") == EmptyStatus(extra=("new", "words"))


def test_delay_status_is_what_is_held_back() -> None:
    assert find("delay").status("3 0 1") == DelayStatus(3, 0, 1)
    assert find("delay").status("3 0 1 9") == DelayStatus(3, 0, 1, extra=("9",))
    with pytest.raises(StatusParseError) as caught:
        find("delay").status("3 0")
    assert (caught.value.field, caught.value.position) == ("flushes", 3)


@pytest.mark.parametrize("target", ["linear", "error", "zero", "delay", "ebs", "unstriped"])
def test_nothing_stands_and_nothing_happens(target: str) -> None:
    seen = Seen(target, Sectors(0), Sectors(8))
    assert find(target).observe(seen) == Observation()
    assert find(target).moments(seen, seen) == ()
    assert find(target).poll is None
