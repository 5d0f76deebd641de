from __future__ import annotations

import pytest

from dmwatch.dm.channel import Channel, need_version
from dmwatch.errors import InterfaceTooOldError, InvalidNameError
from dmwatch.ioctl.abi import Command, Flags
from dmwatch.ioctl.exchange import CAPACITY, Reply
from dmwatch.ioctl.header import Header
from dmwatch.names import DeviceUuid
from dmwatch.testing import FakeKernel


def test_a_command_finds_its_device() -> None:
    kernel = FakeKernel()
    kernel.add("a", uuid="LVM-a")
    channel = Channel(kernel.open())
    assert channel.about(Command.DEV_STATUS, "a", Header()).header.uuid == b"LVM-a"
    assert channel.about(Command.DEV_STATUS, DeviceUuid("LVM-a"), Header()).header.name == b"a"
    with pytest.raises(InvalidNameError):
        channel.about(Command.DEV_STATUS, "a/b", Header())


def test_each_command_remembers_its_own_room() -> None:
    kernel = FakeKernel()
    for number in range(600):
        kernel.add(f"device-{number}")
    channel = Channel(kernel.open())
    assert channel.send(Command.LIST_DEVICES).capacity == 2 * CAPACITY
    assert channel.send(Command.LIST_DEVICES).capacity == 2 * CAPACITY
    channel.send(Command.LIST_VERSIONS)
    sizes = [call.size for call in kernel.calls]
    assert sizes == [CAPACITY, 2 * CAPACITY, 2 * CAPACITY, CAPACITY]


def test_a_capacity_can_be_given() -> None:
    kernel = FakeKernel()
    Channel(kernel.open()).send(Command.LIST_DEVICES, Header(flags=Flags.UUID), capacity=5000)
    assert [call.size for call in kernel.calls] == [5000]


def test_an_answer_of_a_kernel_that_ignored_the_question_is_refused() -> None:
    reply = Reply(Header(version=(4, 43, 0)), b"", 312)
    need_version(Command.LIST_DEVICES, reply, (4, 43, 0), "it needs")
    with pytest.raises(InterfaceTooOldError, match=r"it needs interface 4\.45\.0 .* has 4\.43\.0"):
        need_version(Command.LIST_DEVICES, reply, (4, 45, 0), "it needs")
