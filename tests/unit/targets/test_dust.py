from __future__ import annotations

import pytest

from dmwatch.errors import InvalidMessageError, InvalidTableError, StatusParseError
from dmwatch.names import DeviceNumber
from dmwatch.severity import Severity
from dmwatch.targets import Finding, Observation, Seen, TargetMessage, find
from dmwatch.targets.dust import (
    AddBadBlock,
    ClearBadBlocks,
    CountBadBlocks,
    Disable,
    DustLog,
    DustReads,
    DustStatus,
    DustTable,
    Enable,
    ListBadBlocks,
    QueryBlock,
    Quiet,
    RemoveBadBlock,
)
from dmwatch.units import Bytes, Sectors

DUST = find("dust")
TABLE = DustTable(DeviceNumber(252, 17), Sectors(0), Bytes(512))


def test_table_reads_and_writes() -> None:
    assert DUST.table("252:17 0 512") == TABLE
    assert TABLE.format() == "252:17 0 512"


@pytest.mark.parametrize(
    ("size", "problem"),
    [(256, "must be 512 to 1073741824"), (1000, "must be a power of two")],
)
def test_what_the_kernel_would_refuse(size: int, problem: str) -> None:
    with pytest.raises(InvalidTableError, match=f"dust: block_size {problem}"):
        DustTable("/dev/sda", Sectors(0), Bytes(size)).format()


def test_a_block_fits_into_the_line() -> None:
    assert DustTable("/dev/sda", Sectors(0), Bytes(4096)).line(0, 8).text == "/dev/sda 0 4096"
    with pytest.raises(InvalidTableError, match="block_size cannot be more than the length"):
        DustTable("/dev/sda", Sectors(0), Bytes(4096)).line(0, 7)


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (
            "252:17 bypass verbose",
            DustStatus(DeviceNumber(252, 17), DustReads.BYPASS, DustLog.VERBOSE),
        ),
        (
            "252:17 fail_read_on_bad_block quiet 7",
            DustStatus(DeviceNumber(252, 17), DustReads.FAIL, DustLog.QUIET, extra=("7",)),
        ),
    ],
)
def test_status(text: str, status: DustStatus) -> None:
    assert DUST.status(text) == status


def test_wrong_status() -> None:
    with pytest.raises(StatusParseError) as caught:
        DUST.status("252:17 asleep verbose")
    assert (caught.value.field, caught.value.position) == ("reads", 2)


def look(text: str) -> Seen:
    return Seen("dust", Sectors(0), Sectors(64), DUST.status(text))


def test_what_stands() -> None:
    assert DUST.observe(look("252:17 bypass quiet")) == Observation()
    assert DUST.observe(Seen("dust", Sectors(0), Sectors(64))) == Observation()
    (found,) = DUST.observe(look("252:17 fail_read_on_bad_block quiet")).findings
    summary = "reads of blocks that were named bad fail"
    assert found == Finding("dust.failing-reads", Severity.NOTICE, summary)


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (AddBadBlock(60), "addbadblock 60"),
        (AddBadBlock(60, 3), "addbadblock 60 3"),
        (RemoveBadBlock(60), "removebadblock 60"),
        (QueryBlock(0), "queryblock 0"),
        (CountBadBlocks(), "countbadblocks"),
        (ListBadBlocks(), "listbadblocks"),
        (ClearBadBlocks(), "clearbadblocks"),
        (Enable(), "enable"),
        (Disable(), "disable"),
        (Quiet(), "quiet"),
    ],
)
def test_messages(message: TargetMessage, text: str) -> None:
    assert message.format() == text
    assert type(message) in DUST.messages


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        (AddBadBlock(-1), "block must be 0 to"),
        (AddBadBlock(1, 256), "write_fail_count must be 0 to 255, not 256"),
        (RemoveBadBlock(1 << 64), "block must be 0 to"),
    ],
)
def test_messages_that_the_kernel_would_refuse(message: TargetMessage, problem: str) -> None:
    with pytest.raises(InvalidMessageError, match=problem):
        message.format()
