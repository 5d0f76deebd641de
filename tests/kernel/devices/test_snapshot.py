"""Snapshots on a real kernel: taken, merged to the end; the data survives."""

from __future__ import annotations

import errno
import mmap
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dmwatch.devices import LinearDevice, OriginDevice, Range, SnapshotDevice, plan
from dmwatch.dm import DeviceMapper
from dmwatch.errors import CommandError, DeviceBusyError, DeviceMismatchError
from dmwatch.targets.snapshot import SnapshotInvalid, SnapshotStore, SnapshotWorking
from dmwatch.units import Sectors

from .conftest import MIB, Files

Names = Callable[[str], str]
Loop = Callable[[float], str]
MAKE_FILES = Callable[[str], Files]
SIZE = 256 * 1024
BASE, COW = 16, 8


class Bench:
    """An origin on a linear device, and room for what is overwritten."""

    def __init__(self, dm: DeviceMapper, names: Names, loop: Loop) -> None:
        self.dm, self.names = dm, names
        disk = loop(BASE + 2 * COW)
        self.below = LinearDevice(dm, names("real"), [Range(disk, Sectors(BASE * MIB))]).create()
        self.cows = [
            LinearDevice(
                dm,
                names("cow"),
                [Range(disk, Sectors(COW * MIB), Sectors((BASE + i * COW) * MIB))],
            ).create()
            for i in range(2)
        ]
        self.base = OriginDevice(dm, names("base"), self.below).create()

    def snapshot(self, cow: int = 0, **options: object) -> SnapshotDevice:
        name = self.names("snapshot")
        return SnapshotDevice(self.dm, name, self.base, cow=self.cows[cow], **options)  # type: ignore[arg-type]

    def teardown(self) -> None:
        self.base.teardown()
        for device in (*self.cows, self.below):
            device.teardown()


@pytest.fixture
def bench(
    dm: DeviceMapper, device_name: Names, loop: Loop, need_target: Callable[[str], None]
) -> Bench:
    need_target("snapshot")
    return Bench(dm, device_name, loop)


def test_a_snapshot_keeps_what_was_and_a_merge_brings_it_back(
    bench: Bench, files: MAKE_FILES
) -> None:
    stored = files(bench.base.node)
    stored.make()
    stored.write("kept", SIZE)
    stored.umount()

    snapshot = bench.snapshot().create()
    changed = files(bench.base.node)
    changed.mount()
    changed.write("kept", SIZE, seed=1)
    changed.write("new", SIZE)
    changed.check()
    changed.umount()
    before = snapshot.status()
    assert isinstance(before, SnapshotWorking)
    assert not before.empty

    shown = files(snapshot.node)
    shown.mount()
    stored.where = shown.where
    stored.check()
    assert not (shown.where / "new").exists()
    with pytest.raises(DeviceBusyError, match="it is open"):
        snapshot.merge()
    assert [line.type for line in bench.base.kernel_lines()] == ["snapshot-origin"]
    shown.umount()

    snapshot.merge(timeout=200)
    assert not snapshot.exists()
    assert [line.type for line in bench.base.kernel_lines()] == ["snapshot-origin"]
    assert bench.base.merge_status() is None
    again = files(bench.base.node)
    again.mount()
    stored.where = again.where
    stored.check()
    assert not (again.where / "new").exists()
    again.umount()
    bench.teardown()


def test_the_origin_reads_as_the_snapshot_while_it_is_merged(bench: Bench) -> None:
    base = bench.base
    write(base.node, b"before", at=0)
    snapshot = bench.snapshot().create()
    write(base.node, b"after!", at=0)
    write(snapshot.node, b"on the snapshot", at=SIZE)
    snapshot.merge(wait=False)
    assert [line.type for line in base.kernel_lines()] == ["snapshot-merge"]
    assert base.differs() == []
    assert read(base.node, 6) == b"before"
    base.finish_merge(timeout=200)
    assert read(base.node, 6) == b"before"
    assert read(base.node, 15, at=SIZE) == b"on the snapshot"
    assert read(bench.below.node, 6) == b"before"
    bench.teardown()


def test_a_persistent_snapshot_goes_on_after_it_was_taken_down(bench: Bench) -> None:
    write(bench.base.node, b"before", at=0)
    snapshot = bench.snapshot().create()
    write(bench.base.node, b"after!", at=0)
    assert snapshot.setup().differs() == []
    snapshot.teardown()
    bench.base.teardown()
    with snapshot.origin.setup(), snapshot.setup():
        assert read(snapshot.node, 6) == b"before"
        assert read(bench.base.node, 6) == b"after!"
        other = SnapshotDevice(
            bench.dm, snapshot.name, bench.base, cow=bench.cows[1], chunk=Sectors(16)
        )
        with pytest.raises(DeviceMismatchError, match="cow"):
            other.setup()
    bench.base.create()
    bench.teardown()


