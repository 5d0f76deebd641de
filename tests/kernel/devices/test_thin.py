"""Thin pools and volumes on a real kernel."""

from __future__ import annotations

import errno
import mmap
import os
import subprocess
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dmwatch.devices import Device, LinearDevice, Range, ThinDevice, ThinPool, blank, changing
from dmwatch.dm import DeviceMapper
from dmwatch.errors import CommandError, DeviceBusyError, DeviceMismatchError, InvalidTableError
from dmwatch.ioctl.abi import Flags
from dmwatch.table import TargetLine
from dmwatch.targets.thin import ThinTable, ThinTableUnavailable, ThinWorking
from dmwatch.targets.thin_pool import (
    CreateThin,
    Discard,
    NoSpace,
    PoolMode,
    ThinPoolFail,
    ThinPoolTable,
    ThinPoolWorking,
)
from dmwatch.units import DataBlocks, MetadataBlocks, Sectors

from .conftest import MIB, Files, tool, until

Names = Callable[[str], str]
Loop = Callable[[float], str]
BLOCK = Sectors(128)
METADATA, DATA = 4, 32
FEATURES = ("no_discard_passdown", "skip_block_zeroing")


@pytest.fixture(autouse=True)
def target(need_target: Callable[[str], None]) -> None:
    need_target("thin-pool")


class Bench:
    """A pool over linear devices, and what is needed to make more."""

    def __init__(self, dm: DeviceMapper, names: Names, loop: Loop) -> None:
        self.dm, self.names = dm, names
        self.disk = loop(2 * (METADATA + DATA))
        self.metadata = LinearDevice(dm, names("meta"), [self.part(0, METADATA)])
        self.data = LinearDevice(dm, names("data"), [self.part(METADATA, DATA)])
        self.spare_metadata = self.part(METADATA + DATA, METADATA)
        self.spare_data = self.part(2 * METADATA + DATA, DATA)
        self.pool = ThinPool(
            dm,
            names("pool"),
            metadata=self.metadata,
            data=self.data,
            block_size=BLOCK,
            low_water=DataBlocks(1),
            features=FEATURES,
        )

    def part(self, start: float, length: float) -> Range:
        return Range(self.disk, Sectors(int(length * MIB)), Sectors(int(start * MIB)))

    def thin(self, mib: int = 16, **options: Any) -> ThinDevice:
        size = Sectors(mib * MIB)
        return ThinDevice(self.dm, self.names("thin"), pool=self.pool, size=size, **options)

    def status(self) -> ThinPoolWorking:
        found = self.pool.status()
        assert isinstance(found, ThinPoolWorking), found
        return found

    def checked(self) -> None:
        """Take the pool down and let thin_check look at it."""
        self.pool.teardown()
        tool("thin_check", self.metadata.node)


@pytest.fixture
def bench(dm: DeviceMapper, device_name: Names, loop: Loop) -> Iterator[Bench]:
    made = Bench(dm, device_name, loop)
    with changing():
        made.metadata.create()
        made.data.create()
        made.pool.create()
    yield made
    with changing():
        if made.pool.exists():
            made.pool.teardown()
        made.data.teardown()
        made.metadata.teardown()


@pytest.mark.parity(63, 68, 69, 70)
def test_a_new_pool_says_what_it_is_and_passes_thin_check(bench: Bench) -> None:
    status = bench.status()
    assert status.mode is PoolMode.READ_WRITE
    assert not status.needs_check
    assert status.discard is Discard.NO_PASSDOWN
    assert status.no_space is NoSpace.QUEUE
    assert status.held_root is None
    assert status.metadata_used > MetadataBlocks(0)
    assert status.metadata_total == bench.metadata.size.metadata_blocks()
    assert status.data_used == DataBlocks(0)
    assert int(status.data_total) == bench.data.size // BLOCK
    (line,) = bench.pool.kernel_lines()
    table = ThinPoolTable.parse(line.text)
    assert (table.metadata, table.data) == (bench.metadata.number, bench.data.number)
    bench.checked()


@pytest.mark.parity(64)
def test_a_block_that_is_too_small_is_refused_by_name(bench: Bench) -> None:
    other = ThinPool(
        bench.dm,
        bench.names("pool"),
        metadata=bench.metadata,
        data=bench.data,
        block_size=Sectors(64),
    )
    with pytest.raises(InvalidTableError, match="block_size"):
        other.create()
    assert not other.exists()


