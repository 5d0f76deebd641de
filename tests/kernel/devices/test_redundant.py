"""raid, mirror, multipath on a real kernel: legs and paths fail and are replaced; data survives."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from dmwatch.devices import (
    Leg,
    LinearDevice,
    MirrorDevice,
    MultipathDevice,
    PathGroup,
    RaidDevice,
    Range,
    TableDevice,
)
from dmwatch.dm import DeviceMapper
from dmwatch.errors import CommandError, DeviceMismatchError, InvalidValueError
from dmwatch.table import TargetLine
from dmwatch.targets.mirror import MirrorSync
from dmwatch.targets.multipath.status import GroupState, PathState
from dmwatch.targets.raid import RaidLeg, RaidOption, RaidType, RaidWorking
from dmwatch.units import Sectors

from .conftest import MIB, Files

Names = Callable[[str], str]
Loop = Callable[[float], str]
NeedTarget = Callable[[str], None]
SIZE = 256 * 1024
DATA, METADATA = 8, 1
BIO = ("queue_mode", "bio")  # paths that are device-mapper devices take no requests


class Legs:
    """Members of sets, each a data and a metadata device over one disk."""

    def __init__(self, dm: DeviceMapper, names: Names, loop: Loop, number: int) -> None:
        self.dm = dm
        self.disk = loop(number * (DATA + METADATA))
        self.devices: list[LinearDevice] = []
        self.legs = [self._leg(names, i) for i in range(number)]

    def _leg(self, names: Names, index: int) -> Leg:
        start = index * (DATA + METADATA)
        data = self._part(names("data"), start, DATA)
        return Leg(data, self._part(names("metadata"), start + DATA, METADATA))

    def _part(self, name: str, start: int, length: int) -> LinearDevice:
        part = Range(self.disk, Sectors(length * MIB), Sectors(start * MIB))
        self.devices.append(LinearDevice(self.dm, name, [part]).create())
        return self.devices[-1]

    def teardown(self) -> None:
        for device in self.devices:
            device.teardown()


@pytest.fixture
def legs(
    dm: DeviceMapper, device_name: Names, loop: Loop, need_target: NeedTarget
) -> Callable[[int], Legs]:
    need_target("raid")
    return lambda number: Legs(dm, device_name, loop, number)


def working(device: RaidDevice) -> RaidWorking:
    status = device.status()
    assert isinstance(status, RaidWorking)
    return status


def fail(device: LinearDevice) -> None:
    """Whatever is read from it or written to it fails from now on."""
    table = TableDevice.of_lines(device.dm, device.name, [TargetLine(0, int(device.size), "error")])
    table.reload()


def test_a_leg_that_failed_is_replaced_and_the_data_survives(
    dm: DeviceMapper,
    device_name: Names,
    legs: Callable[[int], Legs],
    files: Callable[[str], Files],
) -> None:
    members = legs(3)
    first, second, spare = members.legs
    raid = RaidDevice(dm, device_name("raid"), RaidType.RAID1, [first, second]).blank().create()
    with pytest.raises(InvalidValueError, match="its metadata is in use"):
        raid.blank()
    assert raid.size == Sectors(DATA * MIB)
    raid.wait_synced(timeout=250)
    stored = files(raid.node)
    stored.make()
    stored.write("kept", SIZE)

    broken = second.data
    assert isinstance(broken, LinearDevice)
    fail(broken)
    stored.write("more", SIZE)
    os.sync()
    assert working(raid).legs[1] is RaidLeg.FAILED
    with pytest.raises(Exception, match="leg 1 has failed"):
        raid.wait_synced(timeout=5)

    raid.replace_leg(1, spare)
    assert raid.differs() == []
    raid.wait_synced(timeout=250)
    assert working(raid).legs == (RaidLeg.IN_SYNC, RaidLeg.IN_SYNC)
    stored.check()
    stored.write("last", SIZE)
    stored.umount()
    # what the new leg holds alone
    raid.replace_leg(0, Leg(None, None))
    stored.mount()
    stored.check()
    stored.umount()
    raid.teardown()
    members.teardown()


def test_a_check_counts_what_differs_and_a_repair_puts_it_right(
    dm: DeviceMapper, device_name: Names, legs: Callable[[int], Legs]
) -> None:
    members = legs(3)
    raid = RaidDevice(
        dm,
        device_name("raid"),
        RaidType.RAID5_LS,
        members.legs,
        chunk=Sectors(128),
        features=[RaidOption("region_size", 1024)],
    )
    with raid.blank().create():
        assert raid.size == Sectors(2 * DATA * MIB)
        raid.wait_synced(timeout=250)
        assert raid.check(timeout=250) == 0
        data = members.legs[0].data
        assert isinstance(data, LinearDevice)
        with Path(data.node).open("r+b", buffering=0) as node:
            node.seek(MIB * 512)
            node.write(os.urandom(4096))
            os.fsync(node.fileno())
        assert raid.check(timeout=250) > 0
        raid.repair(timeout=250)
        assert raid.check(timeout=250) == 0
        assert RaidDevice.found(dm, raid.name).setup().differs() == []
        other = RaidDevice(dm, raid.name, RaidType.RAID5_N, raid.legs, chunk=Sectors(128))
        with pytest.raises(DeviceMismatchError, match="raid_type"):
            other.setup()
    # a set that was taken down is in sync at once
    with raid.setup():
        assert working(raid).synced
    members.teardown()


def test_a_leg_that_is_too_small_leaves_the_set_as_it_was(
    dm: DeviceMapper, device_name: Names, legs: Callable[[int], Legs], loop: Loop
) -> None:
    members = legs(2)
    raid = RaidDevice(dm, device_name("raid"), RaidType.RAID1, members.legs)
    with raid.blank().create():
        raid.wait_synced(timeout=250)
        with pytest.raises(InvalidValueError, match="too small"):
            raid.replace_leg(1, Leg(loop(1), loop(1)))
        assert raid.legs == tuple(members.legs)
        assert raid.differs() == []
        assert not raid.info().has_staged_table
        with pytest.raises(InvalidValueError, match="legs 0 to 1"):
            raid.replace_leg(2, members.legs[0])
        assert working(raid).legs == (RaidLeg.IN_SYNC, RaidLeg.IN_SYNC)
    members.teardown()


# mirror


def test_a_mirror_copies_its_first_leg(
    dm: DeviceMapper, device_name: Names, loop: Loop, need_target: NeedTarget
) -> None:
    need_target("mirror")
    first, second, log = loop(4), loop(4), loop(1)
    Path(first).write_bytes(os.urandom(SIZE))
    mirror = MirrorDevice(dm, device_name("mirror"), [first, second], log=log, sync=MirrorSync.SYNC)
    with mirror.create():
        mirror.wait_synced(timeout=250)
        assert mirror.setup().differs() == []
        with pytest.raises(DeviceMismatchError, match="legs"):
            MirrorDevice(dm, mirror.name, [second, first], log=log).setup()
    assert Path(second).read_bytes() == Path(first).read_bytes()


# multipath


def test_paths_and_groups_are_failed_reinstated_and_switched(
    dm: DeviceMapper, device_name: Names, loop: Loop, need_target: NeedTarget
) -> None:
    need_target("multipath")
    disk = loop(4)
    paths = [LinearDevice(dm, device_name("path"), disk).create() for _ in range(3)]
    groups = [PathGroup(tuple(paths[:2]), "service-time"), PathGroup((paths[2],))]
    device = MultipathDevice(dm, device_name("mpath"), groups, queue=True, features=BIO)
    with device.create():
        write(device.node, b"first")
        device.fail(paths[0])
        assert [p.state for p in device.status().groups[0].paths] == [
            PathState.FAILED,
            PathState.ACTIVE,
        ]
        device.fail(paths[1])
        write(device.node, b"second")
        assert device.status().groups[1].state is GroupState.ACTIVE
        device.reinstate(paths[0])
        device.switch(1)
        write(device.node, b"third")
        assert device.status().groups[0].state is GroupState.ACTIVE
        device.disable(1)
        assert device.status().groups[0].state is GroupState.DISABLED
        device.enable(1)
        assert device.status().groups[0].state is not GroupState.DISABLED
        assert Path(disk).read_bytes()[:5] == b"third"
        for bad in (0, 3):
            with pytest.raises(InvalidValueError, match="groups 1 to 2"):
                device.switch(bad)
        with pytest.raises(CommandError):
            device.fail(disk)
    for path in paths:
        path.teardown()


def test_queueing_is_turned_off_and_on_and_set_up_again(
    dm: DeviceMapper, device_name: Names, loop: Loop, need_target: NeedTarget
) -> None:
    need_target("multipath")
    path = LinearDevice(dm, device_name("path"), loop(4)).create()
    groups = [PathGroup((path,))]
    device = MultipathDevice(dm, device_name("mpath"), groups, queue=True, features=BIO)
    with device.create():
        device.fail_if_no_path()
        assert not device.queue
        assert device.differs() == []
        device.fail(path)
        with pytest.raises(OSError, match="Input/output error"):
            write(device.node, b"lost")
        found = MultipathDevice.found(dm, device.name)
        assert (found.queue, found.size) == (False, device.size)
        assert found.differs() == []
        queueing = MultipathDevice(dm, device.name, groups, queue=True, features=BIO)
        assert queueing.differs() == ["features"]
        assert queueing.setup().differs() == []  # adjusted, not refused
        write(device.node, b"kept")
    path.teardown()


def write(device: str, data: bytes) -> None:
    with Path(device).open("r+b", buffering=0) as node:
        node.write(data.ljust(512, b"\0"))
        os.fsync(node.fileno())
