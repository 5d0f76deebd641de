"""Caches on the fake kernel."""

from __future__ import annotations

import pytest

from dmwatch.devices import CacheDevice, LinearDevice, Range, ZeroDevice, plan
from dmwatch.dm import DeviceMapper
from dmwatch.errors import DmwatchError, InvalidTableError
from dmwatch.ioctl.abi import Command
from dmwatch.targets.cache import CacheMode, CacheTable, CacheWorking
from dmwatch.testing import FakeKernel
from dmwatch.units import DataBlocks, Sectors

WORKING = (
    "8 9/1024 64 64/256 0 0 128 0 0 64 {dirty} 1 writeback 2 migration_threshold 2048 "
    "smq 0 {mode} - "
)


@pytest.fixture
def cache(dm: DeviceMapper, disk: ZeroDevice) -> CacheDevice:
    parts = {
        name: LinearDevice(dm, name, [Range(disk, Sectors(8192), Sectors(n * 8192))]).create()
        for n, name in enumerate(("metadata", "cache", "origin"))
    }
    return CacheDevice(
        dm,
        "c",
        metadata=parts["metadata"],
        cache=parts["cache"],
        origin=parts["origin"],
        block_size=Sectors(64),
        mode=CacheMode.WRITEBACK,
        settings=[("migration_threshold", "4096")],
    ).create()


def table(cache: CacheDevice) -> CacheTable:
    (line,) = cache.kernel_lines()
    return CacheTable.parse(line.text)


def cleans(kernel: FakeKernel, statuses: list[str]) -> None:
    """With the cleaner in place the cache says these statuses in turn; the last one for ever."""

    def say() -> None:
        text = statuses.pop(0) if len(statuses) > 1 else statuses[0]
        live = kernel.device("c").live
        assert live
        if live.lines[0].type == "cache":
            kernel.set_status("c", 0, text)

    kernel.before(Command.TABLE_STATUS, say, device="c", times=None)


def working(dirty: int, mode: str = "rw") -> str:
    return WORKING.format(dirty=dirty, mode=mode)


def test_what_is_sent(cache: CacheDevice) -> None:
    (line,) = cache.kernel_lines()
    assert (line.length, line.type) == (8192, "cache")
    assert line.text == "253:1 253:2 253:3 64 1 writeback smq 2 migration_threshold 4096"


def test_a_cleaning_waits_until_nothing_is_dirty_and_puts_everything_back(
    cache: CacheDevice, kernel: FakeKernel
) -> None:
    cleans(kernel, [working(5), working(5), working(2), working(0)])
    cache.flush(timeout=30)
    assert table(cache).mode is CacheMode.WRITEBACK
    assert (cache.policy, cache.settings) == ("smq", (("migration_threshold", "4096"),))
    assert cache.differs() == []


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (working(3), "still has 3 data blocks dirty after 0 s"),
        (working(3, "ro"), "its metadata is read-only"),
        ("Fail", "it has failed"),
        ("Error", "it has failed"),
    ],
)
def test_a_cleaning_that_cannot_end_leaves_the_cache_as_it_was(
    cache: CacheDevice, kernel: FakeKernel, status: str, sentence: str
) -> None:
    before = table(cache)
    cleans(kernel, [status])
    with pytest.raises(DmwatchError, match=sentence):
        cache.uncache(timeout=0)
    assert table(cache) == before
    assert cache.differs() == []
    assert not cache.info().suspended


def test_uncache_puts_the_clean_origin_in_place(cache: CacheDevice, kernel: FakeKernel) -> None:
    cleans(kernel, [working(0)])
    number = cache.number
    bare = cache.uncache(timeout=30)
    assert isinstance(bare, LinearDevice)
    assert (bare.number, bare.name) == (number, "c")
    assert bare.kernel_lines()[0].text == "253:3 0"
    assert bare.setup().differs() == []


def test_passthrough_is_reached_clean_and_other_modes_at_once(
    cache: CacheDevice, kernel: FakeKernel
) -> None:
    assert [s.command for s in plan(cache.set_mode, CacheMode.WRITETHROUGH)] == [
        Command.TABLE_LOAD,
        Command.DEV_SUSPEND,
    ]
    cleans(kernel, [working(1), working(0)])
    cache.set_mode(CacheMode.PASSTHROUGH, timeout=30)
    assert table(cache).mode is CacheMode.PASSTHROUGH
    assert (table(cache).policy, table(cache).settings) == (
        "smq",
        (("migration_threshold", "4096"),),
    )


@pytest.mark.parity("B5")
def test_settings_are_counted_in_words(cache: CacheDevice) -> None:
    cache.set_policy("smq", [("migration_threshold", "100")])
    (line,) = cache.kernel_lines()
    assert line.text.endswith("smq 2 migration_threshold 100")
    with pytest.raises(InvalidTableError):
        cache.set_policy("smq", [("sequential_threshold", "100")])
    assert table(cache).settings == (("migration_threshold", "100"),)


def test_the_threshold_is_a_message_and_lasts_over_the_next_table(
    cache: CacheDevice, kernel: FakeKernel
) -> None:
    cache.set_migration_threshold(Sectors(77))
    assert kernel.messages == [("c", 0, "migration_threshold 77")]
    cache.set_mode(CacheMode.WRITETHROUGH)
    assert table(cache).settings == (("migration_threshold", "77"),)


@pytest.mark.parity(80, 81, 82)
def test_lower_devices_grow_first_and_the_cache_is_swapped_once(
    cache: CacheDevice, disk: ZeroDevice
) -> None:
    more = [Range(disk, Sectors(64), Sectors(100_000))]
    cache.extend(metadata=more, cache=more, origin=more)
    assert cache.kernel_lines()[0].length == 8192 + 64
    devices = [s.device for s in plan(cache.extend, metadata=more, cache=more, origin=more)]
    assert devices == ["metadata"] * 2 + ["cache"] * 2 + ["origin"] * 2 + ["c"] * 2


def test_status_is_typed(cache: CacheDevice, kernel: FakeKernel) -> None:
    kernel.set_status("c", 0, working(4))
    status = cache.status()
    assert isinstance(status, CacheWorking)
    assert status.dirty == DataBlocks(4)


def test_a_plan_does_not_wait_for_a_cleaning(cache: CacheDevice) -> None:
    commands = [step.command.name for step in plan(cache.uncache)]
    assert commands == ["TABLE_LOAD", "DEV_SUSPEND"] * 2
    assert cache.differs() == []


def test_teardown_takes_the_parts_along_where_it_is_asked_to(
    cache: CacheDevice, kernel: FakeKernel
) -> None:
    cache.teardown(below=True)
    assert [device.name for device in kernel.devices] == [b"disk"]
