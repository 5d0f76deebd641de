from __future__ import annotations

import pytest

from dmwatch.errors import InvalidTableError, StatusParseError, TableParseError
from dmwatch.names import DeviceNumber
from dmwatch.severity import Severity
from dmwatch.targets import Gauge, Seen, find
from dmwatch.targets.era import (
    Checkpoint,
    DropMetadataSnap,
    EraAdvancedData,
    EraError,
    EraTable,
    EraWorking,
    TakeMetadataSnap,
)
from dmwatch.units import MetadataBlocks, Sectors

ERA = find("era")
A, B = DeviceNumber(254, 0), DeviceNumber(254, 1)


@pytest.mark.parametrize(
    ("text", "table"),
    [
        ("254:0 254:1 128", EraTable(A, B, Sectors(128))),
        ("/dev/m /dev/d 8", EraTable("/dev/m", "/dev/d", Sectors(8))),
    ],
)
def test_table_reads_and_writes(text: str, table: EraTable) -> None:
    assert ERA.table(text) == table
    assert table.format() == text


@pytest.mark.parametrize("text", ["254:0 254:1", "254:0 254:1 x", "254:0 254:1 8 9"])
def test_table_errors(text: str) -> None:
    with pytest.raises(TableParseError):
        ERA.table(text)


@pytest.mark.parametrize("size", [0, 4, 12, 1 << 32])
def test_block_size_is_a_multiple_of_8(size: int) -> None:
    with pytest.raises(InvalidTableError, match="block_size"):
        EraTable(A, B, Sectors(size)).format()


def working(era: int, snap: int | None, used: int = 9) -> EraWorking:
    return EraWorking(Sectors(8), MetadataBlocks(used), MetadataBlocks(2048), era, snap)


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("8 9/2048 1 -", working(1, None)),
        ("8 12/2048 2 24", working(2, 24, used=12)),
        ("Error", EraError()),
    ],
)
def test_status(text: str, status: object) -> None:
    assert ERA.status(text) == status


def test_status_error() -> None:
    with pytest.raises(StatusParseError) as caught:
        ERA.status("8 9/2048 1")
    assert (caught.value.field, caught.value.position) == ("metadata_snap", 4)


def look(text: str | None) -> Seen:
    status = None if text is None else ERA.status(text)
    return Seen("era", Sectors(0), Sectors(32768), status)


def test_what_stands() -> None:
    fine, bad = ERA.observe(look("8 12/2048 2 24")), ERA.observe(look("Error"))
    assert fine.findings == ()
    assert fine.gauges == (Gauge("era.metadata-usage", 12, 2048, "metadata blocks"),)
    assert [(f.type, f.severity) for f in bad.findings] == [("era.unreadable", Severity.ERROR)]
    assert bad.gauges == ()
    assert ERA.observe(look(None)).findings == ()


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("8 9/2048 1 -", "8 9/2048 1 -", []),
        ("8 9/2048 1 -", "8 12/2048 2 24", [EraAdvancedData(1, 2)]),
        ("Error", "8 12/2048 2 24", []),
        ("8 9/2048 1 -", "Error", []),
        (None, "8 9/2048 1 -", []),
    ],
)
def test_moments(before: str | None, after: str | None, expected: object) -> None:
    found = ERA.moments(look(before), look(after))
    assert [moment.data for moment in found] == expected
    assert {(m.type, m.severity) for m in found} <= {("era.era-advanced", Severity.DEBUG)}


def test_messages() -> None:
    texts = [message.format() for message in (Checkpoint(), TakeMetadataSnap(), DropMetadataSnap())]
    assert texts == ["checkpoint", "take_metadata_snap", "drop_metadata_snap"]


def test_it_is_not_read_while_suspended() -> None:
    assert ERA.blocks_suspended
