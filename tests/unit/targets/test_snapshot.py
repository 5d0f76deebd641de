from __future__ import annotations

import pytest

from dmwatch.errors import InvalidTableError, StatusParseError, TableParseError
from dmwatch.names import DeviceNumber
from dmwatch.severity import Severity
from dmwatch.targets import EmptyStatus, Gauge, Moment, Seen, TargetTable, find
from dmwatch.targets.snapshot import (
    SnapshotInvalid,
    SnapshotMergeFailed,
    SnapshotOverflow,
    SnapshotStore,
    SnapshotTable,
    SnapshotUnknown,
    SnapshotWorking,
)
from dmwatch.targets.snapshot_merge import MergeFinishedData, SnapshotMergeTable
from dmwatch.targets.snapshot_origin import SnapshotOriginTable
from dmwatch.units import Sectors

SNAPSHOT, MERGE, ORIGIN = find("snapshot"), find("snapshot-merge"), find("snapshot-origin")
A, B = DeviceNumber(254, 4), DeviceNumber(254, 5)
P, PO, N = SnapshotStore.PERSISTENT, SnapshotStore.PERSISTENT_OVERFLOW, SnapshotStore.TRANSIENT
BOTH = ("discard_zeroes_cow", "discard_passdown_origin")


@pytest.mark.parametrize(
    ("text", "table"),
    [
        ("254:4 254:5 P 16", SnapshotTable(A, B, P, Sectors(16))),
        ("254:4 254:5 PO 16", SnapshotTable(A, B, PO, Sectors(16))),
        ("254:4 254:5 N 16", SnapshotTable(A, B, N, Sectors(16))),
        ("254:4 254:5 P 0", SnapshotTable(A, B, P, Sectors(0))),
        ("/dev/a /dev/b P 2097152", SnapshotTable("/dev/a", "/dev/b", P, Sectors(2097152))),
        (f"254:4 254:5 P 8 2 {' '.join(BOTH)}", SnapshotTable(A, B, P, Sectors(8), BOTH)),
    ],
)
def test_table_reads_and_writes(text: str, table: SnapshotTable) -> None:
    assert SNAPSHOT.table(text) == table
    assert table.format() == text


@pytest.mark.parametrize("text", ["254:4 254:5 p 16", "254:4 254:5 P 16 0"])
def test_what_a_user_may_write(text: str) -> None:
    assert SNAPSHOT.table(text) == SnapshotTable(A, B, P, Sectors(16))


@pytest.mark.parametrize(
    ("text", "field", "position"),
    [
        ("254:4 254:5 X 16", "store", 3),
        ("254:4 254:5 P", "chunk", 4),
        ("254:4 254:5 P 16 1", "#features", 5),
        ("254:4 254:5 P 16 0 x", "end", 6),
    ],
)
def test_table_errors(text: str, field: str, position: int) -> None:
    with pytest.raises(TableParseError) as caught:
        SNAPSHOT.table(text)
    assert (caught.value.field, caught.value.position) == (field, position)


@pytest.mark.parametrize(
    ("table", "field"),
    [
        (SnapshotTable(A, A, P, Sectors(16)), "cow"),
        (SnapshotTable("", B, P, Sectors(16)), "origin"),
        (SnapshotTable(A, B, P, Sectors(24)), "chunk"),
        (SnapshotTable(A, B, P, Sectors(4194304)), "chunk"),
        (SnapshotTable(A, B, N, Sectors(0)), "chunk"),
        (SnapshotTable(A, B, P, Sectors(16), ("passdown",)), "features"),
        (SnapshotTable(A, B, P, Sectors(16), BOTH[1:]), "features"),
        (SnapshotTable(A, B, P, Sectors(16), BOTH[:1] * 3), "features"),
        (SnapshotMergeTable(A, B, N, Sectors(16)), "store"),
        (SnapshotMergeTable(A, B, P, Sectors(24)), "chunk"),
    ],
)
def test_rules(table: TargetTable, field: str) -> None:
    with pytest.raises(InvalidTableError) as caught:
        table.format()
    assert caught.value.field == field
    assert caught.value.target == table.type


