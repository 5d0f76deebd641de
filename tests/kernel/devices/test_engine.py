"""The engine on a real kernel: made, made so, changed, undone, taken down."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dmwatch.devices import (
    ErrorDevice,
    LinearDevice,
    Range,
    StripedDevice,
    TableDevice,
    ZeroDevice,
    block_size_of,
    changing,
    number_of,
    plan,
    size_of,
)
from dmwatch.dm import DeviceMapper
from dmwatch.errors import (
    CommandError,
    DeviceBusyError,
    DeviceMismatchError,
    InvalidTableError,
)
from dmwatch.ioctl.abi import Flags
from dmwatch.table import TargetLine
from dmwatch.targets.striped import StripedStatus
from dmwatch.units import Bytes, Sectors

from .conftest import MIB, Files, tool

Names = Callable[[str], str]
Loop = Callable[[float], str]
Dmsetup = Callable[..., str]
SIZE = Sectors(MIB)


def bytes_of(node: str) -> int:
    """What BLKGETSIZE64 says."""
    return int(tool("blockdev", "--getsize64", node))


@pytest.mark.parity(54, 55)
def test_a_device_needs_a_table(dm: DeviceMapper, device_name: Names, loop: Loop) -> None:
    with pytest.raises(InvalidTableError):
        LinearDevice(dm, device_name("empty"), []).setup()
    disk = loop(1)
    with LinearDevice(dm, device_name("linear"), disk).create() as device:
        with pytest.raises(InvalidTableError):
            device.replace([])
        assert device.ranges == (Range(disk),)
        device.resume()
        assert device.differs() == []


@pytest.mark.parity(56, 57)
def test_renaming(dm: DeviceMapper, device_name: Names) -> None:
    with ZeroDevice(dm, device_name("zero"), SIZE).create() as device:
        first = device.name
        device.rename(first)
        device.rename(device_name("renamed"))
        assert device.name != first
        assert device.info().name == device.name
        with ZeroDevice(dm, first, SIZE).create() as other:
            with pytest.raises(DeviceBusyError):
                other.rename(device.name)
            assert other.name == first


@pytest.mark.parity(58)
def test_the_same_piece_twice(dm: DeviceMapper, device_name: Names, loop: Loop) -> None:
    disk = loop(1)
    piece = Range(disk, Sectors(1))
    with LinearDevice(dm, device_name("linear"), [piece, piece]).create() as device:
        assert len(device.kernel_lines()) == 2
        assert bytes_of(device.node) == int(device.size.bytes()) == 1024


@pytest.mark.parity(59)
def test_several_pieces_come_back_as_given(
    dm: DeviceMapper, device_name: Names, loop: Loop, dmsetup: Dmsetup
) -> None:
    disk = loop(1)
    pieces = [Range(disk, Sectors(n + 1), Sectors(100 * n)) for n in range(5)]
    with LinearDevice(dm, device_name("linear"), pieces).create() as device:
        assert device.kernel_lines() == device.lines()
        assert len(dmsetup("table", device.name).splitlines()) == 5
        assert device.differs() == []


@pytest.mark.parity(60, "B13")
def test_setup_adopts_finishes_and_refuses(
    dm: DeviceMapper, device_name: Names, loop: Loop, dmsetup: Dmsetup
) -> None:
    disk, name = loop(1), device_name("linear")
    device = LinearDevice(dm, name, [Range(disk, SIZE)], uuid=f"U-{name}")
    device.setup()
    number = device.number
    device.setup()
    assert device.number == number
    with pytest.raises(DeviceMismatchError) as raised:
        LinearDevice(dm, name, [Range(disk, SIZE - Sectors(8), Sectors(8))]).setup()
    assert raised.value.field == "length"
    with pytest.raises(DeviceMismatchError, match="uuid"):
        LinearDevice(dm, name, [Range(disk, SIZE)], uuid="U-other").setup()
    device.teardown()
    dm.create(name, f"U-{name}")  # and then the power went
    device.setup()
    assert device.differs() == []
    device.teardown()
    dm.create(name, f"U-{name}")
    dm.load(name, device.lines())
    device.setup()
    assert device.differs() == []
    dmsetup("suspend", name)
    device.setup()
    assert not device.info().suspended
    dm.load(name, [TargetLine(0, 8, "error")])
    device.setup()
    assert not device.info().has_staged_table
    device.teardown()


@pytest.mark.parity(61)
def test_two_devices_over_the_same_piece(dm: DeviceMapper, device_name: Names, loop: Loop) -> None:
    disk = loop(1)
    with (
        LinearDevice(dm, device_name("first"), disk).create() as first,
        LinearDevice(dm, device_name("second"), disk).create() as second,
    ):
        assert first.kernel_lines() == second.kernel_lines()


@pytest.mark.parity(62)
def test_suspend_and_resume_twice(dm: DeviceMapper, device_name: Names, loop: Loop) -> None:
    with LinearDevice(dm, device_name("linear"), loop(1)).create() as device:
        for _ in range(2):
            device.suspend(Flags.NOFLUSH)
            assert device.info().suspended
        for _ in range(2):
            device.resume()
            assert not device.info().suspended
        with device.suspended():
            assert device.info().suspended
        assert not device.info().suspended


def test_sizes_and_blocks_of_what_lies_below(
    dm: DeviceMapper, device_name: Names, loop: Loop
) -> None:
    disk = loop(1)
    assert size_of(disk) == SIZE
    assert block_size_of(disk) == Bytes(512)
    number = number_of(disk)
    assert number
    assert size_of(number) == SIZE
    with LinearDevice(dm, device_name("linear"), number).create() as device:
        assert size_of(device) == size_of(device.number) == SIZE
        assert bytes_of(device.node) == int(SIZE.bytes())


@pytest.mark.parity("B12", "B24")
def test_what_the_kernel_refuses_leaves_everything_as_it_was(
    dm: DeviceMapper, device_name: Names, loop: Loop
) -> None:
    disk = loop(1)
    lower = LinearDevice(dm, device_name("lower"), [Range(disk, Sectors(1024))]).create()
    upper = LinearDevice(dm, device_name("upper"), lower, uuid="U-upper").create()
    new = ZeroDevice(dm, device_name("new"), SIZE)

    def too_much() -> None:
        with changing():
            new.create()
            lower.extend(Range(disk, Sectors(1024), Sectors(1024)))
            upper.reload()
            upper.rename(device_name("renamed"))
            upper.extend(Range(disk, SIZE, SIZE))  # beyond the end of the disk

    with pytest.raises(CommandError, match="DEV_SUSPEND of renamed") as raised:
        too_much()
    assert raised.value.errno == errno.EINVAL
    assert not hasattr(raised.value, "__notes__")
    assert not new.exists()
    for device in (lower, upper):
        info = device.info()
        assert (device.size, bytes_of(device.node)) == (Sectors(1024), 512 * 1024)
        assert not info.suspended
        assert not info.has_staged_table
        assert device.differs() == []
    with changing():
        upper.teardown()
        lower.teardown()


@pytest.mark.parity("B3")
def test_a_teardown_that_fails_below_puts_back_what_was_above(
    dm: DeviceMapper, device_name: Names, loop: Loop
) -> None:
    disk = loop(1)
    lower = LinearDevice(dm, device_name("lower"), disk).create()
    upper = LinearDevice(dm, device_name("upper"), lower, uuid="U-upper").create()
    numbers = lower.number, upper.number

    def both_down() -> None:
        with changing():
            upper.teardown()
            lower.teardown(patience=0)

    with Path(lower.node).open("rb"):
        with pytest.raises(DeviceBusyError):
            both_down()
        assert (lower.number, upper.number) == numbers
        assert upper.differs() == []
        assert upper.info().uuid == "U-upper"
    upper.teardown()
    lower.teardown()


def test_a_plan_sends_nothing_and_says_what_then_happens(
    dm: DeviceMapper, device_name: Names, loop: Loop
) -> None:
    disk = loop(1)
    lower = LinearDevice(dm, device_name("lower"), [Range(disk, Sectors(1024))])
    upper = LinearDevice(dm, device_name("upper"), lower)

    def both() -> None:
        lower.create()
        upper.create()

    planned = [(step.command, step.device) for step in plan(both)]
    assert not lower.exists()
    with changing() as change:
        both()
    assert [(step.command, step.device) for step in change.steps] == planned
    extension = plan(lower.extend, Range(disk, Sectors(8)))
    assert [step.command.name for step in extension] == ["TABLE_LOAD", "DEV_SUSPEND"]
    assert size_of(lower) == Sectors(1024)
    upper.teardown()
    lower.teardown()


def test_the_plainest_devices(dm: DeviceMapper, device_name: Names) -> None:
    with ZeroDevice(dm, device_name("zero"), SIZE).create() as zero:
        assert Path(zero.node).read_bytes() == bytes(int(SIZE.bytes()))
        zero.extend(SIZE)
        assert bytes_of(zero.node) == 2 * int(SIZE.bytes())
    with ErrorDevice(dm, device_name("error"), SIZE).create() as error:
        with pytest.raises(OSError, match="Input/output error"):
            Path(error.node).read_bytes()
        error.extend(SIZE)
        assert error.setup().differs() == []


def test_striped(dm: DeviceMapper, device_name: Names, loop: Loop) -> None:
    legs = [loop(1), loop(1.5)]
    with StripedDevice(
        dm, device_name("striped"), legs, chunk=Sectors(64), leg_length=Sectors(1024)
    ).create() as device:
        assert device.setup().size == SIZE
        device.extend(Sectors(1024))
        assert bytes_of(device.node) == 2 * int(SIZE.bytes())
        status = device.status()
        assert isinstance(status, StripedStatus)
        assert len(status.legs) == 2


def test_any_table(dm: DeviceMapper, device_name: Names, loop: Loop) -> None:
    lines = [TargetLine(0, 1024, "linear", f"{loop(1)} 0"), TargetLine(1024, 8, "zero")]
    with TableDevice.of_lines(dm, device_name("any"), lines).create() as device:
        assert device.setup().differs() == []
        assert [line.type for line in device.kernel_lines()] == ["linear", "zero"]
        assert len(device.statuses()) == 2


def test_a_read_only_device_is_read_only(dm: DeviceMapper, device_name: Names, loop: Loop) -> None:
    with LinearDevice(dm, device_name("linear"), loop(1), read_only=True).create() as device:
        assert device.info().read_only
        device.reload()
        assert device.info().read_only
        with pytest.raises(PermissionError):
            write_a_sector(device.node)


def write_a_sector(node: str) -> None:
    """Past every cache; not every kernel refuses to open what cannot be written."""
    descriptor = os.open(node, os.O_WRONLY | os.O_SYNC)
    try:
        os.write(descriptor, bytes(512))
    finally:
        os.close(descriptor)


@pytest.mark.timeout(600)
def test_data_survives_an_extension_under_a_mounted_file_system(
    dm: DeviceMapper, device_name: Names, loop: Loop, files: Callable[[str], Files]
) -> None:
    first, second = loop(16), loop(16)
    with LinearDevice(dm, device_name("linear"), first).create() as device:
        data: Any = files(device.node)
        data.make()
        data.write("before", 3_000_000)
        device.extend(Range(second))
        tool("resize2fs", device.node)
        data.write("after", 18_000_000)
        data.check()
        data.umount()
        device.suspend()
        device.resume()
        data.mount()
        data.check()
        data.umount()
