from __future__ import annotations

import pytest

from dmwatch.errors import InvalidTableError, StatusParseError
from dmwatch.names import DeviceNumber
from dmwatch.severity import Severity
from dmwatch.targets import Observation, Seen, find
from dmwatch.targets.thin_pool import (
    CreateSnap,
    Discard,
    NoSpace,
    PoolMode,
    ThinPoolError,
    ThinPoolFail,
    ThinPoolTable,
    ThinPoolWorking,
)
from dmwatch.units import DataBlocks, MetadataBlocks, Sectors

POOL = find("thin-pool")

TABLES = [
    (
        "254:0 254:1 128 100 0",
        ThinPoolTable(DeviceNumber(254, 0), DeviceNumber(254, 1), Sectors(128), DataBlocks(100)),
    ),
    (
        "254:0 /dev/sdb 256 0 2 skip_block_zeroing error_if_no_space",
        ThinPoolTable(
            DeviceNumber(254, 0),
            "/dev/sdb",
            Sectors(256),
            DataBlocks(0),
            ("skip_block_zeroing", "error_if_no_space"),
        ),
    ),
]

WORKING = ThinPoolWorking(
    transaction_id=0,
    metadata_used=MetadataBlocks(116),
    metadata_total=MetadataBlocks(1024),
    data_used=DataBlocks(512),
    data_total=DataBlocks(512),
    held_root=None,
    mode=PoolMode.OUT_OF_DATA_SPACE,
    discard=Discard.PASSDOWN,
    no_space=NoSpace.QUEUE,
    needs_check=False,
    metadata_low_water=MetadataBlocks(256),
)
FULL = "0 116/1024 512/512 - out_of_data_space discard_passdown queue_if_no_space - 256 "


@pytest.mark.parametrize(("text", "table"), TABLES)
def test_table_reads_and_writes(text: str, table: ThinPoolTable) -> None:
    assert POOL.table(text) == table
    assert table.format() == text


def test_table_without_the_number_of_features() -> None:
    assert POOL.table("254:0 254:1 128 100") == TABLES[0][1]


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (FULL, WORKING),
        ("Fail", ThinPoolFail()),
        ("Error", ThinPoolError()),
    ],
)
def test_status(text: str, status: object) -> None:
    assert POOL.status(text) == status


def test_status_error_names_field_and_position() -> None:
    with pytest.raises(StatusParseError) as caught:
        POOL.status("0 116/1024 512 - rw")
    assert (caught.value.field, caught.value.position) == ("data", 3)


def test_block_size_is_checked_before_the_kernel_sees_it() -> None:
    table = ThinPoolTable("/dev/a", "/dev/b", Sectors(129), DataBlocks(0))
    with pytest.raises(InvalidTableError, match="block_size must be a multiple of 128"):
        table.format()


def look(text: str, table: str | None = None) -> Seen:
    asked = POOL.table(table) if table else None
    return Seen("thin-pool", Sectors(0), Sectors(65536), POOL.status(text), asked)


def found(observation: Observation) -> dict[str, Severity]:
    return {finding.type: finding.severity for finding in observation.findings}


RO = "0 113/1024 0/512 18 ro discard_passdown queue_if_no_space - 256"


@pytest.mark.parametrize(
    ("text", "table", "expected"),
    [
        (FULL, None, {"thin-pool.out-of-data-space": Severity.CRITICAL}),
        (RO, None, {"thin-pool.read-only": Severity.CRITICAL}),
        (RO, "254:0 254:1 128 100 1 read_only", {"thin-pool.read-only": Severity.INFO}),
        (
            RO.replace("113/1024", "1024/1024"),
            None,
            {"thin-pool.out-of-metadata-space": Severity.CRITICAL},
        ),
        (
            RO.replace("113/1024", "1024/1024").replace("space -", "space needs_check"),
            None,
            {"thin-pool.read-only": Severity.CRITICAL, "thin-pool.needs-check": Severity.ERROR},
        ),
        ("Fail", None, {"thin-pool.failed": Severity.CRITICAL}),
        ("Error", None, {"thin-pool.unreadable": Severity.ERROR}),
    ],
)
def test_what_stands(text: str, table: str | None, expected: dict[str, Severity]) -> None:
    assert found(POOL.observe(look(text, table))) == expected


def test_low_water_needs_the_table() -> None:
    text = FULL.replace("512/512", "412/512").replace("out_of_data_space", "rw")
    at_mark = look(text, "254:0 254:1 128 100 0")
    assert found(POOL.observe(at_mark)) == {"thin-pool.low-water": Severity.NOTICE}
    assert found(POOL.observe(look(text))) == {}


def test_gauges() -> None:
    gauges = POOL.observe(look(FULL)).gauges
    assert [(g.type, g.used, g.total) for g in gauges] == [
        ("thin-pool.data-usage", 512, 512),
        ("thin-pool.metadata-usage", 116, 1024),
    ]


def test_moments() -> None:
    grown = FULL.replace("512/512", "512/1024").replace("queue", "error").replace("0 116", "1 116")
    types = [moment.type for moment in POOL.moments(look(FULL), look(grown))]
    assert types == ["thin-pool.no-space-timeout", "thin-pool.resized", "thin-pool.transaction"]


def test_messages() -> None:
    assert CreateSnap(7, 1).format() == "create_snap 7 1"
