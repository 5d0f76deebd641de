from __future__ import annotations

import pytest

from dmwatch.errors import InvalidTableError, StatusParseError, TableParseError
from dmwatch.names import DeviceNumber
from dmwatch.targets import EmptyStatus, Observation, Seen, find
from dmwatch.targets.zoned import Reclaim, ZoneCount, ZonedDevice, ZonedStatus, ZonedTable
from dmwatch.units import Sectors

ZONED = find("zoned")

TABLES = [
    ("8:16", ZonedTable((DeviceNumber(8, 16),))),
    ("259:0 8:16 /dev/sdc", ZonedTable((DeviceNumber(259, 0), DeviceNumber(8, 16), "/dev/sdc"))),
]
# constructed from dmz_status
ONE = "55880 zones 0/0 cache 498/524 random 54861/55356 sequential"
CACHED = "600 zones 30/100 cache 0/0 random 200/250 sequential 10/10 random 240/240 sequential"

STATUSES = [
    (
        ONE,
        ZonedStatus(
            55880,
            ZoneCount(0, 0),
            (ZonedDevice(ZoneCount(498, 524), ZoneCount(54861, 55356)),),
        ),
    ),
    (
        CACHED,
        ZonedStatus(
            600,
            ZoneCount(30, 100),
            (
                ZonedDevice(ZoneCount(0, 0), ZoneCount(200, 250)),
                ZonedDevice(ZoneCount(10, 10), ZoneCount(240, 240)),
            ),
        ),
    ),
    ("8 zones 1/2 cache", ZonedStatus(8, ZoneCount(1, 2), ())),
    ("8 zones 1/2 cache later 3", ZonedStatus(8, ZoneCount(1, 2), (), extra=("later", "3"))),
]


@pytest.mark.parametrize(("text", "table"), TABLES)
def test_table_reads_and_writes(text: str, table: ZonedTable) -> None:
    assert ZONED.table(text) == table
    assert table.format() == text


@pytest.mark.parametrize("text", ["55880 zones", "55880 zones 0/0", "8 zones 1/2 cach"])
def test_a_piece_of_a_status_is_no_table(text: str) -> None:
    with pytest.raises(StatusParseError):
        ZONED.status(text)
    with pytest.raises(TableParseError, match=r"devices \(word 1\)"):
        ZONED.table(text)
    with pytest.raises(InvalidTableError):
        ZonedTable(("55880", "zones")).format()


def test_a_table_needs_a_device() -> None:
    with pytest.raises(TableParseError):
        ZONED.table("")
    with pytest.raises(InvalidTableError, match="one at least"):
        ZonedTable(()).format()
    with pytest.raises(InvalidTableError, match="one word"):
        ZonedTable(("/dev/a b",)).format()


@pytest.mark.parametrize(("text", "status"), STATUSES)
def test_status(text: str, status: ZonedStatus) -> None:
    assert ZONED.status(text) == status


@pytest.mark.parametrize(
    ("text", "field", "position"),
    [
        ("", "zones", 1),
        ("8 blocks", "zones", 2),
        ("8 zones 12 cache", "cache", 3),
        ("8 zones 1/2 cache 1/2 random 1/2", "sequential", 8),
    ],
)
def test_status_error_names_field_and_position(text: str, field: str, position: int) -> None:
    with pytest.raises(StatusParseError) as caught:
        ZONED.status(text)
    assert (caught.value.field, caught.value.position) == (field, position)


@pytest.mark.parametrize(
    ("text", "used", "total"),
    [
        (ONE, 26, 524),
        (CACHED, 70, 100),
        ("8 zones 0/0 cache", 0, 0),
        ("8 zones 0/0 cache 9/8 random 0/0 sequential", 0, 8),
    ],
)
def test_the_gauge_shows_where_random_writes_go(text: str, used: int, total: int) -> None:
    observed = ZONED.observe(Seen("zoned", Sectors(0), Sectors(8), ZONED.status(text)))
    assert [(g.type, g.used, g.total) for g in observed.gauges] == [
        ("zoned.random-zones-usage", used, total)
    ]
    assert observed.findings == ()


def test_looks_at_another_variant_are_nothing() -> None:
    for status in (None, EmptyStatus()):
        assert ZONED.observe(Seen("zoned", Sectors(0), Sectors(8), status)) == Observation()


def test_messages() -> None:
    assert Reclaim().format() == "reclaim"
