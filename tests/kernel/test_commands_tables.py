"""Commands about a device's table: load, resume, suspend, clear, ask. dmsetup is the witness."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import struct
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from dmwatch import DeviceMapper, DeviceNumber, DeviceUuid, Flags, Geometry, TargetLine
from dmwatch.errors import (
    CommandError,
    DeviceNotFoundError,
    InterfaceTooOldError,
    InvalidValueError,
)
from dmwatch.ioctl.abi import IMA_VERSION, Command
from dmwatch.ioctl.control import Control

Dmsetup = Callable[..., str]
Loop = Callable[[float], str]
Name = Callable[[str], str]
Make = Callable[..., str]

ZERO = TargetLine(0, 2048, "zero")
INACTIVE = Flags.QUERY_INACTIVE_TABLE
HDIO_GETGEO = 0x0301
FIFREEZE, FITHAW = 0xC0045877, 0xC0045878


@pytest.fixture(scope="module")
def dm() -> Iterator[DeviceMapper]:
    with DeviceMapper() as found:
        yield found


@pytest.fixture
def make(dm: DeviceMapper, device_name: Name) -> Iterator[Make]:
    """make(stem, *lines, uuid=None) -> the name of a new device; lines go live."""
    numbers: list[DeviceNumber] = []

    def made(stem: str, *lines: TargetLine, uuid: str | None = None) -> str:
        name = device_name(stem)
        numbers.append(dm.create(name, uuid).number)
        if lines:
            dm.load(name, lines)
            dm.resume(name)
        return name

    yield made
    for number in reversed(numbers):
        with suppress(DeviceNotFoundError):
            dm.resume(number)
            dm.remove(number)


def linear(lower: DeviceNumber, offset: int = 0, length: int = 1024) -> TargetLine:
    return TargetLine(0, length, "linear", f"{lower} {offset}")


def printed(lines: tuple[TargetLine, ...] | list[TargetLine]) -> list[str]:
    """Lines as dmsetup prints them, but for blanks at the end."""
    return [f"{line.start} {line.length} {line.type} {line.text}".rstrip() for line in lines]


def shown(dmsetup: Dmsetup, *arguments: str) -> list[str]:
    return [line.rstrip() for line in dmsetup(*arguments).splitlines()]


def node(info_number: DeviceNumber) -> str:
    return f"/dev/dm-{info_number.minor}"


# Load, resume, clear


def test_a_table_goes_live_by_load_and_resume(
    dm: DeviceMapper, make: Make, dmsetup: Dmsetup
) -> None:
    lower = dm.info(make("lower", ZERO)).number
    name = make("upper")
    lines = [
        TargetLine(0, 512, "linear", f"{lower} 1024"),
        TargetLine(512, 512, "striped", f"1 8 {lower} 0"),
        TargetLine(1024, 8, "error"),
    ]
    assert dm.load(name, lines).has_staged_table
    info = dm.resume(name)
    assert (info.has_table, info.has_staged_table, info.suspended) == (True, False, False)
    assert dm.table(name) == tuple(lines)
    assert printed(lines) == shown(dmsetup, "table", name)
    status = dm.table_status(name)
    assert printed(list(status.lines)) == shown(dmsetup, "status", name)
    assert status.lines[1].text == f"1 {lower} 1 A"
    assert (status.info.name, status.info.target_count) == (name, 3)
    assert Path(f"/sys/dev/block/{info.number}/size").read_text() == "1032\n"


def test_the_staged_table_is_told_apart_from_the_live_one(
    dm: DeviceMapper, make: Make, dmsetup: Dmsetup
) -> None:
    first, second = (dm.info(make("lower", ZERO)).number for _ in range(2))
    name = make("both", linear(first))
    dm.load(name, [linear(second, 8, 512), TargetLine(512, 8, "error")])
    assert printed(list(dm.table(name))) == shown(dmsetup, "table", name)
    assert dm.deps(name) == [first]
    staged = dm.table(name, flags=INACTIVE)
    assert printed(list(staged)) == shown(dmsetup, "table", "--inactive", name)
    assert staged[0] == linear(second, 8, 512)
    assert dm.deps(name, flags=INACTIVE) == [second]
    assert dm.info(name).target_count == 1
    assert dm.info(name, flags=INACTIVE).target_count == 2


def test_clear_drops_the_staged_table_and_keeps_the_live_one(
    dm: DeviceMapper, make: Make, dmsetup: Dmsetup
) -> None:
    name = make("cleared", ZERO)
    dm.load(name, [TargetLine(0, 8, "error")])
    answer = dm.clear(name)
    assert (answer.has_table, answer.has_staged_table) == (True, False)
    assert dmsetup("table", "--inactive", name).strip() == ""
    assert dm.table(name, flags=INACTIVE) == ()
    assert dm.table(name) == (ZERO,)


def test_a_table_that_the_kernel_refuses_leaves_the_live_one(
    dm: DeviceMapper, make: Make, dmsetup: Dmsetup
) -> None:
    name = make("refused", ZERO)
    with pytest.raises(CommandError, match="dmesg") as caught:
        dm.load(name, [TargetLine(0, 8, "zero"), TargetLine(16, 8, "zero")])
    assert (caught.value.command, caught.value.errno) == ("TABLE_LOAD", errno.EINVAL)
    assert shown(dmsetup, "table", name) == ["0 2048 zero"]


def test_no_lines_are_no_table(dm: DeviceMapper, make: Make) -> None:
    name = make("nothing")
    with pytest.raises(CommandError) as caught:
        dm.load(name, [])
    assert caught.value.errno == errno.EINVAL
    assert not dm.info(name).has_staged_table


# Ask


@pytest.mark.parity(16)
def test_a_new_device_depends_on_nothing(dm: DeviceMapper, make: Make) -> None:
    assert dm.deps(make("alone")) == []


def test_deps_are_the_devices_that_the_table_uses(
    dm: DeviceMapper, make: Make, dmsetup: Dmsetup
) -> None:
    lower = [dm.info(make("lower", ZERO)).number for _ in range(3)]
    words = " ".join(f"{number} 0" for number in lower)
    name = make("upper", TargetLine(0, 3072, "striped", f"3 8 {words}"))
    assert sorted(dm.deps(name)) == sorted(lower)
    witness = re.findall(r"\((\d+), (\d+)\)", dmsetup("deps", name))
    assert {DeviceNumber(int(a), int(b)) for a, b in witness} == set(lower)


@pytest.mark.parity(17)
@pytest.mark.parity(18)
@pytest.mark.parametrize("flags", [Flags(0), Flags.STATUS_TABLE], ids=["status", "table"])
def test_the_status_of_what_is_absent_is_not_found(dm: DeviceMapper, flags: Flags) -> None:
    with pytest.raises(DeviceNotFoundError) as caught:
        dm.table_status("absent-dmwatch-test", flags=flags)
    assert (caught.value.command, caught.value.errno) == ("TABLE_STATUS", errno.ENXIO)


@pytest.mark.parity(19)
def test_a_device_without_a_table_reports_no_lines(dm: DeviceMapper, make: Make) -> None:
    status = dm.table_status(make("empty", uuid="DMWATCH-empty"))
    assert status.lines == ()
    assert status.info.uuid == DeviceUuid("DMWATCH-empty")


def test_what_is_measured_is_told_where_the_kernel_measures(dm: DeviceMapper, make: Make) -> None:
    lower = dm.info(make("lower", ZERO)).number
    name = make("measured", linear(lower))
    if dm.version() < IMA_VERSION:
        with pytest.raises(InterfaceTooOldError, match=r"IMA_MEASUREMENT needs interface 4\.45\.0"):
            dm.table_status(name, flags=Flags.IMA_MEASUREMENT)
        return
    (line,) = dm.table_status(name, flags=Flags.IMA_MEASUREMENT).lines
    version = ".".join(map(str, dm.target_version("linear").version))
    assert line.text.startswith(f"target_name=linear,target_version={version},device_name={lower}")


# Suspend and resume


def test_suspend_and_resume_can_be_said_twice(
    dm: DeviceMapper, make: Make, dmsetup: Dmsetup
) -> None:
    name = make("paused", ZERO)
    sysfs = Path(f"/sys/dev/block/{dm.info(name).number}/dm/suspended")
    for _ in range(2):
        assert dm.suspend(name).suspended
        assert dm.info(name).suspended
    assert sysfs.read_text() == "1\n"
    assert "SUSPENDED" in dmsetup("info", name)
    for _ in range(2):
        assert not dm.resume(name).suspended
    assert sysfs.read_text() == "0\n"


def test_suspend_with_noflush_does_not_end_the_waiting_of_multipath(
    dm: DeviceMapper, make: Make, loop: Loop, dmsetup: Dmsetup
) -> None:
    """multipath gives up queueing where a suspend flushes, which its table then shows."""
    text = f"1 queue_if_no_path 0 1 1 round-robin 0 1 1 {loop(1)} 1"
    name = make("flush", TargetLine(0, 2048, "multipath", text))
    dm.suspend(name, flags=Flags.NOFLUSH)
    assert "queue_if_no_path" in dm.table(name)[0].text
    assert "queue_if_no_path" in dmsetup("table", name)
    dm.resume(name)
    dm.suspend(name)
    assert "queue_if_no_path" not in dm.table(name)[0].text
    dm.resume(name)
    assert "queue_if_no_path" in dm.table(name)[0].text


def test_suspend_freezes_the_file_system_unless_told_to_skip_it(
    dm: DeviceMapper, make: Make, loop: Loop, tmp_path: Path
) -> None:
    name = make("mounted", TargetLine(0, 8192, "linear", f"{loop(4)} 0"))
    path = node(dm.info(name).number)
    subprocess.run(["mkfs.ext4", "-q", "-O", "^has_journal", path], check=True)
    with mounted(path, tmp_path) as directory:
        dm.suspend(name, flags=Flags.SKIP_LOCKFS)
        assert not frozen(directory)
        dm.resume(name)
        dm.suspend(name)
        assert frozen(directory)
        dm.resume(name)
        assert not frozen(directory)


@contextmanager
def mounted(device: str, where: Path) -> Iterator[int]:
    """Read-only: so nothing is written, and freezing never waits."""
    subprocess.run(["mount", "-t", "ext4", "-o", "ro", device, str(where)], check=True)
    directory = os.open(where, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield directory
    finally:
        os.close(directory)
        subprocess.run(["umount", str(where)], check=True)


def frozen(directory: int) -> bool:
    """What is frozen already cannot be frozen once more."""
    try:
        fcntl.ioctl(directory, FIFREEZE, 0)
    except OSError as error:
        if error.errno == errno.EBUSY:
            return True
        raise
    fcntl.ioctl(directory, FITHAW, 0)
    return False


# Secure data


class Spying(Control):
    """The real node; keeps what stood in the buffer when the kernel had answered."""

    def __init__(self) -> None:
        super().__init__()
        self.answered = b""
        self.buffer = bytearray()

    def call(self, command: Command, buffer: bytearray) -> None:
        super().call(command, buffer)
        self.answered, self.buffer = bytes(buffer), buffer


@pytest.mark.parity("B18")
@pytest.mark.parametrize("flags", [Flags(0), Flags.SECURE_DATA], ids=["plain", "secure"])
def test_a_table_loaded_as_secure_stays_in_no_buffer(make: Make, flags: Flags) -> None:
    lower = make("lower", ZERO)
    name = make("secret")
    secret = b"1 8 "
    control = Spying()
    with DeviceMapper(control) as dm:
        number = dm.info(lower).number
        line = TargetLine(0, 1024, "striped", f"1 8 {number} 0")
        dm.load(name, [line], flags=flags)
        assert (secret in control.answered) == (flags != Flags.SECURE_DATA)
        assert any(control.buffer) == (flags != Flags.SECURE_DATA)
        dm.resume(name)
        assert dm.table(name) == (line,)


def test_a_table_asked_for_as_secure_is_the_same_table(dm: DeviceMapper, make: Make) -> None:
    lower = dm.info(make("lower", ZERO)).number
    name = make("upper", linear(lower))
    assert dm.table(name, flags=Flags.SECURE_DATA) == dm.table(name) == (linear(lower),)


# Geometry


def test_geometry_is_what_the_device_then_tells(
    dm: DeviceMapper, make: Make, dmsetup: Dmsetup
) -> None:
    ours, theirs = make("disk", ZERO), make("disk", ZERO)
    dm.set_geometry(ours, Geometry(cylinders=321, heads=7, sectors=63, start=5))
    dmsetup("setgeometry", theirs, "321", "7", "63", "5")
    assert told_geometry(dm.info(ours).number) == (7, 63, 321, 5)
    assert told_geometry(dm.info(theirs).number) == (7, 63, 321, 5)


def test_a_geometry_out_of_range_is_refused_before_the_kernel(dm: DeviceMapper, make: Make) -> None:
    name = make("disk", ZERO)
    with pytest.raises(InvalidValueError, match="heads must be 0 to 255, not 256"):
        dm.set_geometry(name, Geometry(cylinders=1, heads=256, sectors=1))
    assert told_geometry(dm.info(name).number)[:3] == (0, 0, 0)


def test_a_geometry_that_starts_behind_its_end_is_refused_by_the_kernel(
    dm: DeviceMapper, make: Make
) -> None:
    with pytest.raises(CommandError) as caught:
        dm.set_geometry(make("disk", ZERO), Geometry(cylinders=1, heads=1, sectors=1, start=9))
    assert (caught.value.command, caught.value.errno) == ("DEV_SET_GEOMETRY", errno.EINVAL)


def told_geometry(number: DeviceNumber) -> tuple[int, ...]:
    """HDIO_GETGEO: heads, sectors, cylinders, start."""
    layout = struct.Struct("@BBHL")
    with Path(node(number)).open("rb") as device:
        return layout.unpack(fcntl.ioctl(device, HDIO_GETGEO, bytes(layout.size)))
