from __future__ import annotations

import pytest

from dmwatch.errors import InvalidTableError, StatusParseError, TableParseError
from dmwatch.monitor.conditions import essence
from dmwatch.names import DeviceNumber
from dmwatch.severity import Severity
from dmwatch.targets import Seen, find
from dmwatch.targets.writecache import (
    BlocksData,
    Cleaner,
    ClearStats,
    Flush,
    FlushOnSuspend,
    WritecacheMedium,
    WritecacheOption,
    WritecacheStatus,
    WritecacheTable,
)
from dmwatch.units import Bytes, DataBlocks, Sectors

CACHE = find("writecache")
A, B = DeviceNumber(254, 0), DeviceNumber(254, 1)
SSD, PMEM = WritecacheMedium.SSD, WritecacheMedium.PMEM
Option = WritecacheOption


def table(*options: Option, medium: WritecacheMedium = SSD, size: int = 4096) -> WritecacheTable:
    return WritecacheTable(medium, A, B, Bytes(size), options)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("s 254:0 254:1 4096 0", table()),
        (
            "s 254:0 254:1 4096 4 high_watermark 60 low_watermark 50",
            table(Option("high_watermark", 60), Option("low_watermark", 50)),
        ),
        (
            "p 254:0 254:1 512 4 cleaner nofua max_age 0",
            table(Option("cleaner"), Option("nofua"), Option("max_age", 0), medium=PMEM, size=512),
        ),
        (
            (
                "s 254:0 254:1 4096 18 start_sector 8 high_watermark 100 low_watermark 0 "
                "writeback_jobs 1 autocommit_blocks 2 autocommit_time 3600000 max_age 86400000 "
                "cleaner metadata_only pause_writeback 60000"
            ),
            table(
                Option("start_sector", 8),
                Option("high_watermark", 100),
                Option("low_watermark", 0),
                Option("writeback_jobs", 1),
                Option("autocommit_blocks", 2),
                Option("autocommit_time", 3600000),
                Option("max_age", 86400000),
                Option("cleaner"),
                Option("metadata_only"),
                Option("pause_writeback", 60000),
            ),
        ),
    ],
)
def test_table_reads_and_writes(text: str, expected: WritecacheTable) -> None:
    assert CACHE.table(text) == expected
    assert expected.format() == text


def test_options_of_a_later_kernel_are_read() -> None:
    text = "S 254:0 254:1 4096 4 new 7 newer newest"
    expected = (Option("new", 7), Option("newer"), Option("newest"))
    assert CACHE.table(text) == table(*expected)


@pytest.mark.parametrize(
    ("text", "field", "position"),
    [
        ("x 254:0 254:1 4096 0", "medium", 1),
        ("s 254:0 254:1 4096", "#options", 5),
        ("s 254:0 254:1 4096 1 high_watermark", "options[high_watermark]", 6),
        ("s 254:0 254:1 4096 1 high_watermark 60", "options[high_watermark]", 6),
        ("s 254:0 254:1 4096 2 high_watermark x", "options[high_watermark]", 7),
        ("s 254:0 254:1 4096 0 cleaner", "end", 6),
    ],
)
def test_table_errors(text: str, field: str, position: int) -> None:
    with pytest.raises(TableParseError) as caught:
        CACHE.table(text)
    assert (caught.value.field, caught.value.position) == (field, position)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (table(size=768), "block_size"),
        (table(size=256), "block_size"),
        (table(size=131072), "block_size"),
        (table(Option("new")), "options"),
        (table(Option("cleaner", 1)), "options[cleaner]"),
        (table(Option("max_age")), "options[max_age]"),
        (table(Option("max_age", 86400001)), "options[max_age]"),
        (table(Option("fua")), "options[fua]"),
        (table(Option("pause_writeback", 1), medium=PMEM), "options[pause_writeback]"),
        (table(Option("high_watermark", 44)), "options[high_watermark]"),
        (table(Option("low_watermark", 51)), "options[high_watermark]"),
        (table(*[Option("cleaner")] * 19), "options"),
    ],
)
def test_rules(wrong: WritecacheTable, field: str) -> None:
    with pytest.raises(InvalidTableError) as caught:
        wrong.format()
    assert caught.value.field == field


BLOCKS = (DataBlocks(4080), DataBlocks(4016), DataBlocks(0))


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (
            "0 4080 4016 0 32 32 64 0 0 0 64 0 0 0",
            WritecacheStatus(0, *BLOCKS, 32, 32, 64, 0, 0, 0, 64, 0, 0, 0),
        ),
        (
            "1 4080 4016 0 32 32 65 1 0 0 64 0 0 0 9",
            WritecacheStatus(1, *BLOCKS, 32, 32, 65, 1, 0, 0, 64, 0, 0, 0, extra=("9",)),
        ),
        ("-5 4080 4016 0", WritecacheStatus(-5, *BLOCKS)),
    ],
)
def test_status(text: str, status: object) -> None:
    assert CACHE.status(text) == status


def test_status_error() -> None:
    with pytest.raises(StatusParseError) as caught:
        CACHE.status("0 4080 x 0")
    assert (caught.value.field, caught.value.position) == ("free", 3)


def look(text: str | None) -> Seen:
    status = None if text is None else CACHE.status(text)
    return Seen("writecache", Sectors(0), Sectors(65536), status)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0 4080 4016 0", {}),
        ("1 4080 4016 0", {"writecache.failed": Severity.CRITICAL}),
        ("0 4080 0 16", {"writecache.full": Severity.WARNING}),
        (
            "1 4080 0 0",
            {"writecache.failed": Severity.CRITICAL, "writecache.full": Severity.WARNING},
        ),
        (None, {}),
    ],
)
def test_what_stands(text: str | None, expected: dict[str, Severity]) -> None:
    found = CACHE.observe(look(text)).findings
    assert {f.type: f.severity for f in found} == expected
    assert all(isinstance(f.data, BlocksData) and f.key is None for f in found)


@pytest.mark.parametrize(("before", "after"), [("0 9 0 5", "0 9 0 4"), ("1 9 2 5", "1 9 3 4")])
def test_a_condition_does_not_change_with_every_block_written_back(before: str, after: str) -> None:
    (old,), (new,) = (CACHE.observe(look(text)).findings for text in (before, after))
    assert old.data != new.data
    assert essence(old.data) == essence(new.data)


def test_no_moments() -> None:
    assert CACHE.moments(look("0 4080 4016 0"), look("1 4080 4016 0")) == ()


def test_messages() -> None:
    texts = [message.format() for message in (Flush(), FlushOnSuspend(), Cleaner(), ClearStats())]
    assert texts == ["flush", "flush_on_suspend", "cleaner", "clear_stats"]