@pytest.mark.parity(65, 66, 67)
def test_data_and_metadata_grow_and_the_pool_is_swapped_once(bench: Bench) -> None:
    bench.pool.extend(data=[bench.spare_data], metadata=[bench.spare_metadata])
    status = bench.status()
    assert status.data_total.sectors(BLOCK) == bench.data.size == Sectors(2 * DATA * MIB)
    assert status.metadata_total.sectors() == bench.metadata.size == Sectors(2 * METADATA * MIB)
    for _ in range(2):
        bench.pool.suspend(Flags.NOFLUSH)
    for _ in range(2):
        bench.pool.resume()
    bench.checked()


def test_setup_adopts_a_pool_and_brings_mark_and_features_in_line(bench: Bench) -> None:
    pool = bench.pool
    pool.setup()
    number = pool.number
    pool.low_water, pool.features = DataBlocks(9), ("error_if_no_space",)
    pool.setup()
    assert pool.number == number
    assert bench.status().no_space is NoSpace.ERROR
    assert pool.differs() == []
    pool.block_size = Sectors(256)
    with pytest.raises(DeviceMismatchError, match="block_size"):
        pool.setup()
    pool.block_size = BLOCK
    pool.teardown()
    pool.setup()
    assert pool.differs() == []


def test_features_mark_transaction_and_metadata_snapshot(bench: Bench) -> None:
    pool = bench.pool
    pool.change_features(add=["error_if_no_space"], drop=["skip_block_zeroing"])
    assert bench.status().no_space is NoSpace.ERROR
    pool.change_features(drop=["error_if_no_space"])
    assert bench.status().no_space is NoSpace.QUEUE
    pool.set_low_water(DataBlocks(5))
    assert ThinPoolTable.parse(pool.kernel_lines()[0].text).low_water == DataBlocks(5)
    pool.set_transaction_id(7)
    pool.set_transaction_id(8, current=7)
    with pytest.raises(CommandError):
        pool.set_transaction_id(9, current=7)
    assert pool.transaction_id() == 8
    pool.reserve_metadata_snapshot()
    assert bench.status().held_root is not None
    assert "superblock" in tool("thin_dump", "-m", bench.metadata.node)
    pool.release_metadata_snapshot()
    assert bench.status().held_root is None
    bench.checked()


@pytest.mark.parity(71, 72)
def test_volumes_that_cannot_be(bench: Bench) -> None:
    with pytest.raises(InvalidTableError, match="length"):
        bench.thin(0).create()
    with pytest.raises(CommandError):
        bench.thin(1, thin_id=77).setup()
    bench.pool.send(CreateThin(0))  # the id that the one without a length would have had
    bench.pool.delete_id(0)


@pytest.mark.parity(73, 78, "B11")
def test_the_life_of_a_volume(bench: Bench) -> None:
    thin = bench.thin().create()
    assert thin.thin_id == 0
    table = ThinTable.parse(thin.kernel_lines()[0].text)
    assert (table.pool, table.thin_id) == (bench.pool.number, 0)  # type: ignore[union-attr]
    assert thin.status() == ThinWorking(Sectors(0), None)
    assert int(tool("blockdev", "--getsize64", thin.node)) == int(thin.size.bytes())
    with pytest.raises(DeviceBusyError):
        thin.create()
    with pytest.raises(CommandError) as raised:
        bench.thin(thin_id=0).create()
    assert raised.value.errno == errno.EEXIST
    assert "thin id is in use" in raised.value.because
    assert thin.exists()
    thin.setup()
    thin.setup()
    thin.teardown()
    thin.setup()
    second = bench.thin().create()
    assert second.thin_id == 1
    second.delete()
    thin.delete()
    with pytest.raises(CommandError):
        thin.setup()
    with pytest.raises(CommandError):
        bench.pool.delete_id(0)
    bench.checked()


@pytest.mark.parity("B10", "B11")
def test_what_fails_takes_no_id_and_leaves_nothing_suspended(bench: Bench) -> None:
    thin = bench.thin().create()
    ids = thin_ids(bench)
    taken = thin.name
    with pytest.raises(DeviceBusyError):
        ThinDevice(bench.dm, taken, pool=bench.pool, size=Sectors(128)).create()
    with pytest.raises(DeviceBusyError):
        thin.snapshot(taken)
    with pytest.raises(CommandError):
        thin.snapshot(bench.names("snap"), thin_id=thin.thin_id)
    with pytest.raises(InvalidTableError):
        thin.set_origin(bench.pool)  # a pool cannot be its own volume's origin
    with pytest.raises(CommandError):
        _several_and_one_that_fails(bench, thin)
    assert not thin.info().suspended
    assert thin.differs() == []
    assert thin_ids(bench) == ids == {0}
    assert bench.pool.transaction_id() == 0
    with Path(thin.node).open("rb"), pytest.raises(DeviceBusyError):
        thin.delete(patience=0)
    assert thin.exists()
    thin.teardown()
    bench.checked()


