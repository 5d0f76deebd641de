"""writecache, delay and flakey devices on a real kernel."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dmwatch.devices import DelayDevice, FlakeyDevice, WritecacheDevice
from dmwatch.dm import DeviceMapper
from dmwatch.errors import DeviceMismatchError
from dmwatch.targets.delay import DelayStatus
from dmwatch.targets.flakey import FlakeyFault
from dmwatch.targets.writecache import WritecacheOption
from dmwatch.units import Bytes

from .conftest import Files

Names = Callable[[str], str]
Loop = Callable[[float], str]
NeedTarget = Callable[[str], None]
SIZE = 256 * 1024
BLOCK = Bytes(512)


def test_a_writecache_is_attached_and_detached_and_the_data_survives(
    dm: DeviceMapper,
    device_name: Names,
    loop: Loop,
    files: Callable[[str], Files],
    need_target: NeedTarget,
) -> None:
    need_target("writecache")
    origin, cache = loop(16), loop(4)
    stored = files(origin)
    stored.make()
    stored.write("before", SIZE)
    stored.umount()
    device = WritecacheDevice(
        dm,
        device_name("writecache"),
        origin=origin,
        cache=cache,
        block_size=BLOCK,
        # nothing is written back by itself
        features=[WritecacheOption("high_watermark", 100), WritecacheOption("low_watermark", 99)],
    )
    device.create()
    stored.device = device.node
    stored.mount()
    stored.check()
    stored.write("cached", SIZE)
    assert int(device.status().blocks - device.status().free) > 0
    device.flush()
    stored.write("cached too", SIZE)
    assert device.setup().differs() == []
    with pytest.raises(DeviceMismatchError, match="differs in length"):
        WritecacheDevice(dm, device.name, origin=cache, cache=origin, block_size=BLOCK).setup()
    bare = device.detach()  # while it is mounted
    assert [line.type for line in bare.kernel_lines()] == ["linear"]
    assert not bare.info().suspended
    stored.check()
    stored.umount()
    bare.teardown()
    stored.device = origin
    stored.mount()
    stored.check()
    stored.umount()


def test_a_delay_holds_back_as_long_as_it_is_told(
    dm: DeviceMapper, device_name: Names, loop: Loop, need_target: NeedTarget
) -> None:
    need_target("delay")
    with DelayDevice(dm, device_name("delay"), loop(1), reads=0).create() as device:
        assert device.status() == DelayStatus(0, 0, 0)
        device.set(reads=0, writes=700)
        assert device.differs() == []
        began = time.monotonic()
        write(device.node, b"late")
        assert time.monotonic() - began > 0.6


def test_a_flakey_device_fails_as_it_is_told(
    dm: DeviceMapper, device_name: Names, loop: Loop, need_target: NeedTarget
) -> None:
    need_target("flakey")
    disk = loop(1)
    with FlakeyDevice(dm, device_name("flakey"), disk, up=600, down=0).create() as device:
        write(device.node, b"works")
        device.set(up=0, down=600, features=[FlakeyFault.ERROR_WRITES])
        assert device.setup().differs() == []
        with pytest.raises(OSError, match="Input/output error"):
            write(device.node, b"fails")
        device.set(up=0, down=600)
        assert device.setup().differs() == []
    assert Path(disk).read_bytes()[:5] == b"works"


def write(device: str, data: bytes) -> None:
    with Path(device).open("r+b", buffering=0) as node:
        node.write(data.ljust(512, b"\0"))
        os.fsync(node.fileno())
