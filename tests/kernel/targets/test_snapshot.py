"""snapshot, snapshot-merge and snapshot-origin in each of their states."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from dmwatch.severity import Severity
from dmwatch.targets import EmptyStatus, Seen, find
from dmwatch.targets.snapshot import (
    SnapshotInvalid,
    SnapshotMergeFailed,
    SnapshotOverflow,
    SnapshotStore,
    SnapshotTable,
    SnapshotWorking,
)
from dmwatch.targets.snapshot_merge import SnapshotMergeTable
from dmwatch.targets.snapshot_origin import SnapshotOriginTable

Loop = Callable[[float], str]
MIB = 2048
SECTORS = 4 * MIB


@pytest.fixture(autouse=True)
def target(need_target: Callable[[str], None]) -> None:
    need_target("snapshot")


def pair(bench: Any, loop: Loop, store: str, cow_mib: int = 1) -> Any:
    """An origin and a snapshot of it; the COW device can fail."""
    real = loop(4)
    cow = bench.linear("cow", loop(cow_mib), cow_mib * MIB)
    snapshot = bench.make("snapshot", f"0 {SECTORS} snapshot {real} {cow.path} {store} 16")
    # it learns only when it is resumed that there are snapshots, and how large their chunks are
    origin = bench.make("origin", f"0 {SECTORS} snapshot-origin {real}")
    return origin, snapshot, cow


@pytest.mark.parametrize("store", ["P", "PO", "N"])
def test_working(bench: Any, loop: Loop, store: str) -> None:
    origin, snapshot, _ = pair(bench, loop, store)
    assert origin.look().status == EmptyStatus()
    table = snapshot.table()
    assert isinstance(table, SnapshotTable)
    assert table.store is SnapshotStore(store)
    empty = snapshot.look().status
    assert isinstance(empty, SnapshotWorking)
    assert empty.empty
    origin.write(0)
    status = snapshot.look().status
    assert (int(status.total), status.extra) == (MIB, ())
    assert int(status.allocated) == int(empty.allocated) + 128
    assert snapshot.standing() == {}
    bench.again(snapshot)


def test_an_origin_is_written_again(bench: Any, loop: Loop) -> None:
    origin = bench.make("origin", f"0 {SECTORS} snapshot-origin {loop(4)}")
    assert isinstance(bench.again(origin).table(), SnapshotOriginTable)


def test_features(bench: Any, loop: Loop) -> None:
    # with chunks of less than 512 sectors Linux 7.3 divides by zero in table_load
    features = "2 discard_zeroes_cow discard_passdown_origin"
    line = f"0 {SECTORS} snapshot {loop(4)} {loop(1)} P 512 {features}"
    table = bench.again(bench.make("snapshot", line)).table()
    assert table.features == ("discard_zeroes_cow", "discard_passdown_origin")


def test_overflow_then_invalid(bench: Any, loop: Loop) -> None:
    origin, snapshot, _ = pair(bench, loop, "PO")
    with pytest.raises(OSError, match="Input/output"):
        snapshot.write(0, 20)
    assert snapshot.look().status == SnapshotOverflow()
    assert snapshot.standing() == {"snapshot.overflow": Severity.ERROR}
    origin.write(40)
    assert snapshot.look().status == SnapshotInvalid()
    assert snapshot.standing() == {"snapshot.invalid": Severity.CRITICAL}


def test_a_full_store_without_overflow_is_invalid(bench: Any, loop: Loop) -> None:
    origin, snapshot, _ = pair(bench, loop, "N")
    origin.write(0, 20)
    assert snapshot.standing() == {"snapshot.invalid": Severity.CRITICAL}


def to_merge(bench: Any, loop: Loop) -> Any:
    """A snapshot with 1 MiB of differences, and its COW device."""
    cow = bench.linear("cow", loop(2), 2 * MIB)
    line = f"0 {SECTORS} snapshot {loop(4)} {cow.path} P 16"
    snapshot = bench.make("snapshot", line)
    snapshot.write(0, 16)
    return snapshot, cow


def test_merging(bench: Any, loop: Loop) -> None:
    device, _ = to_merge(bench, loop)
    before = device.look()
    device.replace(f"0 {SECTORS} snapshot-merge {device.text('table')}")
    done = device.until(lambda seen: seen.status.empty)
    assert isinstance(done.table, SnapshotMergeTable)
    assert device.standing() == {}
    # it may be too quick for anybody to have seen it at work
    begun = replace(done, status=before.status)
    assert moments(begun, device.look()) == ["snapshot-merge.merge-finished"]
    assert moments(done, device.look()) == []
    device = bench.again(device)
    device.replace(f"0 {SECTORS} linear {done.table.origin} 0")
    assert moments(done, device.look()) == ["snapshot-merge.merge-finished"]
    assert moments(begun, device.look()) == []


def moments(before: Seen, after: Seen) -> list[str]:
    return [moment.type for moment in find("snapshot-merge").moments(before, after)]


def test_a_merge_that_cannot_read_the_cow_device_fails(bench: Any, loop: Loop) -> None:
    device, cow = to_merge(bench, loop)
    text = device.text("table")
    device.witness("suspend", device.name)
    cow.fail()
    device.witness("load", device.name, "--table", f"0 {SECTORS} snapshot-merge {text}")
    device.witness("resume", device.name)
    device.until(lambda seen: isinstance(seen.status, SnapshotMergeFailed))
    assert device.standing() == {"snapshot-merge.merge-failed": Severity.CRITICAL}