def _several_and_one_that_fails(bench: Bench, thin: ThinDevice) -> None:
    with changing():
        thin.snapshot(bench.names("snap"))
        bench.thin().create()
        bench.pool.set_transaction_id(5, current=3)


def thin_ids(bench: Bench) -> set[int]:
    """The ids that the pool's metadata holds, by thin_dump."""
    bench.pool.reserve_metadata_snapshot()
    shown = tool("thin_dump", "-m", bench.metadata.node)
    bench.pool.release_metadata_snapshot()
    return {int(part.partition('"')[0]) for part in shown.split('dev_id="')[1:]}


@pytest.mark.parity(75)
def test_a_snapshot_takes_no_space_and_has_the_same_size(bench: Bench) -> None:
    thin = bench.thin().create()
    snapshot = thin.snapshot(bench.names("snap"))
    assert bench.status().data_used == DataBlocks(0)
    assert snapshot.size == thin.size
    assert not thin.info().suspended
    snapshot.delete()
    thin.teardown()
    again = thin.snapshot(bench.names("snap"))  # of one that is not active
    again.teardown()


@pytest.mark.timeout(600)
@pytest.mark.parity(76)
def test_data_survives_extension_snapshot_and_a_full_pool_that_grows(
    bench: Bench, files: Callable[[str], Files]
) -> None:
    thin = bench.thin(24).create()
    data = files(thin.node)
    data.make()
    after_mkfs = bench.status().data_used
    assert after_mkfs > DataBlocks(0)
    data.write("first", 4_000_000)
    snapshot = thin.snapshot(bench.names("snap"))
    os.sync()
    used = bench.status().data_used
    assert used > after_mkfs
    data.write("first", 4_000_000, seed=1)
    data.write("second", 1_000_000)
    os.sync()
    assert bench.status().data_used > used
    thin.extend(Sectors(16 * MIB))
    tool("resize2fs", thin.node)
    data.check()
    # more than the pool has: the writer waits until there is space
    bench.pool.extend(data=[bench.spare_data], metadata=[bench.spare_metadata])
    data.write("third", 20_000_000)
    data.check()
    data.umount()
    before = files(snapshot.node)
    before.mount()
    before.expect("first", 4_000_000)
    before.check()
    before.umount()
    snapshot.delete()
    thin.teardown()
    bench.checked()
    bench.pool.setup()
    thin.setup()
    data.mount()
    data.check()
    data.umount()
    thin.delete()
    bench.checked()


