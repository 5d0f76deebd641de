from __future__ import annotations

import pytest

from dmwatch.errors import InvalidMessageError, InvalidTableError, StatusParseError, TableParseError
from dmwatch.names import DeviceNumber
from dmwatch.severity import Severity
from dmwatch.targets import Gauge, Seen, TargetMessage, find
from dmwatch.targets.clone import (
    CloneError,
    CloneFail,
    CloneMode,
    CloneTable,
    CloneWorking,
    DisableHydration,
    EnableHydration,
    HydrationBatchSize,
    HydrationThreshold,
)
from dmwatch.targets.clone.watch import HydrationData
from dmwatch.units import DataBlocks, MetadataBlocks, Sectors

CLONE = find("clone")
DEVICES = (DeviceNumber(254, 0), DeviceNumber(254, 1), DeviceNumber(254, 2))
EIGHT = Sectors(8)
PLAIN = CloneTable(*DEVICES, EIGHT)


@pytest.mark.parametrize(
    ("text", "table"),
    [
        ("254:0 254:1 254:2 8 0", PLAIN),
        (
            "254:0 254:1 254:2 8 1 no_hydration",
            CloneTable(*DEVICES, EIGHT, ("no_hydration",)),
        ),
        (
            "254:0 /dev/d /dev/s 2097152 0 2 hydration_threshold 0",
            CloneTable(
                DEVICES[0],
                "/dev/d",
                "/dev/s",
                Sectors(2097152),
                settings=(("hydration_threshold", 0),),
            ),
        ),
        (
            (
                "254:0 254:1 254:2 8 2 no_discard_passdown no_hydration "
                "4 hydration_batch_size 4294967295 hydration_threshold 2"
            ),
            CloneTable(
                *DEVICES,
                EIGHT,
                ("no_discard_passdown", "no_hydration"),
                (("hydration_batch_size", 4294967295), ("hydration_threshold", 2)),
            ),
        ),
        ("254:0 254:1 254:2 8 0 0 junk", CloneTable(*DEVICES, EIGHT, ignored=("junk",))),
    ],
)
def test_table_reads_and_writes(text: str, table: CloneTable) -> None:
    assert CLONE.table(text) == table
    assert table.format() == text


@pytest.mark.parametrize("text", ["254:0 254:1 254:2 8", "254:0 254:1 254:2 8 0 0"])
def test_counts_may_be_left_out(text: str) -> None:
    assert CLONE.table(text) == PLAIN


@pytest.mark.parametrize(
    ("text", "field", "position"),
    [
        ("254:0 254:1 254:2", "region", 4),
        ("254:0 254:1 254:2 8 1", "#features", 5),
        ("254:0 254:1 254:2 8 0 1 hydration_threshold", "#settings", 6),
        ("254:0 254:1 254:2 8 0 2 hydration_threshold x", "settings", 8),
    ],
)
def test_table_errors(text: str, field: str, position: int) -> None:
    with pytest.raises(TableParseError) as caught:
        CLONE.table(text)
    assert (caught.value.field, caught.value.position) == (field, position)


@pytest.mark.parametrize(
    ("table", "field"),
    [
        (CloneTable(*DEVICES, Sectors(4)), "region"),
        (CloneTable(*DEVICES, Sectors(24)), "region"),
        (CloneTable(*DEVICES, Sectors(4194304)), "region"),
        (CloneTable(*DEVICES, EIGHT, ("hydration",)), "features"),
        (CloneTable(*DEVICES, EIGHT, ("no_hydration",) * 3), "features"),
        (CloneTable(*DEVICES, EIGHT, settings=(("threshold", 1),)), "settings"),
        (
            CloneTable(*DEVICES, EIGHT, settings=(("hydration_threshold", 1 << 32),)),
            "settings[hydration_threshold]",
        ),
        (CloneTable(*DEVICES, EIGHT, settings=(("hydration_threshold", 1),) * 3), "settings"),
        (CloneTable("a b", *DEVICES[1:], EIGHT), "metadata"),
        (CloneTable(*DEVICES, EIGHT, ignored=("",)), "ignored"),
    ],
)
def test_rules(table: CloneTable, field: str) -> None:
    with pytest.raises(InvalidTableError) as caught:
        table.format()
    assert caught.value.field == field


