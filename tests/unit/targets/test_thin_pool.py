from __future__ import annotations

from dataclasses import replace

import pytest

from dmwatch.errors import InvalidMessageError, InvalidTableError, StatusParseError, TableParseError
from dmwatch.names import DeviceNumber
from dmwatch.severity import Severity
from dmwatch.targets import Observation, Seen, TargetMessage, find
from dmwatch.targets.thin_pool import (
    CreateSnap,
    CreateThin,
    DeleteThin,
    Discard,
    NoSpace,
    PoolMode,
    ReleaseMetadataSnap,
    ReserveMetadataSnap,
    SetTransactionId,
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


@pytest.mark.parity(69)
@pytest.mark.parametrize(("text", "table"), TABLES)
def test_table_reads_and_writes(text: str, table: ThinPoolTable) -> None:
    assert POOL.table(text) == table
    assert table.format() == text


@pytest.mark.parity(70)
def test_table_without_the_number_of_features() -> None:
    assert POOL.table("254:0 254:1 128 100") == TABLES[0][1]


@pytest.mark.parity("B6")
@pytest.mark.parametrize(
    ("text", "status"),
    [
        (FULL, WORKING),
        (
            FULL.replace("discard_passdown", "ignore_discard"),
            replace(WORKING, discard=Discard.IGNORE),
        ),
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


A, B = DeviceNumber(254, 0), DeviceNumber(254, 1)


@pytest.mark.parametrize(
    ("table", "field", "rule"),
    [
        (ThinPoolTable(A, B, Sectors(129), DataBlocks(0)), "block_size", "a multiple of 128"),
        (ThinPoolTable(A, B, Sectors(64), DataBlocks(0)), "block_size", "must be 128 to"),
        (ThinPoolTable(A, B, Sectors(4194304), DataBlocks(0)), "block_size", "must be 128 to"),
        (ThinPoolTable(A, B, Sectors(128), DataBlocks(1 << 64)), "low_water", "must be 0 to"),
        (ThinPoolTable(A, A, Sectors(128), DataBlocks(0)), "data", "cannot be the metadata"),
        (ThinPoolTable(A, "b c", Sectors(128), DataBlocks(0)), "data", "one word"),
        (ThinPoolTable(A, B, Sectors(128), DataBlocks(0), ("zero",)), "features", "cannot be"),
        (
            ThinPoolTable(A, B, Sectors(128), DataBlocks(0), ("read_only",) * 5),
            "features",
            "can be 4 at most",
        ),
    ],
)
def test_rules_are_held_before_the_kernel_sees_it(
    table: ThinPoolTable, field: str, rule: str
) -> None:
    with pytest.raises(InvalidTableError, match=f"{field} .*{rule}"):
        table.format()


@pytest.mark.parametrize(
    ("text", "field", "position"),
    [
        ("254:0 254:1 128", "low_water", 4),
        ("254:0 254:1 128 0 2 read_only", "#features", 5),
        ("254:0 254:1 128 0 0 read_only", "end", 6),
    ],
)
def test_table_errors(text: str, field: str, position: int) -> None:
    with pytest.raises(TableParseError) as caught:
        POOL.table(text)
    assert (caught.value.field, caught.value.position) == (field, position)


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
        (
            FULL.replace("queue_", "error_"),
            None,
            {"thin-pool.out-of-data-space": Severity.CRITICAL},
        ),
        (
            FULL.replace("space - ", "space needs_check "),
            None,
            {
                "thin-pool.out-of-data-space": Severity.CRITICAL,
                "thin-pool.needs-check": Severity.ERROR,
            },
        ),
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


TIMED_OUT = FULL.replace("queue", "error")
QUEUES, ERRORS = "254:0 254:1 128 0 0", "254:0 254:1 128 0 1 error_if_no_space"


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (FULL, FULL, []),
        (FULL, TIMED_OUT, ["thin-pool.no-space-timeout"]),
        (TIMED_OUT, FULL, []),
        (FULL, TIMED_OUT.replace("out_of_data_space", "rw"), []),
        (FULL, FULL.replace("512/512", "512/1024"), ["thin-pool.resized"]),
        (FULL, FULL.replace("116/1024", "116/2048"), ["thin-pool.resized"]),
        (FULL, FULL.replace("0 116", "7 116"), ["thin-pool.transaction"]),
        (FULL, FULL.replace("512 -", "512 18"), ["thin-pool.metadata-snapshot"]),
        (FULL, "Fail", []),
        ("Error", FULL, []),
    ],
)
def test_moments(before: str, after: str, expected: list[str]) -> None:
    types = [moment.type for moment in POOL.moments(look(before), look(after))]
    assert types == expected


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (QUEUES, QUEUES, True),
        (None, QUEUES, True),
        (QUEUES, None, True),
        (QUEUES, ERRORS, False),
        (None, ERRORS, False),
    ],
)
def test_a_policy_that_the_table_asks_for_is_no_timeout(
    before: str | None, after: str | None, told: bool
) -> None:
    found = POOL.moments(look(FULL, before), look(TIMED_OUT, after))
    assert [moment.type for moment in found] == ["thin-pool.no-space-timeout"] * told


def test_several_moments_at_once() -> None:
    grown = TIMED_OUT.replace("512/512", "512/1024").replace("0 116", "1 116")
    types = [moment.type for moment in POOL.moments(look(FULL), look(grown))]
    assert types == ["thin-pool.no-space-timeout", "thin-pool.resized", "thin-pool.transaction"]


def test_nothing_was_read() -> None:
    unread = Seen("thin-pool", Sectors(0), Sectors(65536))
    assert POOL.observe(unread) == Observation()
    assert POOL.moments(unread, look(FULL)) == POOL.moments(look(FULL), unread) == ()


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (CreateThin(0), "create_thin 0"),
        (CreateSnap(7, 1), "create_snap 7 1"),
        (DeleteThin(16777215), "delete 16777215"),
        (SetTransactionId(0, 1), "set_transaction_id 0 1"),
        (ReserveMetadataSnap(), "reserve_metadata_snap"),
        (ReleaseMetadataSnap(), "release_metadata_snap"),
    ],
)
def test_messages(message: TargetMessage, text: str) -> None:
    assert message.format() == text


@pytest.mark.parametrize(
    "message",
    [CreateThin(1 << 24), CreateSnap(0, -1), DeleteThin(-1), SetTransactionId(0, 1 << 64)],
)
def test_message_rules(message: TargetMessage) -> None:
    with pytest.raises(InvalidMessageError):
        message.format()
