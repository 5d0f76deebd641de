"""Pools and volumes on the fake kernel."""

from __future__ import annotations

import errno

import pytest

from dmwatch.devices import LinearDevice, Range, ThinDevice, ThinPool, ZeroDevice, changing, plan
from dmwatch.dm import DeviceMapper
from dmwatch.errors import CommandError, DeviceBusyError, DeviceMismatchError, InvalidValueError
from dmwatch.ioctl.abi import Command, Flags
from dmwatch.targets.thin_pool import CreateThin, ThinPoolWorking
from dmwatch.testing import FakeKernel
from dmwatch.units import DataBlocks, Sectors

from .conftest import CHANGING, ThinIds, flags_of

SIZE = Sectors(4096)
STATUS = "7 10/1024 5/512 - rw discard_passdown queue_if_no_space - 256 "


def volume(pool: ThinPool, name: str = "v", thin_id: int | None = None) -> ThinDevice:
    return ThinDevice(pool.dm, name, pool=pool, size=SIZE, thin_id=thin_id)


def messages(kernel: FakeKernel) -> list[str]:
    return [text for _, _, text in kernel.messages]


# Ids


def test_ids_are_taken_in_order_and_those_in_use_are_passed_over(
    pool: ThinPool, thins: ThinIds
) -> None:
    thins.ids |= {0, 1, 3}
    assert [volume(pool, name).create().thin_id for name in "abc"] == [2, 4, 5]


def test_when_many_ids_are_in_use_others_are_tried(pool: ThinPool, thins: ThinIds) -> None:
    thins.ids |= set(range(1000))
    assert (volume(pool).create().thin_id or 0) >= 1000


def test_no_free_id_is_a_sentence(pool: ThinPool, kernel: FakeKernel) -> None:
    kernel.fail(Command.TARGET_MSG, errno.EEXIST, times=None)
    with pytest.raises(CommandError, match="no free thin id was found"):
        volume(pool).create()
    with pytest.raises(CommandError, match="the thin id is in use"):
        volume(pool, thin_id=5).create()


@pytest.mark.parametrize("thin_id", [-1, 1 << 24])
@pytest.mark.parity(44, "B25")
def test_an_id_that_cannot_be_is_refused(pool: ThinPool, thin_id: int) -> None:
    with pytest.raises(InvalidValueError):
        volume(pool, thin_id=thin_id).create()
    assert not volume(pool).exists()


@pytest.mark.parity(44)
def test_the_last_id_can_be_taken(pool: ThinPool) -> None:
    assert volume(pool, thin_id=(1 << 24) - 1).create().thin_id == (1 << 24) - 1
    assert volume(pool, "w").create().thin_id == 0


@pytest.mark.parity("B11")
def test_no_id_is_taken_for_a_name_that_is(
    pool: ThinPool, kernel: FakeKernel, thins: ThinIds
) -> None:
    kernel.add("v")
    with pytest.raises(DeviceBusyError, match="a device of that name is there"):
        volume(pool).create()
    assert messages(kernel) == []
    thin = volume(pool, "w").create()
    with pytest.raises(DeviceBusyError):
        thin.snapshot("v")
    assert thins.ids == {0}


# Volumes


@pytest.mark.parity(73)
def test_setup_takes_a_volume_that_the_pool_has(pool: ThinPool, kernel: FakeKernel) -> None:
    thin = volume(pool).create()
    thin.teardown()
    before = messages(kernel)
    assert volume(pool, thin_id=thin.thin_id).setup().differs() == []
    assert messages(kernel) == before


@pytest.mark.parity(72)
def test_setup_needs_an_id(pool: ThinPool) -> None:
    with pytest.raises(InvalidValueError, match="no thin id yet"):
        volume(pool).setup()


def test_a_snapshot_suspends_its_origin_with_a_flush_and_frozen(
    pool: ThinPool, kernel: FakeKernel
) -> None:
    thin = volume(pool).create()
    before = len(kernel.calls)
    snapshot = thin.snapshot("s", uuid="U-s")
    calls = [c for c in kernel.calls[before:] if c.command in CHANGING]
    assert [(c.command.name, c.device) for c in calls[:4]] == [
        ("DEV_SUSPEND", "v"),
        ("TARGET_MSG", "pool"),
        ("DEV_SUSPEND", "v"),
        ("DEV_CREATE", "s"),
    ]
    assert flags_of(calls[0].request) == Flags.SUSPEND
    assert messages(kernel)[-1] == "create_snap 1 0"
    assert (snapshot.size, snapshot.info().uuid) == (SIZE, "U-s")


def test_a_snapshot_of_a_volume_that_is_not_active_suspends_nothing(
    pool: ThinPool, kernel: FakeKernel
) -> None:
    thin = volume(pool).create()
    thin.teardown()
    before = len(kernel.calls)
    thin.snapshot("s")
    calls = [c.command.name for c in kernel.calls[before:] if c.command in CHANGING]
    assert calls == ["TARGET_MSG", "DEV_CREATE", "TABLE_LOAD", "DEV_SUSPEND"]


def test_the_size_and_the_origin_can_be_changed(pool: ThinPool, disk: ZeroDevice) -> None:
    thin = volume(pool).create()
    thin.extend(SIZE)
    thin.set_origin(disk)
    (line,) = thin.kernel_lines()
    assert (line.length, line.text) == (8192, f"{pool.number} 0 {disk.number}")
    assert thin.snapshot("s").origin is disk
    thin.set_origin(None)
    thin.resize(SIZE)
    assert thin.kernel_lines()[0].length == 4096


