from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dmwatch.errors import InvalidTableError, StatusParseError, TableParseError
from dmwatch.names import DeviceNumber
from dmwatch.severity import Severity
from dmwatch.targets import EmptyStatus, Seen, TargetTable, find
from dmwatch.targets.mirror import (
    CoreLog,
    DiskLog,
    MirrorHealth,
    MirrorLeg,
    MirrorLegStatus,
    MirrorLogHealth,
    MirrorLogStatus,
    MirrorStatus,
    MirrorSync,
    MirrorTable,
    OtherLog,
    UserspaceLog,
)
from dmwatch.units import Sectors

MIRROR = find("mirror")
A, B, LOG = DeviceNumber(254, 0), DeviceNumber(254, 1), DeviceNumber(254, 2)
LEGS = (MirrorLeg(A, Sectors(0)), MirrorLeg(B, Sectors(0)))
CORE = MirrorTable(CoreLog(Sectors(1024)), LEGS)

TABLES = [
    (
        "core 2 1024 sync 2 254:0 0 254:1 0 1 handle_errors",
        MirrorTable(CoreLog(Sectors(1024), MirrorSync.SYNC), LEGS, ("handle_errors",)),
    ),
    ("core 1 1024 2 254:0 0 254:1 0", CORE),
    (
        "disk 2 254:2 1024 2 254:0 0 254:1 0 2 handle_errors keep_log",
        MirrorTable(DiskLog(LOG, Sectors(1024)), LEGS, ("handle_errors", "keep_log")),
    ),
    (
        "disk 3 254:2 1024 nosync 2 254:0 0 254:1 0",
        MirrorTable(DiskLog(LOG, Sectors(1024), MirrorSync.NOSYNC), LEGS),
    ),
    (
        "userspace 4 LVM-abc integrated_flush clustered-core 1024 2 254:0 0 254:1 0",
        MirrorTable(UserspaceLog("LVM-abc", ("integrated_flush", "clustered-core", "1024")), LEGS),
    ),
    ("zeta 0 2 254:0 0 254:1 0", MirrorTable(OtherLog("zeta"), LEGS)),
]

STATUSES = [
    ("2 254:0 254:1 0/16 1 AA 1 core", "AA", 0, MirrorLogStatus("core")),
    ("2 254:0 254:1 15/16 1 AD 1 core", "AD", 15, MirrorLogStatus("core")),
    (
        "2 254:0 254:1 16/16 1 RS 3 disk 254:2 A",
        "RS",
        16,
        MirrorLogStatus("disk", LOG, MirrorLogHealth.ALIVE),
    ),
    (
        "2 254:0 254:1 16/16 1 FU 3 disk 254:2 F",
        "FU",
        16,
        MirrorLogStatus("disk", LOG, MirrorLogHealth.FLUSH_FAILED),
    ),
    (
        "2 254:0 254:1 16/16 1 AA userspace 1 COM_FAILURE",
        "AA",
        16,
        MirrorLogStatus("userspace", health=MirrorLogHealth.UNREACHABLE),
    ),
    (
        "2 254:0 254:1 16/16 1 AA 3 clustered-disk 254:2 D",
        "AA",
        16,
        MirrorLogStatus("clustered-disk", LOG, MirrorLogHealth.FAILED),
    ),
    ("2 254:0 254:1 16/16 1 AA any words", "AA", 16, MirrorLogStatus("any", arguments=("words",))),
    ("2 254:0 254:1 16/16 1 AA ", "AA", 16, None),
]


def look(text: str) -> Seen:
    return Seen("mirror", Sectors(0), Sectors(16384), MIRROR.status(text))


def found(text: str) -> dict[str, Severity]:
    findings = MIRROR.observe(look(text)).findings
    return {f"{f.type} {f.key or ''}".strip().removeprefix("mirror."): f.severity for f in findings}


@pytest.mark.parametrize(("text", "table"), TABLES)
def test_table_reads_and_writes(text: str, table: TargetTable) -> None:
    assert MIRROR.table(text) == table
    assert table.format() == text


def test_table_as_a_user_may_write_it() -> None:
    assert MIRROR.table("core 1 1024 2 254:0 0 254:1 0 0") == CORE


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("core 3 1024 sync extra 2 254:0 0 254:1 0", "#log"),
        ("core 0 2 254:0 0 254:1 0", "#log"),
        ("core 2 1024 maybe 2 254:0 0 254:1 0", "sync"),
        ("core 1 1024 3 254:0 0 254:1 0", "#legs"),
        ("core 1 1024 2 254:0 0 254:1 0 2 handle_errors", "#features"),
        ("core 1 1024 2 254:0 0 254:1 0 1 handle_errors more", "end"),
    ],
)
def test_table_is_refused(text: str, field: str) -> None:
    with pytest.raises(TableParseError) as caught:
        MIRROR.table(text)
    assert (caught.value.field, caught.value.text) == (field, text)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"legs": LEGS[:1]}, "#legs"),
        ({"legs": LEGS * 5}, "#legs"),
        ({"log": CoreLog(Sectors(1))}, "region_size"),
        ({"log": CoreLog(Sectors(1000))}, "region_size"),
        ({"log": DiskLog("two words", Sectors(1024))}, "log device"),
        ({"log": UserspaceLog("u", ("core",))}, "log arguments"),
        ({"log": UserspaceLog("u" * 129, ("core", "1024"))}, "log uuid"),
        ({"log": OtherLog("core", ("1024",))}, "log"),
        ({"features": ("keep_log",)}, "features"),
        ({"features": ("handle_error",)}, "features"),
    ],
)
def test_check(change: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidTableError) as caught:
        replace(CORE, **change).format()
    assert caught.value.field == field


