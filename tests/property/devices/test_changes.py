"""Any changes in any order, with commands that may fail: each is done, or as if never asked."""

from __future__ import annotations

import errno
import os
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmwatch.devices import Device, LinearDevice, Range, ThinDevice, ThinPool, ZeroDevice, changing
from dmwatch.dm import DeviceMapper
from dmwatch.errors import DmwatchError
from dmwatch.ioctl.abi import Command
from dmwatch.testing import FakeDevice, FakeKernel
from dmwatch.units import DataBlocks, Sectors

CHANGING = frozenset(
    {
        Command.DEV_CREATE,
        Command.DEV_REMOVE,
        Command.DEV_RENAME,
        Command.DEV_SUSPEND,
        Command.TABLE_LOAD,
        Command.TABLE_CLEAR,
        Command.TARGET_MSG,
    }
)
SIZE = Sectors(1024)
NAMES = ("a", "b", "c")


class Failing:
    """A control node that refuses the nth changing command once."""

    def __init__(self, kernel: FakeKernel) -> None:
        self._control = kernel.open(observed=False)
        self.left = -1

    def fileno(self) -> int:
        return self._control.fileno()

    def close(self) -> None:
        self._control.close()

    def call(self, command: Command, buffer: bytearray) -> None:
        if command in CHANGING:
            self.left -= 1
            if self.left == 0:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
        self._control.call(command, buffer)


class World:
    """A disk, a pool, and devices and volumes that may or may not be there."""

    def __init__(self) -> None:
        self.kernel, self.ids = FakeKernel(), set[int]()
        self.kernel.on_message = self._answer
        self.control = Failing(self.kernel)
        self.dm = DeviceMapper(self.control)
        self.disk = ZeroDevice(self.dm, "disk", Sectors(1 << 20)).create()
        self.pool = ThinPool(
            self.dm, "pool", metadata=self.disk, data=self.disk.number, block_size=Sectors(128)
        )
        self.pool.data = LinearDevice(self.dm, "data", self.disk).create()
        self.pool.create()
        self.devices: dict[str, Device[Any]] = {}

    def _answer(self, _device: FakeDevice, _sector: int, text: str) -> None:
        words = text.split()
        thin_id = int(words[1])
        if (thin_id in self.ids) == words[0].startswith("create"):
            raise OSError(errno.EEXIST, os.strerror(errno.EEXIST))
        (self.ids.discard if words[0] == "delete" else self.ids.add)(thin_id)

    def state(self) -> Any:
        found = {
            device.name: (
                device.number,
                repr(device.live),
                repr(device.staged),
                device.suspended,
            )
            for device in self.kernel.devices
        }
        objects = {name: dict(vars(device)) for name, device in self.devices.items()}
        return found, set(self.ids), objects, dict(vars(self.pool))

    def act(self, what: str, name: str, number: int) -> None:
        """One change; what does not fit the state is refused by the device or the kernel."""
        device = self.devices.get(name)
        if what == "low water":
            self.pool.set_low_water(DataBlocks(number))
        elif device is None:
            self._make(what, name, number)
        else:
            self._change(what, name, device)

    def _make(self, what: str, name: str, number: int) -> None:
        match what:
            case "linear":
                made = LinearDevice(self.dm, name, [Range(self.disk, SIZE, Sectors(number))])
                self.devices[name] = made.create()
            case "thin":
                self.devices[name] = ThinDevice(
                    self.dm, name, pool=self.pool, size=SIZE, thin_id=number or None
                ).create()

    def _change(self, what: str, name: str, device: Device[Any]) -> None:
        match what, device:
            case "snapshot", ThinDevice():
                new = next((n for n in NAMES if n not in self.devices), name)
                self.devices[new] = device.snapshot(new)
            case "extend", LinearDevice():
                device.extend(Range(self.disk, SIZE))
            case "extend", ThinDevice():
                device.extend(SIZE)
            case (("suspend" | "resume" | "setup"), _):
                getattr(device, what)()
            case "teardown", _:
                device.teardown(patience=0)
                del self.devices[name]
            case "delete", ThinDevice():
                device.delete(patience=0)
                del self.devices[name]


WORDS = (
    "linear",
    "thin",
    "snapshot",
    "extend",
    "suspend",
    "resume",
    "setup",
    "low water",
    "teardown",
    "delete",
)
action = st.tuples(st.sampled_from(WORDS), st.sampled_from(NAMES), st.integers(0, 3))
undoable = action.filter(lambda step: step[0] != "delete")  # what is deleted is gone
failing = st.integers(0, 12)


@pytest.mark.parity("B10", "B11", "B12", "B24")
@settings(max_examples=150)
@given(st.lists(st.tuples(action, failing), max_size=14))
def test_a_change_is_done_or_as_if_never_asked(steps: list[tuple[Any, int]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DM_DISABLE_UDEV", "1")
        world = World()
        for step, left in steps:
            before = world.state()
            world.control.left = left
            try:
                world.act(*step)
            except DmwatchError:
                assert world.state() == before
            assert all(device.differs() == [] for device in world.devices.values())


@settings(max_examples=100)
@given(st.lists(undoable, max_size=6), failing)
def test_many_changes_as_one_are_done_or_as_if_never_asked(steps: list[Any], left: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DM_DISABLE_UDEV", "1")
        world = World()
        world.act("linear", "a", 0)
        world.act("thin", "b", 0)
        before, devices = world.state(), dict(world.devices)
        world.control.left = left
        try:
            with changing():
                for step in steps:
                    world.act(*step)
        except DmwatchError as error:
            world.devices = devices
            # where the command that goes wrong is one that takes back, the error says so
            told = getattr(error, "__notes__", [])
            assert told or world.state() == before