@pytest.mark.parity(78)
def test_delete_removes_the_device_and_then_the_volume(
    pool: ThinPool, kernel: FakeKernel, thins: ThinIds
) -> None:
    thin = volume(pool).create()
    thin.delete()
    assert thins.ids == set()
    assert not thin.exists()
    idle = volume(pool).create()
    idle.teardown()
    idle.delete()
    assert thins.ids == set()


def test_a_volume_that_the_pool_does_not_delete_has_its_device_back(
    pool: ThinPool, kernel: FakeKernel
) -> None:
    thin = volume(pool).create()
    kernel.fail(Command.TARGET_MSG, errno.EIO)
    with pytest.raises(CommandError):
        thin.delete()
    assert thin.differs() == []


# Pools


def test_a_pool_is_swapped_without_a_flush(pool: ThinPool, kernel: FakeKernel) -> None:
    pool.set_low_water(DataBlocks(3))
    resume = [c for c in kernel.calls if c.command is Command.DEV_SUSPEND][-1]
    assert flags_of(resume.request) == Flags.NOFLUSH | Flags.SKIP_LOCKFS


@pytest.mark.parity(65, 66)
def test_lower_devices_grow_first_and_the_pool_is_swapped_once(
    pool: ThinPool, disk: ZeroDevice
) -> None:
    more = Range(disk, Sectors(1024), Sectors(100_000))
    steps = plan(pool.extend, data=[more], metadata=[more])
    assert [(s.command.name, s.device) for s in steps] == [
        ("TABLE_LOAD", "meta"),
        ("DEV_SUSPEND", "meta"),
        ("TABLE_LOAD", "data"),
        ("DEV_SUSPEND", "data"),
        ("TABLE_LOAD", "pool"),
        ("DEV_SUSPEND", "pool"),
    ]
    pool.extend(data=[more])
    assert pool.kernel_lines()[0].length == 65536 + 1024


def test_only_a_linear_device_can_be_extended_with_the_pool(
    dm: DeviceMapper, disk: ZeroDevice
) -> None:
    parts = [ZeroDevice(dm, name, Sectors(8192)).create() for name in ("m", "d")]
    pool = ThinPool(dm, "p", metadata=parts[0], data=parts[1], block_size=Sectors(128)).create()
    with pytest.raises(InvalidValueError, match="data device is not a LinearDevice"):
        pool.extend(data=[Range(disk)])
    parts[1].extend(Sectors(8192))
    pool.reload()
    assert pool.kernel_lines()[0].length == 16384


def test_features_that_are_so_already_send_nothing(pool: ThinPool, kernel: FakeKernel) -> None:
    pool.change_features(add=["error_if_no_space"])
    before = len(kernel.calls)
    pool.change_features(add=["error_if_no_space"], drop=["read_only"])
    assert len(kernel.calls) == before
    pool.change_features(drop=["error_if_no_space"])
    assert pool.features == ()


def test_setup_brings_mark_and_features_in_line_and_refuses_the_rest(
    pool: ThinPool, kernel: FakeKernel
) -> None:
    pool.low_water, pool.features = DataBlocks(9), ("error_if_no_space",)
    pool.setup()
    assert pool.differs() == []
    pool.block_size = Sectors(256)
    with pytest.raises(DeviceMismatchError) as raised:
        pool.setup()
    assert (raised.value.field, raised.value.wanted, raised.value.found) == (
        "block_size",
        "256",
        "128",
    )


def test_the_transaction_id_is_counted_on(
    pool: ThinPool, kernel: FakeKernel, thins: ThinIds
) -> None:
    kernel.set_status("pool", 0, STATUS)
    thins.transaction = 7
    assert pool.transaction_id() == 7
    pool.set_transaction_id(8)
    with pytest.raises(CommandError):
        pool.set_transaction_id(9, current=7)
    with pytest.raises(ValueError, match="later"):
        _count_and_fail(pool)
    assert thins.transaction == 8


def _count_and_fail(pool: ThinPool) -> None:
    with changing():
        pool.set_transaction_id(9, current=8)
        raise ValueError("later")


def test_a_metadata_snapshot_is_held_and_dropped(pool: ThinPool, thins: ThinIds) -> None:
    pool.reserve_metadata_snapshot()
    assert thins.held
    pool.release_metadata_snapshot()
    assert not thins.held


def test_status_is_typed(pool: ThinPool, kernel: FakeKernel) -> None:
    kernel.set_status("pool", 0, STATUS)
    status = pool.status()
    assert isinstance(status, ThinPoolWorking)
    assert status.data_used == DataBlocks(5)
    thin = volume(pool).create()
    kernel.set_status("v", 0, "128 127")
    assert thin.status().state == "working"


def test_a_volume_of_another_pool_is_taken_back_when_a_later_step_fails(
    pool: ThinPool, thins: ThinIds
) -> None:
    with pytest.raises(ValueError, match="later"):
        _make_and_fail(pool)
    assert thins.ids == set()
    assert not volume(pool).exists()


def _make_and_fail(pool: ThinPool) -> None:
    with changing():
        pool.send(CreateThin(5))
        pool.delete_id(5)
        volume(pool).create()
        raise ValueError("later")


def test_teardown_takes_the_parts_along_where_it_is_asked_to(
    pool: ThinPool, kernel: FakeKernel
) -> None:
    pool.teardown(below=True)
    assert [device.name for device in kernel.devices] == [b"disk"]
    linear = pool.metadata
    assert isinstance(linear, LinearDevice)
    assert not linear.exists()
