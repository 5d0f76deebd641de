from __future__ import annotations

import pytest

from dmwatch.errors import InvalidMessageError, InvalidTableError, StatusParseError
from dmwatch.names import DeviceNumber
from dmwatch.severity import Severity
from dmwatch.targets import Finding, Observation, Seen, find
from dmwatch.targets.log_writes import LoggedData, LogWritesStatus, LogWritesTable, Mark
from dmwatch.units import Sectors

LOG_WRITES = find("log-writes")


def test_table_reads_and_writes() -> None:
    table = LogWritesTable(DeviceNumber(254, 0), "/dev/sdb")
    assert LOG_WRITES.table("254:0 /dev/sdb") == table
    assert table.format() == "254:0 /dev/sdb"
    with pytest.raises(InvalidTableError, match="log must be one word"):
        LogWritesTable("/dev/sda", "").format()


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("0 0", LogWritesStatus(0, Sectors(0), logging_disabled=False)),
        ("12 4711", LogWritesStatus(12, Sectors(4711), logging_disabled=False)),
        ("12 4711 logging_disabled", LogWritesStatus(12, Sectors(4711), logging_disabled=True)),
        ("1 9 new", LogWritesStatus(1, Sectors(9), logging_disabled=False, extra=("new",))),
    ],
)
def test_status(text: str, status: LogWritesStatus) -> None:
    assert LOG_WRITES.status(text) == status


def test_wrong_status() -> None:
    with pytest.raises(StatusParseError) as caught:
        LOG_WRITES.status("12")
    assert (caught.value.field, caught.value.position) == ("last_sector", 2)


def look(text: str) -> Seen:
    return Seen("log-writes", Sectors(0), Sectors(64), LOG_WRITES.status(text))


def test_what_stands() -> None:
    assert LOG_WRITES.observe(look("12 4711")) == Observation()
    assert LOG_WRITES.observe(Seen("log-writes", Sectors(0), Sectors(64))) == Observation()
    (found,) = LOG_WRITES.observe(look("12 4711 logging_disabled")).findings
    assert found == Finding(
        "log-writes.logging-disabled",
        Severity.ERROR,
        "writes are no longer logged: the log ends after 12 entries",
        data=LoggedData(12, Sectors(4711)),
    )


@pytest.mark.parametrize(
    ("mark", "text"),
    [
        (Mark("mkfs"), "mark mkfs"),
        (Mark("after mkfs"), "mark after\\ mkfs"),
        (Mark("a\\b"), "mark a\\\\b"),
    ],
)
def test_mark(mark: Mark, text: str) -> None:
    assert mark.format() == text


def test_mark_quotes_the_byte_that_the_kernel_takes_for_a_blank() -> None:
    assert Mark("à").format().encode("utf-8", "surrogateescape") == b"mark \xc3\\\xa0"


@pytest.mark.parametrize("text", ["", "x" * 480, "a\x00b"])
def test_mark_that_would_be_cut_off(text: str) -> None:
    with pytest.raises(InvalidMessageError, match="log-writes: text must be 1 to 479 bytes"):
        Mark(text).format()