@pytest.mark.parity(77)
def test_volumes_and_snapshots_take_what_is_written_and_no_more(bench: Bench) -> None:
    def used() -> int:
        os.sync()
        return int(bench.status().data_used)

    thin = bench.thin(16).create()
    assert used() == 0
    write(thin, range(8))
    assert used() == 8
    snapshot = thin.snapshot(bench.names("snap"))
    assert used() == 8
    write(snapshot, range(3))  # what is overwritten is no longer shared
    assert used() == 11
    write(snapshot, range(3))
    assert used() == 11
    write(thin, [20])
    assert used() == 12
    large = bench.thin(1 << 20).create()  # 1 TiB, in a pool of 32 MiB
    assert used() == 12
    write(large, [0, (large.size // BLOCK) - 1])
    assert used() == 14
    for device, blocks in ((thin, 9), (snapshot, 8), (large, 2)):
        status = device.status()
        assert isinstance(status, ThinWorking)
        assert status.mapped == BLOCK * blocks
        device.delete()
    assert used() == 0
    bench.checked()


def write(device: ThinDevice, blocks: Iterable[int]) -> None:
    """Write whole blocks, past the page cache."""
    size = int(BLOCK) * 512
    with mmap.mmap(-1, size) as memory:
        memory.write(b"\x5a" * size)
        file = os.open(device.node, os.O_WRONLY | os.O_DIRECT)
        try:
            for block in blocks:
                assert os.pwrite(file, memory, block * size) == size
        finally:
            os.close(file)


def test_a_pool_that_refuses_to_shrink_runs_on_as_it_was(bench: Bench) -> None:
    """It refuses when its new table is in place; the old one fits once its data is back."""
    thin = bench.thin().create()
    write(thin, [0])

    def shrink() -> None:
        with changing():
            bench.data.replace([bench.part(METADATA, DATA // 2)])
            bench.pool.reload()

    with pytest.raises(CommandError) as raised:
        shrink()
    assert raised.value.errno == errno.EINVAL
    assert not getattr(raised.value, "__notes__", [])
    everything: list[Device[Any]] = [bench.data, bench.metadata, bench.pool, thin]
    for device in everything:
        assert device.differs() == []
        assert not device.info().suspended
        assert not device.info().has_staged_table
    assert int(bench.status().data_total) == bench.data.size // BLOCK == DATA * MIB // int(BLOCK)
    write(thin, [1])
    thin.delete()
    bench.checked()


def _marked_and_then_one_that_fails(bench: Bench) -> None:
    with changing():
        bench.pool.set_low_water(DataBlocks(9))
        bench.thin(1, thin_id=0).create()


@pytest.mark.timeout(600)
def test_a_writer_that_waits_for_space_goes_on_when_the_pool_grows(bench: Bench) -> None:
    thin = bench.thin(48).create()
    command = ["dd", "if=/dev/zero", f"of={thin.node}", "bs=1M", "count=40", "oflag=direct"]
    writer = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        until(lambda: bench.status().mode is PoolMode.OUT_OF_DATA_SPACE, "the pool is full")
        with pytest.raises(CommandError):  # what fails meanwhile leaves the pool as it was
            _marked_and_then_one_that_fails(bench)
        assert bench.pool.low_water == DataBlocks(1)
        assert bench.pool.differs() == []
        assert not bench.pool.info().suspended
        assert bench.status().mode is PoolMode.OUT_OF_DATA_SPACE
        bench.pool.extend(data=[bench.spare_data])
        assert writer.wait(240) == 0
    finally:
        writer.kill()
        writer.wait()
    assert bench.status().mode is PoolMode.READ_WRITE
    thin.delete()
    bench.checked()


def test_an_external_origin_shows_where_nothing_was_written(bench: Bench, loop: Loop) -> None:
    outside = loop(1)
    Path(outside).write_bytes(b"\x5a" * 2**20)
    thin = bench.thin(1, origin=outside).create()
    with Path(thin.node).open("r+b", buffering=0) as node:
        node.write(bytes(65536))
        os.fsync(node.fileno())
    assert Path(thin.node).read_bytes() == bytes(65536) + b"\x5a" * (2**20 - 65536)
    assert thin.setup().differs() == []
    thin.set_origin(None)
    assert thin.setup().differs() == []
    thin.delete()


def _write_a_block(device: ThinDevice) -> None:
    with Path(device.node).open("r+b", buffering=0) as node:
        node.write(b"\x5a" * 65536)
        os.fsync(node.fileno())


@pytest.mark.parity("B7")
def test_a_failed_pool_is_told_and_volumes_are_not_adopted_blindly(bench: Bench) -> None:
    thin = bench.thin().create()
    size = int(bench.metadata.size)
    bench.metadata.suspend()
    bench.dm.load(bench.metadata.name, [TargetLine(0, size, "error")])
    bench.metadata.resume()
    with pytest.raises(OSError, match="error"):
        _write_a_block(thin)
    until(lambda: isinstance(bench.pool.status(), ThinPoolFail), "the pool fails", 60)
    assert isinstance(ThinTable.parse(thin.kernel_lines()[0].text), ThinTableUnavailable)
    with pytest.raises(DeviceMismatchError, match="table"):
        thin.setup()
    thin.teardown()


def test_blank_metadata_is_a_new_pool(bench: Bench) -> None:
    bench.thin(thin_id=3).create().teardown()
    bench.pool.teardown()
    bench.pool.setup()
    bench.thin(thin_id=3).setup().teardown()
    bench.pool.teardown()
    blank(bench.metadata)
    bench.pool.create()
    with pytest.raises(CommandError):
        bench.thin(thin_id=3).setup()


def test_everything_goes_with_one_call(bench: Bench) -> None:
    bench.pool.teardown(below=True)
    assert not any(d.exists() for d in (bench.pool, bench.data, bench.metadata))
    with changing():
        bench.metadata.setup()
        bench.data.setup()
        bench.pool.setup()
    bench.checked()
