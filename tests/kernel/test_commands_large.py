"""Replies that outgrow the first buffer: many targets, many devices."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from dmwatch import DeviceMapper, DeviceNumber, Flags, TargetLine
from dmwatch.ioctl.abi import LIST_UUID_VERSION, Command
from dmwatch.ioctl.control import Control
from dmwatch.ioctl.exchange import CAPACITY

Dmsetup = Callable[..., str]
Name = Callable[[str], str]

TARGETS = 700
DEVICES = 2000 if os.environ.get("DMWATCH_LONG") == "1" else 700


class Measuring(Control):
    """The real node; remembers the size of each buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[tuple[Command, int]] = []

    def call(self, command: Command, buffer: bytearray) -> None:
        self.sizes.append((command, len(buffer)))
        super().call(command, buffer)

    def grown(self, command: Command) -> list[int]:
        return [size for sent, size in self.sizes if sent is command]


@pytest.fixture
def control() -> Measuring:
    return Measuring()


@pytest.fixture
def dm(control: Measuring) -> Iterator[DeviceMapper]:
    with DeviceMapper(control) as found:
        yield found


# 700 targets


@pytest.fixture
def lower(dm: DeviceMapper, device_name: Name) -> Iterator[DeviceNumber]:
    name = device_name("lower")
    dm.create(name)
    dm.load(name, [TargetLine(0, 8 * TARGETS, "zero")])
    yield dm.resume(name).number
    dm.remove(name)


@pytest.fixture
def many(dm: DeviceMapper, device_name: Name, lower: DeviceNumber) -> Iterator[str]:
    """A device of 700 lines; the fields of every second one are printed by the target."""
    name = device_name("many")
    dm.create(name)
    dm.load(name, [line(lower, index) for index in range(TARGETS)])
    dm.resume(name)
    yield name
    dm.remove(name)


def line(lower: DeviceNumber, index: int) -> TargetLine:
    offset = 8 * ((index * 37) % TARGETS)
    if index % 2:
        return TargetLine(8 * index, 8, "linear", f"{lower} {offset}")
    return TargetLine(8 * index, 8, "striped", f"1 8 {lower} {offset}")


@pytest.mark.parametrize("question", ["status", "table"])
def test_700_targets_are_read_whole(
    dm: DeviceMapper, control: Measuring, many: str, dmsetup: Dmsetup, question: str
) -> None:
    flags = Flags.STATUS_TABLE if question == "table" else Flags(0)
    found = dm.table_status(many, flags=flags)
    assert (found.info.name, found.info.target_count) == (many, TARGETS)
    shown = [f"{t.start} {t.length} {t.type} {t.text}".rstrip() for t in found.lines]
    assert shown == [text.rstrip() for text in dmsetup(question, many).splitlines()]
    sizes = control.grown(Command.TABLE_STATUS)
    assert sizes == [CAPACITY << step for step in range(len(sizes))]
    assert len(sizes) > 1
    dm.table_status(many, flags=flags)
    assert control.grown(Command.TABLE_STATUS)[len(sizes) :] == [sizes[-1]]


def test_700_lines_are_those_that_were_loaded(
    dm: DeviceMapper, many: str, lower: DeviceNumber
) -> None:
    assert dm.table(many) == tuple(line(lower, index) for index in range(TARGETS))
    assert dm.deps(many) == [lower]


# Many devices


@pytest.fixture
def crowd(dm: DeviceMapper) -> Iterator[dict[str, str]]:
    """Names and uuids of many devices without tables.

    Several threads make and remove them: each removal waits for a grace period of the kernel.
    """
    made = {f"crowd-{n}-dmwatch-test": f"CROWD-{n:060}" for n in range(DEVICES)}
    with ThreadPoolExecutor(16) as pool:
        try:
            list(pool.map(dm.create, made, made.values()))
            yield made
        finally:
            there = {str(device.name) for device in dm.list_devices()}
            list(pool.map(dm.remove, there & set(made)))


@pytest.mark.timeout(150)
def test_many_devices_are_listed_whole(
    dm: DeviceMapper, control: Measuring, crowd: dict[str, str], dmsetup: Dmsetup
) -> None:
    listed = {str(device.name): device for device in dm.list_devices()}
    assert set(crowd) <= set(listed)
    plain = control.grown(Command.LIST_DEVICES)
    assert len(plain) > 1
    witnessed = dict(text.split("\t") for text in dmsetup("ls").splitlines())
    assert {name: f"({d.number})" for name, d in listed.items()} == {
        name: number.replace(", ", ":") for name, number in witnessed.items()
    }
    uuids = {str(device.name): device.uuid for device in dm.list_devices(uuids=True)}
    known = dm.version() >= LIST_UUID_VERSION
    assert {name: uuids[name] for name in crowd} == (crowd if known else dict.fromkeys(crowd))
    before = len(control.grown(Command.LIST_DEVICES))
    dm.list_devices(uuids=True)
    assert len(control.grown(Command.LIST_DEVICES)) == before + 1
