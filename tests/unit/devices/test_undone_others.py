"""As test_undone, for the devices that have no pool: whatever step fails, all is as it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dmwatch.devices import (
    CryptDevice,
    DelayDevice,
    Device,
    FlakeyDevice,
    IntegrityDevice,
    Leg,
    MirrorDevice,
    MultipathDevice,
    OriginDevice,
    PathGroup,
    RaidDevice,
    SnapshotDevice,
    VerityDevice,
    WritecacheDevice,
    ZeroDevice,
    plan,
)
from dmwatch.dm import DeviceMapper
from dmwatch.errors import CommandError
from dmwatch.ioctl.abi import Command
from dmwatch.targets.crypt import HexKey
from dmwatch.targets.raid import RaidType
from dmwatch.targets.secret import Secret
from dmwatch.testing import FakeKernel
from dmwatch.units import DataBlocks, Sectors

from .conftest import Breaking, state

KEY = HexKey(Secret("ab" * 64))
STATUS = {
    "snapshot": "16/2048 16",
    "writecache": "0 100 100 0",
    "raid": "raid1 2 AA 8/8 idle 0 0 -",
}


class World:
    """One of each, made before anything goes wrong."""

    def __init__(self, dm: DeviceMapper) -> None:
        self.dm = dm
        self.disks = [ZeroDevice(dm, f"disk{i}", Sectors(1 << 16)).create() for i in range(4)]
        one, two, three, four = self.disks
        self.crypt = CryptDevice(dm, "crypt", one, KEY).create()
        self.verity = VerityDevice(
            dm, "verity", data=one, hashes=two, root_digest="00" * 32, data_blocks=DataBlocks(8)
        ).create()
        self.integrity = IntegrityDevice(dm, "integrity", one, length=Sectors(4096)).create()
        self.base = OriginDevice(dm, "base", one).create()
        self.snapshot = SnapshotDevice(dm, "snapshot", self.base, cow=two).create()
        legs = [Leg(one, two), Leg(three, four)]
        self.raid = RaidDevice(dm, "raid", RaidType.RAID1, legs).create()
        groups = [PathGroup((one, two)), PathGroup((three,), "service-time")]
        self.multipath = MultipathDevice(dm, "multipath", groups).create()
        self.writecache = WritecacheDevice(dm, "writecache", origin=one, cache=two).create()
        self.mirror = MirrorDevice(dm, "mirror", [one, two]).create()
        self.delay = DelayDevice(dm, "delay", one, reads=1).create()
        self.flakey = FlakeyDevice(dm, "flakey", one, up=1, down=1).create()

    @property
    def objects(self) -> list[Device[Any]]:
        return [found for found in vars(self).values() if isinstance(found, Device)]


def locked_and_unlocked(world: World) -> None:
    world.crypt.lock()
    world.crypt.unlock(KEY)


CHANGES: dict[str, Callable[[World], object]] = {
    "create crypt": lambda w: CryptDevice(w.dm, "new", w.disks[0], KEY).create(),
    "lock": lambda w: w.crypt.lock(),
    "create verity": lambda w: VerityDevice(
        w.dm, "new", data=w.disks[0], hashes=w.disks[1], root_digest="11" * 32
    ).create(),
    "create snapshot": lambda w: SnapshotDevice(w.dm, "new", w.base, cow=w.disks[3]).create(),
    "merge": lambda w: w.snapshot.merge(wait=False),
    "replace a leg": lambda w: w.raid.replace_leg(1, Leg(w.disks[3])),
    "start a check": lambda w: w.raid.start_check(),
    "fail a path": lambda w: w.multipath.fail(w.disks[0]),
    "reinstate a path": lambda w: w.multipath.reinstate(w.disks[0]),
    "switch groups": lambda w: w.multipath.switch(2),
    "disable a group": lambda w: w.multipath.disable(1),
    "queue": lambda w: w.multipath.queue_if_no_path(),
    "detach": lambda w: w.writecache.detach(),
    "flush": lambda w: w.writecache.flush(),
    "delay": lambda w: w.delay.set(reads=2, writes=3),
    "flakey": lambda w: w.flakey.set(up=2, down=3),
}


def prepared() -> tuple[FakeKernel, Breaking]:
    kernel = FakeKernel()
    for name in ("snapshot-origin", "snapshot-merge", "integrity", "writecache", "flakey"):
        kernel.targets.setdefault(name, (1, 0, 0))
    return kernel, Breaking(kernel)


def broken_at(what: str, step: int | None, *, interrupt: bool = False) -> tuple[Any, Any, Any]:
    kernel, control = prepared()
    with DeviceMapper(control) as dm:
        world = World(dm)
        for name, text in STATUS.items():
            kernel.set_status(name, 0, text)
        objects = {thing: dict(vars(thing)) for thing in world.objects}
        before = state(kernel)
        control.commands.clear()
        control.left, control.interrupt = step, interrupt
        try:
            CHANGES[what](world)
        except (CommandError, KeyboardInterrupt) as error:
            notes = getattr(error, "__notes__", [])
            assert objects == {thing: vars(thing) for thing in world.objects}
            assert not notes
        else:
            assert control.left is None
        return before, state(kernel), list(control.commands)


@pytest.mark.parametrize("what", CHANGES)
@pytest.mark.parity("B12", "B24")
def test_a_step_that_is_refused_leaves_everything_as_it_was(what: str) -> None:
    _, _, commands = broken_at(what, None)
    assert commands
    for step in range(len(commands)):
        before, after, _ = broken_at(what, step)
        assert after == before, f"step {step}: {commands[step].name}"


@pytest.mark.parametrize("what", CHANGES)
def test_an_interrupt_at_any_step_leaves_everything_as_it_was(what: str) -> None:
    _, _, commands = broken_at(what, None)
    for step, command in enumerate(commands):
        if command is not Command.TARGET_MSG:  # what it did cannot be told then
            before, after, _ = broken_at(what, step, interrupt=True)
            assert after == before, f"step {step}: {command.name}"


@pytest.mark.parametrize("what", CHANGES)
def test_a_plan_is_what_is_then_sent(what: str) -> None:
    kernel, control = prepared()
    with DeviceMapper(control) as dm:
        world = World(dm)
        for name, text in STATUS.items():
            kernel.set_status(name, 0, text)
        objects = {thing: dict(vars(thing)) for thing in world.objects}
        control.commands.clear()
        steps = plan(CHANGES[what], world)
        assert control.commands == []
        assert objects == {thing: vars(thing) for thing in world.objects}
        assert KEY.secret.reveal() not in "".join(str(step) for step in steps)
        CHANGES[what](world)
        assert [step.command for step in steps] == control.commands


@pytest.mark.parametrize("thing", [t.name for t in World(DeviceMapper(prepared()[1])).objects])
def test_what_was_made_is_adopted_and_differs_in_nothing(thing: str) -> None:
    _, control = prepared()
    with DeviceMapper(control) as dm:
        device = next(t for t in World(dm).objects if t.name == thing)
        control.commands.clear()
        assert device.setup().differs() == []
        assert control.commands == []