SETTINGS = (("hydration_threshold", 1), ("hydration_batch_size", 1))
TAIL = "4 hydration_threshold 1 hydration_batch_size 1"


def working(
    hydrated: int, hydrating: int, *features: str, mode: CloneMode = CloneMode.READ_WRITE
) -> CloneWorking:
    return CloneWorking(
        metadata_block=Sectors(8),
        metadata_used=MetadataBlocks(6),
        metadata_total=MetadataBlocks(2048),
        region=Sectors(8),
        hydrated=DataBlocks(hydrated),
        regions=DataBlocks(4096),
        hydrating=DataBlocks(hydrating),
        features=features,
        settings=SETTINGS,
        mode=mode,
    )


HALF = f"8 6/2048 8 3408/4096 1 0 {TAIL} rw"
DONE = f"8 6/2048 8 4096/4096 0 0 {TAIL} rw"


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (f"8 6/2048 8 0/4096 0 1 no_hydration {TAIL} rw", working(0, 0, "no_hydration")),
        (HALF, working(3408, 1)),
        (DONE, working(4096, 0)),
        (DONE.replace("rw", "ro"), working(4096, 0, mode=CloneMode.READ_ONLY)),
        (DONE.replace("rw", "Fail"), working(4096, 0, mode=CloneMode.FAIL)),
        ("Fail", CloneFail()),
        ("Error", CloneError()),
    ],
)
def test_status(text: str, status: object) -> None:
    assert CLONE.status(text) == status


@pytest.mark.parametrize(
    ("text", "field", "position"),
    [
        ("8 6/2048 8 3408", "hydrated", 4),
        ("8 6/2048 8 0/4096 0 0 1 x rw", "#settings", 7),
        (DONE.replace("rw", "rx"), "mode", 12),
    ],
)
def test_status_errors(text: str, field: str, position: int) -> None:
    with pytest.raises(StatusParseError) as caught:
        CLONE.status(text)
    assert (caught.value.field, caught.value.position) == (field, position)


def look(text: str | None) -> Seen:
    status = None if text is None else CLONE.status(text)
    return Seen("clone", Sectors(0), Sectors(32768), status)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (DONE, []),
        (HALF.replace("rw", "ro"), [("clone.read-only", Severity.ERROR)]),
        (HALF.replace("rw", "Fail"), [("clone.failed", Severity.CRITICAL)]),
        ("Fail", [("clone.failed", Severity.CRITICAL)]),
        ("Error", []),
        (None, []),
    ],
)
def test_what_stands(text: str | None, expected: object) -> None:
    found = CLONE.observe(look(text)).findings
    assert [(f.type, f.severity) for f in found] == expected


def test_read_only_says_how_far_it_came() -> None:
    (finding,) = CLONE.observe(look(HALF.replace("rw", "ro"))).findings
    assert finding.data == HydrationData(DataBlocks(3408), DataBlocks(4096))
    assert "3408 of 4096" in finding.summary


def test_gauge() -> None:
    assert CLONE.observe(look(HALF)).gauges == (
        Gauge("clone.metadata-usage", 6, 2048, "metadata blocks"),
    )


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (HALF, DONE, ["clone.hydrated"]),
        (HALF, HALF, []),
        (DONE, DONE, []),
        (DONE, HALF, []),
        ("Fail", DONE, []),
        (HALF, "Fail", []),
        (None, DONE, []),
        (HALF, None, []),
    ],
)
def test_moments(before: str | None, after: str | None, expected: object) -> None:
    found = CLONE.moments(look(before), look(after))
    assert [moment.type for moment in found] == expected
    assert {moment.severity for moment in found} <= {Severity.NOTICE}


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (EnableHydration(), "enable_hydration"),
        (DisableHydration(), "disable_hydration"),
        (HydrationThreshold(256), "hydration_threshold 256"),
        (HydrationBatchSize(0), "hydration_batch_size 0"),
    ],
)
def test_messages(message: TargetMessage, text: str) -> None:
    assert message.format() == text


@pytest.mark.parametrize("value", [-1, 1 << 32])
def test_message_rules(value: int) -> None:
    with pytest.raises(InvalidMessageError):
        HydrationThreshold(value).format()
    with pytest.raises(InvalidMessageError):
        HydrationBatchSize(value).format()
