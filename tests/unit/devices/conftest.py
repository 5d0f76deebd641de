"""Devices on the fake kernel: thin ids that it remembers, commands that fail or are interrupted."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from typing import Any

import pytest

from dmwatch.devices import LinearDevice, Range, ThinPool, ZeroDevice
from dmwatch.dm import DeviceMapper
from dmwatch.ioctl.abi import Command, Flags
from dmwatch.testing import FakeDevice, FakeKernel
from dmwatch.units import Sectors

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


class ThinIds:
    """What a pool would know: answers its messages."""

    def __init__(self) -> None:
        self.ids: set[int] = set()
        self.transaction = 0
        self.held = False

    def answer(self, _device: FakeDevice, _sector: int, text: str) -> None:
        words = text.split()
        match words[0]:
            case "create_thin" | "create_snap":
                self._need(int(words[1]) not in self.ids, errno.EEXIST)
                self.ids.add(int(words[1]))
            case "delete":
                self._need(int(words[1]) in self.ids, errno.ENODATA)
                self.ids.remove(int(words[1]))
            case "set_transaction_id":
                self._need(int(words[1]) == self.transaction, errno.EINVAL)
                self.transaction = int(words[2])
            case "reserve_metadata_snap" | "release_metadata_snap":
                self._need(self.held == (words[0][:3] == "rel"), errno.EBUSY)
                self.held = not self.held

    def _need(self, condition: bool, number: int) -> None:
        if not condition:
            raise OSError(number, os.strerror(number))


@pytest.fixture(autouse=True)
def no_udev(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DM_DISABLE_UDEV", "1")


@pytest.fixture
def thins() -> ThinIds:
    return ThinIds()


@pytest.fixture
def kernel(thins: ThinIds) -> FakeKernel:
    kernel = FakeKernel()
    kernel.on_message = thins.answer
    return kernel


@pytest.fixture
def dm(kernel: FakeKernel) -> Iterator[DeviceMapper]:
    with DeviceMapper(kernel.open()) as opened:
        yield opened


@pytest.fixture
def disk(dm: DeviceMapper) -> ZeroDevice:
    """What everything lies on."""
    return ZeroDevice(dm, "disk", Sectors(1 << 20)).create()


@pytest.fixture
def pool(dm: DeviceMapper, disk: ZeroDevice) -> ThinPool:
    metadata = LinearDevice(dm, "meta", [Range(disk, Sectors(8192))]).create()
    data = LinearDevice(dm, "data", [Range(disk, Sectors(65536), Sectors(8192))]).create()
    return ThinPool(dm, "pool", metadata=metadata, data=data, block_size=Sectors(128)).create()


def state(kernel: FakeKernel, thins: ThinIds | None = None) -> Any:
    """Everything that a change could have left behind."""
    devices = {
        device.name: (
            device.uuid,
            device.number,
            _lines(device.live),
            _lines(device.staged),
            device.suspended,
            device.read_only,
        )
        for device in kernel.devices
    }
    return devices, sorted(thins.ids) if thins else [], thins and (thins.transaction, thins.held)


def _lines(table: Any) -> Any:
    return table and [(line.start, line.length, line.type, line.table) for line in table.lines]


class Breaking:
    """A control node whose nth changing command goes wrong.

    Attributes:
        left: how many changing commands go well before that; None: all.
        interrupt: it is carried out, then a KeyboardInterrupt comes; else it is refused.
        commands: those that were called.
    """

    def __init__(self, kernel: FakeKernel) -> None:
        self._control = kernel.open(observed=False)
        self.left: int | None = None
        self.interrupt = False
        self.commands: list[Command] = []

    def fileno(self) -> int:
        return self._control.fileno()

    def close(self) -> None:
        self._control.close()

    def call(self, command: Command, buffer: bytearray) -> None:
        if command not in CHANGING:
            self._control.call(command, buffer)
            return
        self.commands.append(command)
        breaks, self.left = self.left == 0, self.left - 1 if self.left else None
        if breaks and not self.interrupt:
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        self._control.call(command, buffer)
        if breaks:
            raise KeyboardInterrupt


def flags_of(buffer: bytes) -> Flags:
    return Flags(int.from_bytes(buffer[28:32], "little"))