def test_a_half_made_snapshot_that_is_finished_keeps_every_chunk(bench: Bench) -> None:
    """The origin's I/O is cut to the size of the copies only once the origin was resumed, too."""
    write(bench.base.node, b"a" * 2**20, at=0)
    snapshot = bench.snapshot()
    bench.dm.create(snapshot.name)
    bench.dm.load(snapshot.name, snapshot.lines())
    snapshot.setup()
    write_at_once(bench.base.node, b"b" * 2**20)
    assert read(snapshot.node, 2**20) == b"a" * 2**20
    assert not bench.base.info().suspended
    snapshot.teardown()
    bench.teardown()


def test_a_read_only_snapshot_cannot_be_written(bench: Bench) -> None:
    write(bench.base.node, b"before", at=0)
    snapshot = bench.snapshot(read_only=True).create()
    write(bench.base.node, b"after!", at=0)
    assert snapshot.info().read_only
    with pytest.raises(PermissionError):
        write(snapshot.node, b"no", at=0)
    assert read(snapshot.node, 6) == b"before"
    snapshot.teardown()
    bench.teardown()


def test_a_snapshot_that_cannot_be_made_leaves_the_origin_running(bench: Bench) -> None:
    too_small = LinearDevice(
        bench.dm, bench.names("tiny"), [Range(bench.cows[1], Sectors(8))]
    ).create()
    broken = SnapshotDevice(
        bench.dm,
        bench.names("snapshot"),
        bench.base,
        cow="/dev/null",
    )
    with pytest.raises(CommandError):
        broken.create()
    assert not broken.exists()
    assert not bench.base.info().suspended
    write(bench.base.node, b"it works", at=0)
    too_small.teardown()
    bench.teardown()


def test_a_merge_that_cannot_begin_leaves_both_as_they_were(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(bench.base.node, b"before", at=0)
    snapshot = bench.snapshot().create()
    write(bench.base.node, b"after!", at=0)
    resume = bench.dm.resume

    def refuse(device: str, **words: Any) -> Any:
        if device == bench.base.name:
            raise CommandError("DEV_SUSPEND", device, errno.EIO)
        return resume(device, **words)

    with monkeypatch.context() as patched:
        patched.setattr(bench.dm, "resume", refuse)
        with pytest.raises(CommandError):
            snapshot.merge()
    for device in (bench.base, snapshot):
        info = device.info()
        assert (info.suspended, info.has_staged_table) == (False, False)
    assert read(snapshot.node, 6) == b"before"
    assert read(bench.base.node, 6) == b"after!"
    snapshot.merge(timeout=200)
    assert read(bench.base.node, 6) == b"before"
    bench.teardown()


def test_a_full_snapshot_is_told_and_cannot_be_merged(bench: Bench) -> None:
    tiny = LinearDevice(bench.dm, bench.names("tiny"), [Range(bench.cows[1], Sectors(256))])
    tiny.create()
    snapshot = SnapshotDevice(bench.dm, bench.names("snapshot"), bench.base, cow=tiny)
    snapshot.create()
    write(bench.base.node, b"x" * 2**20, at=0)
    assert isinstance(snapshot.status(), SnapshotInvalid)
    with pytest.raises(Exception, match="cannot be merged: its state is invalid"):
        snapshot.merge()
    assert read(bench.base.node, 4) == b"xxxx"
    snapshot.teardown()
    tiny.teardown()
    bench.teardown()


def test_a_plan_says_what_a_merge_would_send(bench: Bench) -> None:
    snapshot = bench.snapshot(store=SnapshotStore.PERSISTENT_OVERFLOW).create()
    steps = plan(snapshot.merge)
    shown = [str(step).split("\n")[0] for step in steps]
    base, name = bench.base.name, snapshot.name
    assert shown == [
        f"DEV_SUSPEND {name} suspend",
        f"TABLE_LOAD {base}",
        f"DEV_SUSPEND {base} resume",
        f"DEV_REMOVE {name}",
        f"TABLE_LOAD {base}",
        f"DEV_SUSPEND {base} resume",
    ]
    assert snapshot.exists()
    assert bench.base.differs() == []
    snapshot.teardown()
    bench.teardown()


def write(device: str, data: bytes, at: int) -> None:
    with Path(device).open("r+b", buffering=0) as node:
        node.seek(at)
        node.write(data.ljust(-(-len(data) // 512) * 512, b"\0"))
        os.fsync(node.fileno())


def write_at_once(device: str, data: bytes) -> None:
    """As one request, past the page cache."""
    with mmap.mmap(-1, len(data)) as memory:
        memory.write(data)
        file = os.open(device, os.O_WRONLY | os.O_DIRECT)
        try:
            assert os.write(file, memory) == len(data)
        finally:
            os.close(file)


def read(device: str, size: int, at: int = 0) -> bytes:
    file = os.open(device, os.O_RDONLY)
    try:
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        return os.pread(file, size, at)
    finally:
        os.close(file)