def test_a_region_fits_the_line() -> None:
    assert CORE.line(0, 1024).length == 1024
    with pytest.raises(InvalidTableError, match="region_size"):
        CORE.line(0, 1023)
    with pytest.raises(InvalidTableError, match="regions"):
        CORE.line(0, 1024 << 32)


@pytest.mark.parametrize(("text", "health", "in_sync", "log"), STATUSES)
def test_status(text: str, health: str, in_sync: int, log: MirrorLogStatus | None) -> None:
    legs = tuple(
        MirrorLegStatus(device, MirrorHealth(letter))
        for device, letter in zip((A, B), health, strict=True)
    )
    assert MIRROR.status(text) == MirrorStatus(legs, in_sync, 16, log)


def test_words_of_a_later_kernel_are_kept() -> None:
    assert MIRROR.status("2 254:0 254:1 1/1 1 AA 1 core 7 8").extra == ("7", "8")


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("", "#legs"),
        ("2 254:0 254:1 16 1 AA 1 core", "in_sync"),
        ("2 254:0 254:1 1/1 1 A 1 core", "health"),
        ("2 254:0 254:1 1/1 1 AX 1 core", "health"),
        ("2 254:0 254:1 1/1 1 AA 4 disk", "#log"),
    ],
)
def test_status_errors(text: str, field: str) -> None:
    with pytest.raises(StatusParseError) as caught:
        MIRROR.status(text)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2 254:0 254:1 16/16 1 AA 1 core", {}),
        ("2 254:0 254:1 16/16 1 AA 3 disk 254:2 A", {}),
        ("2 254:0 254:1 0/16 1 AA 1 core", {"out-of-sync": Severity.WARNING}),
        (
            "2 254:0 254:1 15/16 1 AD 1 core",
            {"leg-failed 1": Severity.ERROR, "out-of-sync": Severity.WARNING},
        ),
        ("2 254:0 254:1 16/16 1 FA 1 core", {"leg-failed 0": Severity.ERROR}),
        ("2 254:0 254:1 16/16 1 RA 1 core", {"leg-failed 0": Severity.WARNING}),
        ("2 254:0 254:1 16/16 1 SA 1 core", {"leg-failed 0": Severity.WARNING}),
        ("2 254:0 254:1 16/16 1 UA 1 core", {"leg-failed 0": Severity.WARNING}),
        (
            "2 254:0 254:1 16/16 1 DR 1 core",
            {
                "leg-failed 0": Severity.ERROR,
                "leg-failed 1": Severity.WARNING,
                "all-legs-failed": Severity.CRITICAL,
            },
        ),
        ("2 254:0 254:1 16/16 1 AA 3 disk 254:2 D", {"log-failed": Severity.ERROR}),
        ("2 254:0 254:1 16/16 1 AA 3 disk 254:2 F", {"log-failed": Severity.ERROR}),
        ("2 254:0 254:1 16/16 1 AA userspace 1 COM_FAILURE", {"log-failed": Severity.ERROR}),
    ],
)
def test_what_stands(text: str, expected: dict[str, Severity]) -> None:
    assert found(text) == expected


def test_what_is_said() -> None:
    findings = MIRROR.observe(look("2 254:0 254:1 15/16 1 AD 3 disk 254:2 D")).findings
    assert [finding.summary for finding in findings] == [
        "leg 1 (254:1) cannot be written",
        "the disk log (254:2) cannot be used",
        "1 of 16 regions are not in sync on all legs",
    ]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("0/16", "16/16", ["mirror.sync-finished"]),
        ("15/16", "16/16", ["mirror.sync-finished"]),
        ("0/16", "15/16", []),
        ("16/16", "16/16", []),
        ("16/16", "15/16", []),
    ],
)
def test_moments(before: str, after: str, expected: list[str]) -> None:
    looks = [look(f"2 254:0 254:1 {ratio} 1 AA 1 core") for ratio in (before, after)]
    assert [moment.type for moment in MIRROR.moments(*looks)] == expected


def test_nothing_is_said_without_a_status() -> None:
    whole = look("2 254:0 254:1 0/16 1 AA 1 core")
    for status in (None, EmptyStatus()):
        seen = Seen("mirror", Sectors(0), Sectors(8), status)
        assert MIRROR.observe(seen).findings == ()
        assert MIRROR.parts(seen) is None
        assert MIRROR.moments(seen, whole) == MIRROR.moments(whole, seen) == ()


def test_parts() -> None:
    assert MIRROR.parts(look("2 254:0 254:1 0/16 1 AD 1 core")) == frozenset({"0", "1"})


def test_it_is_read_until_it_settles() -> None:
    assert MIRROR.settles
