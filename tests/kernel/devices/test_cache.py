"""Caches on a real kernel."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dmwatch.devices import CacheDevice, Device, LinearDevice, Range, blank, changing, plan
from dmwatch.dm import DeviceMapper
from dmwatch.errors import CommandError, DeviceMismatchError, DmwatchError, InvalidTableError
from dmwatch.ioctl.abi import Flags
from dmwatch.table import TargetLine
from dmwatch.targets.cache import CacheMetadataMode, CacheMode, CacheTable, CacheWorking
from dmwatch.units import DataBlocks, MetadataBlocks, Sectors

from .conftest import MIB, Files, tool, until

Names = Callable[[str], str]
Loop = Callable[[float], str]
BLOCK = Sectors(64)


@pytest.fixture(autouse=True)
def target(need_target: Callable[[str], None]) -> None:
    need_target("cache")


class Bench:
    """A cache over linear devices, and what is needed to make them larger."""

    def __init__(self, dm: DeviceMapper, names: Names, loop: Loop) -> None:
        self.dm, self.names = dm, names
        self.disk = loop(96)
        self.metadata = LinearDevice(dm, names("meta"), [self.part(0, 4)])
        self.fast = LinearDevice(dm, names("fast"), [self.part(4, 8)])
        self.slow = LinearDevice(dm, names("slow"), [self.part(16, 32)])
        self.cache = self.cached(names("cache"))

    def part(self, start: float, length: float) -> Range:
        return Range(self.disk, Sectors(int(length * MIB)), Sectors(int(start * MIB)))

    def cached(self, name: str, **changed: Any) -> CacheDevice:
        parts = {"metadata": self.metadata, "cache": self.fast, "origin": self.slow}
        return CacheDevice(self.dm, name, **({"block_size": BLOCK} | parts | changed))

    def status(self) -> CacheWorking:
        found = self.cache.status()
        assert isinstance(found, CacheWorking), found
        return found

    def write(self, mib: int, value: int = 0x5A) -> None:
        """Write the first MiBs, past the page cache."""
        pattern = bytes([value]) * 2**20
        with Path(self.cache.node).open("r+b", buffering=0) as node:
            node.writelines(pattern for _ in range(mib))
            os.fsync(node.fileno())

    @property
    def parts(self) -> tuple[LinearDevice, ...]:
        return self.metadata, self.fast, self.slow


@pytest.fixture
def bench(dm: DeviceMapper, device_name: Names, loop: Loop) -> Iterator[Bench]:
    made = Bench(dm, device_name, loop)
    with changing():
        for part in made.parts:
            part.create()
        made.cache.create()
    yield made
    with changing():
        if made.cache.exists():
            made.cache.teardown()
        for part in made.parts:
            part.teardown()


@pytest.mark.parity(79, "B5")
def test_a_new_cache_says_what_it_is_and_passes_cache_check(bench: Bench) -> None:
    status = bench.status()
    assert status.metadata_block == Sectors(8)
    assert status.metadata_used > MetadataBlocks(0)
    assert status.metadata_total == bench.metadata.size.metadata_blocks()
    assert status.block_size == BLOCK
    assert int(status.cache_total) == bench.fast.size // BLOCK
    assert (status.write_hits, status.write_misses, status.demotions) == (0, 0, 0)
    assert status.dirty == DataBlocks(0)
    assert status.features == ("writethrough",)
    assert status.core_settings == (("migration_threshold", "2048"),)
    assert (status.policy, status.policy_settings) == ("smq", ())
    assert status.metadata_mode is CacheMetadataMode.READ_WRITE
    assert not status.needs_check
    assert bench.cache.setup().differs() == []
    bench.cache.set_policy("smq", [("migration_threshold", "4096")])
    assert bench.status().core_settings == (("migration_threshold", "4096"),)
    bench.cache.set_migration_threshold(Sectors(1000))
    assert bench.status().core_settings == (("migration_threshold", "1000"),)
    bench.cache.teardown()
    tool("cache_check", bench.metadata.node)


@pytest.mark.parity(80, 81, 82)
def test_its_three_devices_grow_and_the_fast_one_shrinks(bench: Bench) -> None:
    cache = bench.cache
    cache.extend(metadata=[bench.part(60, 1)])
    # the kernel goes on with the metadata blocks that it was formatted with
    assert bench.status().metadata_total <= bench.metadata.size.metadata_blocks()
    cache.extend(cache=[bench.part(64, 1)], origin=[bench.part(70, 8)])
    assert int(bench.status().cache_total) == bench.fast.size // BLOCK
    assert cache.size == bench.slow.size == Sectors(40 * MIB)
    assert int(tool("blockdev", "--getsize64", cache.node)) == 40 * 2**20
    before = bench.status().cache_total
    with changing():
        bench.fast.replace(
            [bench.part(4, 8), Range(bench.disk, Sectors(MIB) - BLOCK, Sectors(64 * MIB))]
        )
        cache.reload()
    assert bench.status().cache_total == before - DataBlocks(1)
    assert cache.differs() == []


@pytest.mark.parity(83)
def test_suspend_and_resume_twice(bench: Bench) -> None:
    for _ in range(2):
        bench.cache.suspend(Flags.NOFLUSH)
    for _ in range(2):
        bench.cache.resume()
    assert not bench.cache.info().suspended


@pytest.mark.parity("B20", "B21", "B22")
def test_setup_adopts_by_meaning_and_refuses_by_field(bench: Bench) -> None:
    same = bench.cached(bench.cache.name, policy="default", features=["no_discard_passdown"])
    with pytest.raises(DeviceMismatchError, match="features"):
        same.setup()
    bench.cached(bench.cache.name, policy="mq").setup()
    other = LinearDevice(bench.dm, bench.names("other"), [bench.part(64, 8)]).create()
    with other, pytest.raises(DeviceMismatchError, match=" cache"):
        bench.cached(bench.cache.name, cache=other).setup()
    bench.cache.teardown()
    text = f"{bench.metadata.number} {bench.fast.number} {bench.slow.number} 64"
    features = "3 no_discard_passdown metadata2 writethrough default 0"
    blank(bench.metadata)
    bench.dm.create(bench.cache.name)
    size = int(bench.slow.size)
    bench.dm.load(bench.cache.name, [TargetLine(0, size, "cache", f"{text} {features}")])
    bench.dm.resume(bench.cache.name)
    bench.cached(bench.cache.name, features=["metadata2", "no_discard_passdown"]).setup()


def test_a_block_size_that_cannot_be_is_refused_by_name(bench: Bench) -> None:
    with pytest.raises(InvalidTableError, match="block_size"):
        bench.cached(bench.names("bad"), block_size=Sectors(63)).create()


@pytest.mark.timeout(600)
def test_modes_change_and_passthrough_is_reached_clean(bench: Bench) -> None:
    cache = bench.cache
    cache.set_mode(CacheMode.WRITEBACK)
    assert bench.status().mode is CacheMode.WRITEBACK
    until(lambda: _stopped_dirty(bench), "there are dirty blocks in the metadata")
    cache.set_mode(CacheMode.PASSTHROUGH)
    status = bench.status()
    assert (status.mode, status.dirty) == (CacheMode.PASSTHROUGH, DataBlocks(0))
    assert status.policy == "smq"
    cache.set_mode(CacheMode.WRITETHROUGH)
    assert bench.status().mode is CacheMode.WRITETHROUGH
    assert cache.differs() == []


@pytest.mark.timeout(600)
def test_flush_writes_everything_back_and_goes_on_as_before(bench: Bench) -> None:
    cache = bench.cache
    cache.set_mode(CacheMode.WRITEBACK)
    until(lambda: _dirtied(bench), "there are dirty blocks")
    cache.flush()
    status = bench.status()
    assert (status.mode, status.policy) == (CacheMode.WRITEBACK, "smq")
    assert cache.differs() == []
    assert Path(bench.slow.node).read_bytes()[: 2 * 2**20] == b"\x5a" * 2 * 2**20


def _stopped_dirty(bench: Bench) -> bool:
    """A suspend writes down which blocks are dirty."""
    bench.cache.resume()
    bench.write(2)
    bench.cache.suspend()
    return bench.status().dirty > DataBlocks(0)


def _dirtied(bench: Bench) -> bool:
    bench.write(2)
    return bench.status().dirty > DataBlocks(0)


@pytest.mark.timeout(600)
def test_a_flush_that_cannot_end_puts_the_policy_back(bench: Bench) -> None:
    cache = bench.cache
    cache.set_mode(CacheMode.WRITEBACK)
    until(lambda: _dirtied(bench), "there are dirty blocks")
    # writes to the origin fail: its blocks stay dirty
    below = bench.slow.kernel_lines()[0]
    flaky = TargetLine(0, below.length, "flakey", f"{below.text} 0 1 1 error_writes")
    bench.dm.load(bench.slow.name, [flaky])
    bench.dm.resume(bench.slow.name)
    with pytest.raises(DmwatchError, match="dirty"):
        cache.uncache(timeout=3)
    assert cache.differs() == []
    assert (cache.mode, cache.policy) == (CacheMode.WRITEBACK, "smq")
    assert not cache.info().suspended
    bench.slow.reload()
    cache.uncache().teardown()


@pytest.mark.timeout(600)
def test_data_survives_that_a_cache_is_attached_and_detached(
    bench: Bench, files: Callable[[str], Files]
) -> None:
    bench.cache.teardown()
    blank(bench.metadata)
    plain = LinearDevice(bench.dm, bench.cache.name, bench.slow).create()
    data = files(plain.node)
    data.make()
    data.write("before", 3_000_000)
    # attached under the mounted file system
    cached = bench.cached(plain.name, mode=CacheMode.WRITEBACK)
    planned = [step.command.name for step in plan(cached.reload)]
    assert planned == ["TABLE_LOAD", "DEV_SUSPEND"]
    cached.reload()
    data.check()
    for turn in range(3):
        data.write("cached", 5_000_000, seed=turn)
        data.check()
    number = cached.number
    bare = cached.uncache()
    assert bare.number == number
    assert bare.kernel_lines()[0].type == "linear"
    data.check()
    data.write("after", 1_000_000)
    data.umount()
    tool("cache_check", bench.metadata.node)
    with bare.suspended():
        pass
    data.mount()
    data.check()
    data.umount()
    tool("e2fsck", "-fn", bench.slow.node)
    bare.teardown()


@pytest.mark.parity("B12", "B24")
def test_what_the_kernel_refuses_leaves_the_cache_as_it_was(bench: Bench) -> None:
    cache = bench.cache
    cache.set_mode(CacheMode.WRITEBACK)
    with pytest.raises(CommandError) as raised:
        cache.extend(origin=[bench.part(1000, 8)])  # beyond the end of the disk
    assert raised.value.errno == errno.EINVAL
    with pytest.raises(CommandError):
        cache.set_policy("nonsense")
    everything: list[Device[Any]] = [cache, *bench.parts]
    for device in everything:
        assert device.differs() == []
        assert not device.info().suspended
        assert not device.info().has_staged_table
    (line,) = cache.kernel_lines()
    assert CacheTable.parse(line.text).mode is CacheMode.WRITEBACK
    assert bench.status().policy == "smq"
