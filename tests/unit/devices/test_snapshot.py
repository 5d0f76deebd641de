"""Snapshots and their origin: the order of what is sent, and the merge to its end."""

from __future__ import annotations

import pytest

from dmwatch.devices import OriginDevice, SnapshotDevice, ZeroDevice, plan
from dmwatch.dm import DeviceMapper
from dmwatch.errors import (
    DeviceBusyError,
    DeviceNotFoundError,
    DmwatchError,
    InvalidTableError,
)
from dmwatch.ioctl.abi import Command, Flags
from dmwatch.table import TargetLine
from dmwatch.targets.snapshot import SnapshotStore, SnapshotWorking
from dmwatch.testing import FakeKernel
from dmwatch.units import Sectors

SIZE = 1 << 20


@pytest.fixture(autouse=True)
def targets(kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel.targets.update({"snapshot-origin": (1, 9, 0), "snapshot-merge": (1, 5, 0)})
    monkeypatch.setattr("dmwatch.devices.waiting.PAUSE", 0.001)


@pytest.fixture
def cow(dm: DeviceMapper) -> ZeroDevice:
    return ZeroDevice(dm, "cow", Sectors(4096)).create()


@pytest.fixture
def base(dm: DeviceMapper, disk: ZeroDevice) -> OriginDevice:
    return OriginDevice(dm, "base", disk).create()


@pytest.fixture
def snapshot(
    dm: DeviceMapper, kernel: FakeKernel, base: OriginDevice, cow: ZeroDevice
) -> SnapshotDevice:
    made = SnapshotDevice(dm, "snapshot", base, cow=cow, chunk=Sectors(8)).create()
    kernel.set_status("snapshot", 0, "64/4096 16")
    return made


def sent(kernel: FakeKernel) -> list[str]:
    """The commands that change something, suspends told from resumes."""
    names = {Command.DEV_CREATE: "create", Command.DEV_REMOVE: "remove", Command.TABLE_LOAD: "load"}
    shown = []
    for call in kernel.calls:
        if call.command is Command.DEV_SUSPEND:
            shown.append(f"{'suspend' if call.flags & Flags.SUSPEND else 'resume'} {call.device}")
        elif call.command in names:
            shown.append(f"{names[call.command]} {call.device}")
    return shown


def table(kernel: FakeKernel, name: str) -> TargetLine:
    (line,) = kernel.dm.table(name)
    return line


def test_the_origin_is_held_up_while_a_snapshot_comes_to_life(
    dm: DeviceMapper, kernel: FakeKernel, base: OriginDevice, cow: ZeroDevice, disk: ZeroDevice
) -> None:
    before = len(sent(kernel))
    SnapshotDevice(dm, "snapshot", base, cow=cow).create()
    assert sent(kernel)[before:] == [
        "create snapshot",
        "load snapshot",
        "suspend base",
        "resume snapshot",
        "resume base",
    ]
    text = f"{disk.number} {cow.number} P 16"
    assert table(kernel, "snapshot") == TargetLine(0, SIZE, "snapshot", text)
    assert table(kernel, "base") == TargetLine(0, SIZE, "snapshot-origin", str(disk.number))


@pytest.mark.parametrize("loaded", [False, True])
def test_the_origin_is_held_up_too_while_a_half_made_snapshot_is_finished(
    dm: DeviceMapper, kernel: FakeKernel, base: OriginDevice, cow: ZeroDevice, *, loaded: bool
) -> None:
    """Else the origin's I/O is not cut to the size of the copies, and most of it is not copied."""
    snapshot = SnapshotDevice(dm, "snapshot", base, cow=cow)
    kernel.add("snapshot")
    if loaded:
        kernel.dm.load("snapshot", snapshot.lines())
    before = len(sent(kernel))
    snapshot.setup()
    assert sent(kernel)[before:] == [
        *([] if loaded else ["load snapshot"]),
        "suspend base",
        "resume snapshot",
        "resume base",
    ]


def test_an_origin_that_was_suspended_stays_so(
    dm: DeviceMapper, kernel: FakeKernel, base: OriginDevice, cow: ZeroDevice
) -> None:
    base.suspend()
    before = len(sent(kernel))
    snapshot = SnapshotDevice(dm, "snapshot", base, cow=cow)
    assert len(plan(snapshot.create)) == 3
    snapshot.create()
    assert sent(kernel)[before:] == ["create snapshot", "load snapshot", "resume snapshot"]
    assert base.info().suspended


def test_a_snapshot_can_be_one_that_cannot_be_written(
    dm: DeviceMapper, base: OriginDevice, cow: ZeroDevice
) -> None:
    snapshot = SnapshotDevice(dm, "snapshot", base, cow=cow, read_only=True).create()
    assert snapshot.info().read_only
    assert not base.info().read_only


def test_without_its_origin_no_snapshot_is_made(
    dm: DeviceMapper, disk: ZeroDevice, cow: ZeroDevice
) -> None:
    snapshot = SnapshotDevice(dm, "snapshot", OriginDevice(dm, "base", disk), cow=cow)
    with pytest.raises(DeviceNotFoundError, match="DEV_SUSPEND of base"):
        snapshot.create()
    assert not snapshot.exists()


def test_a_snapshot_that_is_there_already_holds_nothing_up(
    kernel: FakeKernel, snapshot: SnapshotDevice
) -> None:
    before = len(sent(kernel))
    overflowing = SnapshotDevice(
        snapshot.dm,
        "snapshot",
        snapshot.origin,
        cow=snapshot.cow,
        store=SnapshotStore.PERSISTENT_OVERFLOW,
        chunk=Sectors(8),
    )
    assert overflowing.setup().differs() == []
    assert len(sent(kernel)) == before


def test_a_merge_hands_the_store_over_and_ends_as_a_plain_origin(
    kernel: FakeKernel, snapshot: SnapshotDevice, base: OriginDevice, disk: ZeroDevice
) -> None:
    before = len(sent(kernel))
    snapshot.merge(wait=False)
    assert sent(kernel)[before:] == [
        "suspend snapshot",
        "load base",
        "resume base",
        "remove snapshot",
    ]
    assert table(kernel, "base").type == "snapshot-merge"
    kernel.set_status("base", 0, "64/4096 16")
    assert isinstance(base.merge_status(), SnapshotWorking)
    with pytest.raises(DmwatchError, match="end of the merge into base has not happened"):
        base.finish_merge(timeout=0.02)
    assert base.differs() == []
    kernel.set_status("base", 0, "16/4096 16")
    base.finish_merge(timeout=30)
    assert table(kernel, "base") == TargetLine(0, SIZE, "snapshot-origin", str(disk.number))
    assert base.merge_status() is None


def test_a_merge_waits_for_its_end(kernel: FakeKernel, snapshot: SnapshotDevice) -> None:
    looks: list[int] = []

    def look() -> None:
        looks.append(1)
        kernel.set_status("base", 0, "16/4096 16" if len(looks) > 3 else "64/4096 16")

    kernel.before(Command.TABLE_STATUS, look, times=None, device="base")
    snapshot.merge(timeout=30)
    assert table(kernel, "base").type == "snapshot-origin"
    assert len(looks) > 3


@pytest.mark.parametrize("status", ["Merge failed", "Invalid"])
def test_a_merge_that_failed_is_told_and_stays_as_it_is(
    kernel: FakeKernel, snapshot: SnapshotDevice, base: OriginDevice, status: str
) -> None:
    snapshot.merge(wait=False)
    kernel.set_status("base", 0, status)
    with pytest.raises(DmwatchError, match="the merge into base has failed"):
        base.finish_merge()
    assert table(kernel, "base").type == "snapshot-merge"
    assert base.merging is not None


def test_a_snapshot_that_is_open_is_not_merged(
    kernel: FakeKernel, snapshot: SnapshotDevice
) -> None:
    kernel.open_device("snapshot")
    before = len(sent(kernel))
    with pytest.raises(DeviceBusyError, match="it is open: mounted"):
        snapshot.merge()
    assert len(sent(kernel)) == before
    assert snapshot.origin.merging is None


@pytest.mark.parametrize("status", ["Invalid", "Overflow"])
def test_a_snapshot_that_is_lost_is_not_merged(
    kernel: FakeKernel, snapshot: SnapshotDevice, status: str
) -> None:
    kernel.set_status("snapshot", 0, status)
    before = len(sent(kernel))
    with pytest.raises(DmwatchError, match="cannot be merged: its state is"):
        snapshot.merge()
    assert len(sent(kernel)) == before


def test_a_transient_snapshot_cannot_be_merged(
    dm: DeviceMapper, kernel: FakeKernel, base: OriginDevice, cow: ZeroDevice
) -> None:
    store = SnapshotStore.TRANSIENT
    snapshot = SnapshotDevice(dm, "snapshot", base, cow=cow, store=store).create()
    kernel.set_status("snapshot", 0, "0/4096 0")
    before = len(sent(kernel))
    with pytest.raises(InvalidTableError, match="a transient store cannot be merged"):
        snapshot.merge()
    assert len(sent(kernel)) == before


def test_a_plan_of_a_merge_reaches_its_end(snapshot: SnapshotDevice) -> None:
    assert [str(step).partition("\n")[0] for step in plan(snapshot.merge)][-2:] == [
        "TABLE_LOAD base",
        "DEV_SUSPEND base resume",
    ]
    assert snapshot.exists()
