"""In step with a real udevd: links are right when a call returns, and no semaphore is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dmwatch.devices import ZeroDevice, changing
from dmwatch.dm import DeviceMapper
from dmwatch.dm.udev import PUBLIC, Udev, sweep
from dmwatch.errors import UdevTimeoutError
from dmwatch.units import Sectors

from .conftest import cookies, tool, until

LONG = os.environ.get("DMWATCH_LONG") == "1"
CYCLES = 500 if LONG else 10
SIZE = Sectors(2048)
Names = Callable[[str], str]


def link(name: str) -> Path:
    return Path("/dev/mapper") / name


@pytest.mark.timeout(3000 if LONG else 600)
@pytest.mark.parity(28, 57, "B14")
def test_links_are_right_after_each_call_and_no_semaphore_is_left(
    dm: DeviceMapper, udevd: Any, device_name: Names
) -> None:
    for _ in range(CYCLES):
        device = ZeroDevice(dm, device_name("zero"), SIZE)
        first = device.name
        device.create()
        assert link(first).resolve() == Path(device.node)
        device.rename(device_name("renamed"))
        assert not link(first).is_symlink()
        assert link(device.name).resolve() == Path(device.node)
        device.teardown()
        assert not link(device.name).is_symlink()
        assert cookies() == []


def test_one_cookie_serves_many_commands(dm: DeviceMapper, udevd: Any, device_name: Names) -> None:
    devices = [ZeroDevice(dm, device_name("zero"), SIZE) for _ in range(5)]
    with changing() as change:
        for device in devices:
            device.create()
        number = change.cookie.number
        assert cookies() == [0x0D4D0000 | number]
    assert number
    assert cookies() == []
    assert all(link(device.name).is_symlink() for device in devices)
    with changing():
        for device in devices:
            device.teardown()
    assert not any(link(device.name).is_symlink() for device in devices)


@pytest.mark.parity(30)
def test_what_sends_no_uevent_is_not_waited_for(
    dm: DeviceMapper, udevd: Any, device_name: Names
) -> None:
    with ZeroDevice(dm, device_name("zero"), SIZE).create() as device:
        udevd.pause()
        try:
            device.resume()  # it runs already: no uevent
            assert cookies() == []
        finally:
            udevd.go_on()


@pytest.mark.parity("B15", "B17")
def test_a_udevd_that_is_stopped_is_waited_for_so_long_and_the_change_stands(
    dm: DeviceMapper, udevd: Any, device_name: Names
) -> None:
    device = ZeroDevice(dm, device_name("zero"), SIZE, udev=Udev(timeout=1.0))
    udevd.pause()
    try:
        with pytest.raises(UdevTimeoutError, match="the change itself was made"):
            device.create()
        assert cookies() == []
        assert device.info().has_table
        assert not device.info().suspended
    finally:
        udevd.go_on()
    udevd.settle()
    assert link(device.name).is_symlink()
    device.teardown()
    assert not link(device.name).is_symlink()


KILLED = """
    import sys, time
    from dmwatch.devices import ZeroDevice, changing
    from dmwatch.dm import DeviceMapper
    from dmwatch.units import Sectors
    with changing():
        ZeroDevice(DeviceMapper(), sys.argv[1], Sectors(2048)).create()
        print("made", flush=True)
        time.sleep(600)
"""


@pytest.mark.parity("B14")
def test_a_caller_that_is_killed_leaves_a_semaphore_that_the_next_one_sweeps(
    dm: DeviceMapper, udevd: Any, device_name: Names
) -> None:
    name = device_name("zero")
    command = [sys.executable, "-c", textwrap.dedent(KILLED), name]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as caller:
        assert caller.stdout is not None
        assert caller.stdout.readline() == b"made\n"
        udevd.settle()
        assert len(cookies()) == 1
        assert sweep(older_than=0) == []  # it is in use
        caller.send_signal(signal.SIGKILL)
    until(lambda: len(sweep(older_than=0)) == 1, "the cookie counts as abandoned")
    assert cookies() == []
    assert link(name).is_symlink()
    ZeroDevice(dm, name, SIZE).teardown()


def test_cookies_of_others_that_wait_in_vain_can_be_completed(
    dm: DeviceMapper, udevd: Any, device_name: Names
) -> None:
    name = device_name("zero")
    udevd.pause()
    try:
        command = ["dmsetup", "create", name, "--table", "0 2048 zero"]
        with subprocess.Popen(command, env={"PATH": os.environ["PATH"]}) as waiting:
            until(lambda: len(cookies()) == 1, "dmsetup waits")
            until(lambda: len(sweep(older_than=0, abandoned=False)) == 1, "its cookie is removed")
            assert waiting.wait(120) == 0
    finally:
        udevd.go_on()
    udevd.settle()
    assert cookies() == []
    ZeroDevice(dm, name, SIZE).teardown()


@pytest.mark.parity("B16")
def test_private_devices_are_linked_by_name_alone_and_public_ones_under_dev_disk(
    dm: DeviceMapper, udevd: Any, device_name: Names
) -> None:
    private = ZeroDevice(dm, device_name("private"), SIZE)
    public = ZeroDevice(dm, device_name("public"), SIZE, visibility=PUBLIC)
    with private.create(), public.create():
        by_id = Path("/dev/disk/by-id")
        assert (by_id / f"dm-name-{public.name}").is_symlink()
        assert not (by_id / f"dm-name-{private.name}").exists()
        shown = tool("udevadm", "info", "--query=property", private.node)
        assert "DM_UDEV_DISABLE_DISK_RULES_FLAG=1" in shown
        assert link(private.name).is_symlink()


@pytest.mark.parity("B16")
def test_without_semaphores_the_flags_reach_udev_all_the_same(
    dm: DeviceMapper, udevd: Any, device_name: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DM_DISABLE_UDEV", "1")
    with ZeroDevice(dm, device_name("private"), SIZE).create() as device:
        udevd.settle()
        shown = tool("udevadm", "info", "--query=property", device.node)
        assert "DM_UDEV_DISABLE_DISK_RULES_FLAG=1" in shown
        assert "DM_UDEV_PRIMARY_SOURCE_FLAG=1" in shown
        assert cookies() == []
    udevd.settle()


@pytest.mark.parity(31)
def test_without_udevd_nobody_is_waited_for(
    dm: DeviceMapper, device_name: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DM_DISABLE_UDEV", raising=False)
    assert not Udev().active
    with ZeroDevice(dm, device_name("zero"), SIZE).create() as device:
        device.rename(device_name("renamed"))
        assert cookies() == []
