"""writecache, delay and flakey: their tables, and how a cache is detached."""

from __future__ import annotations

import pytest

from dmwatch.devices import DelayDevice, FlakeyDevice, WritecacheDevice, ZeroDevice, plan
from dmwatch.dm import DeviceMapper
from dmwatch.errors import DeviceMismatchError, DmwatchError
from dmwatch.ioctl.abi import Command
from dmwatch.table import TargetLine
from dmwatch.targets.delay import DelayStatus
from dmwatch.targets.flakey import FlakeyFault
from dmwatch.targets.writecache import WritecacheOption
from dmwatch.testing import FakeKernel
from dmwatch.units import Sectors

SIZE = 1 << 20
CLEAN, DIRTY, FAILED = "0 100 100 0", "0 100 40 0", "1 100 40 0"


@pytest.fixture(autouse=True)
def targets(kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel.targets.update({"writecache": (1, 6, 0), "flakey": (1, 5, 0)})
    monkeypatch.setattr("dmwatch.devices.waiting.PAUSE", 0.001)


@pytest.fixture
def fast(dm: DeviceMapper) -> ZeroDevice:
    return ZeroDevice(dm, "fast", Sectors(4096)).create()


@pytest.fixture
def cache(
    dm: DeviceMapper, kernel: FakeKernel, disk: ZeroDevice, fast: ZeroDevice
) -> WritecacheDevice:
    made = WritecacheDevice(dm, "cache", origin=disk, cache=fast).create()
    kernel.set_status("cache", 0, DIRTY)
    return made


def table(kernel: FakeKernel, name: str) -> TargetLine:
    (line,) = kernel.dm.table(name)
    return line


def test_a_writecache_is_as_large_as_its_origin(
    kernel: FakeKernel, cache: WritecacheDevice, disk: ZeroDevice, fast: ZeroDevice
) -> None:
    text = f"s {disk.number} {fast.number} 4096 0"
    assert table(kernel, "cache") == TargetLine(0, SIZE, "writecache", text)


def test_options_of_speed_make_no_other_writecache(
    cache: WritecacheDevice, disk: ZeroDevice, fast: ZeroDevice
) -> None:
    quick = [WritecacheOption("writeback_jobs", 8)]
    same = WritecacheDevice(cache.dm, "cache", origin=disk, cache=fast, features=quick)
    assert same.setup().differs() == []
    with pytest.raises(DeviceMismatchError, match="differs in length"):
        WritecacheDevice(cache.dm, "cache", origin=fast, cache=disk).setup()


def test_a_writecache_is_cleaned_then_replaced(
    kernel: FakeKernel, cache: WritecacheDevice, disk: ZeroDevice
) -> None:
    texts = iter([DIRTY, "0 100 99 1", CLEAN, CLEAN])
    kernel.before(
        Command.TABLE_STATUS,
        lambda: kernel.set_status("cache", 0, next(texts, CLEAN)),
        times=4,
        device="cache",
    )
    number = cache.number
    shown = [str(step).partition("\n")[0] for step in plan(cache.detach)]
    assert shown == ["TARGET_MSG cache cleaner", "TABLE_LOAD cache", "DEV_SUSPEND cache resume"]
    bare = cache.detach(timeout=30)
    assert kernel.messages == [("cache", 0, "cleaner")]
    assert table(kernel, "cache") == TargetLine(0, SIZE, "linear", f"{disk.number} 0")
    assert (bare.number, bare.differs()) == (number, [])


@pytest.mark.parametrize(
    ("status", "sentence"), [(DIRTY, "has not happened within"), (FAILED, "the cache has failed")]
)
def test_a_writecache_that_does_not_get_clean_stays(
    kernel: FakeKernel, cache: WritecacheDevice, status: str, sentence: str
) -> None:
    kernel.set_status("cache", 0, status)
    with pytest.raises(DmwatchError, match=sentence):
        cache.detach(timeout=0.02)
    assert table(kernel, "cache").type == "writecache"
    assert not cache.info().has_staged_table


def test_a_flush_that_failed_is_told(kernel: FakeKernel, cache: WritecacheDevice) -> None:
    cache.flush()
    kernel.set_status("cache", 0, FAILED)
    with pytest.raises(DmwatchError, match="the cache has failed"):
        cache.flush()


def test_a_delay_is_of_reads_writes_and_flushes(
    dm: DeviceMapper, kernel: FakeKernel, disk: ZeroDevice
) -> None:
    device = DelayDevice(dm, "delay", disk, reads=1).create()
    below = f"{disk.number} 0"
    assert table(kernel, "delay").text == f"{below} 1 {below} 1 {below} 1"
    device.set(reads=1, writes=2)
    assert table(kernel, "delay").text == f"{below} 1 {below} 2 {below} 2"
    device.set(reads=1, flushes=3)
    assert table(kernel, "delay").text == f"{below} 1 {below} 1 {below} 3"
    kernel.set_status("delay", 0, "1 2 3")
    assert device.status() == DelayStatus(1, 2, 3)


@pytest.mark.parametrize("printed", ["0", "2 error_reads error_writes"])
def test_both_ways_to_say_that_all_fails_are_one(
    dm: DeviceMapper, kernel: FakeKernel, disk: ZeroDevice, printed: str
) -> None:
    device = FlakeyDevice(dm, "flakey", disk, up=1, down=2).create()
    kernel.swap("flakey", TargetLine(0, SIZE, "flakey", f"{disk.number} 0 1 2 {printed}"))
    assert device.setup().differs() == []
    device.set(up=3, down=4, features=[FlakeyFault.DROP_WRITES])
    assert table(kernel, "flakey").text == f"{disk.number} 0 3 4 1 drop_writes"
    assert FlakeyDevice(dm, "flakey", disk, up=3, down=4).differs() == ["features"]


@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_delay_that_others_wrote_shorter_is_the_same(
    dm: DeviceMapper, kernel: FakeKernel, disk: ZeroDevice, times: int
) -> None:
    text = " ".join([f"{disk.number} 0 5"] * times)
    kernel.add("d", TargetLine(0, SIZE, "delay", text))
    assert DelayDevice(dm, "d", disk, reads=5).setup().differs() == []
    with pytest.raises(DeviceMismatchError, match="delay: wanted 6, found 5"):
        DelayDevice(dm, "d", disk, reads=5, writes=6).setup()