def test_merge_table_is_of_its_own_type() -> None:
    table = MERGE.table("254:12 254:13 P 16")
    assert type(table) is SnapshotMergeTable
    assert table.line(0, 32768).type == "snapshot-merge"
    assert table.format() == "254:12 254:13 P 16"


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("32/4096 32", SnapshotWorking(Sectors(32), Sectors(4096), Sectors(32))),
        ("128/4096 0", SnapshotWorking(Sectors(128), Sectors(4096), Sectors(0))),
        ("160/4096 32 7", SnapshotWorking(Sectors(160), Sectors(4096), Sectors(32), extra=("7",))),
        ("Invalid", SnapshotInvalid()),
        ("Overflow", SnapshotOverflow()),
        ("Merge failed", SnapshotMergeFailed()),
        ("Unknown", SnapshotUnknown()),
    ],
)
@pytest.mark.parametrize("target", [SNAPSHOT, MERGE], ids=lambda target: target.type)
def test_status(target: object, text: str, status: object) -> None:
    assert SNAPSHOT.status(text) == status
    assert MERGE.status(text) == status


@pytest.mark.parametrize(
    ("text", "field", "position"),
    [("160 32", "allocated", 1), ("160/4096", "metadata", 2), ("Merge going", "state", 2)],
)
def test_status_errors(text: str, field: str, position: int) -> None:
    with pytest.raises(StatusParseError) as caught:
        MERGE.status(text)
    assert (caught.value.target, caught.value.field) == ("snapshot-merge", field)
    assert caught.value.position == position


def look(target: str, text: str | None) -> Seen:
    status = None if text is None else find(target).status(text)
    return Seen(target, Sectors(0), Sectors(32768), status)


@pytest.mark.parametrize(
    ("target", "text", "expected"),
    [
        ("snapshot", "160/4096 32", []),
        ("snapshot", "Overflow", [("snapshot.overflow", Severity.ERROR)]),
        ("snapshot", "Invalid", [("snapshot.invalid", Severity.CRITICAL)]),
        ("snapshot", "Merge failed", []),
        ("snapshot", "Unknown", []),
        ("snapshot", None, []),
        ("snapshot-merge", "160/4096 32", []),
        ("snapshot-merge", "Merge failed", [("snapshot-merge.merge-failed", Severity.CRITICAL)]),
        ("snapshot-merge", "Invalid", [("snapshot-merge.merge-failed", Severity.CRITICAL)]),
        ("snapshot-merge", None, []),
        ("snapshot-origin", "", []),
    ],
)
def test_what_stands(target: str, text: str | None, expected: object) -> None:
    found = find(target).observe(look(target, text)).findings
    assert [(f.type, f.severity) for f in found] == expected
    assert {f.key for f in found} <= {None}


def test_usage() -> None:
    gauges = SNAPSHOT.observe(look("snapshot", "160/4096 32")).gauges
    assert gauges == (Gauge("snapshot.usage", 160, 4096, "sectors"),)
    assert MERGE.observe(look("snapshot-merge", "160/4096 32")).gauges == ()


def finished(before: Seen, after: Seen) -> list[str | None]:
    found: tuple[Moment, ...] = MERGE.moments(before, after)
    assert {(m.type, m.severity) for m in found} <= {
        ("snapshot-merge.merge-finished", Severity.NOTICE)
    }
    data = [moment.data for moment in found]
    assert all(isinstance(item, MergeFinishedData) for item in data)
    return [item.followed_by for item in data]


GOING, DONE = look("snapshot-merge", "1056/16384 32"), look("snapshot-merge", "32/16384 32")
LINEAR = Seen("linear", Sectors(0), Sectors(32768), EmptyStatus())


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (GOING, DONE, [None]),
        (DONE, DONE, []),
        (GOING, GOING, []),
        (DONE, LINEAR, ["linear"]),
        (GOING, LINEAR, []),
        (DONE, look("snapshot", "32/16384 32"), ["snapshot"]),
        (GOING, look("snapshot-merge", "Merge failed"), []),
        (look("snapshot-merge", "Merge failed"), DONE, []),
        (look("snapshot-merge", None), DONE, []),
        (GOING, look("snapshot-merge", None), []),
        (look("snapshot-merge", None), LINEAR, []),
    ],
)
def test_merge_finished(before: Seen, after: Seen, expected: list[str | None]) -> None:
    assert finished(before, after) == expected


def test_origin() -> None:
    assert ORIGIN.table("254:0") == SnapshotOriginTable(DeviceNumber(254, 0))
    assert SnapshotOriginTable("/dev/sdb").format() == "/dev/sdb"
    assert ORIGIN.status("") == EmptyStatus()
    for text in ("", "254:0 0"):
        with pytest.raises(TableParseError):
            ORIGIN.table(text)
    with pytest.raises(InvalidTableError):
        SnapshotOriginTable("a b").format()
