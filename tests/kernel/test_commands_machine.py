"""Commands about the whole machine, messages, and what udev is told. dmsetup is the witness."""

from __future__ import annotations

import errno
import os
import select
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from dmwatch import DeviceMapper, DeviceNumber, Flags, TargetLine, UdevFlags
from dmwatch.errors import (
    CommandError,
    DeviceNotFoundError,
    InvalidMessageError,
    InvalidValueError,
    NotPermittedError,
    ReplyTooLargeError,
)
from dmwatch.ioctl.abi import Command
from dmwatch.ioctl.control import Control

Dmsetup = Callable[..., str]
Name = Callable[[str], str]
Make = Callable[..., str]

ZERO = TargetLine(0, 2048, "zero")
NETLINK_KOBJECT_UEVENT = 15
RULES = UdevFlags.DISABLE_DISK_RULES | UdevFlags.PRIMARY_SOURCE | UdevFlags.SUBSYSTEM_3
NOBODY = 65534
WAYS = ("zero", "error")


@pytest.fixture(scope="module")
def dm() -> Iterator[DeviceMapper]:
    with DeviceMapper() as found:
        yield found


@pytest.fixture
def make(dm: DeviceMapper, device_name: Name) -> Iterator[Make]:
    """make(stem, *lines) -> the name of a new device; lines go live."""
    numbers: list[DeviceNumber] = []

    def made(stem: str, *lines: TargetLine) -> str:
        name = device_name(stem)
        numbers.append(dm.create(name).number)
        if lines:
            dm.load(name, lines)
            dm.resume(name)
        return name

    yield made
    for number in reversed(numbers):
        with suppress(DeviceNotFoundError):
            dm.remove(number)


# The interface and its targets


@pytest.mark.parity(3)
def test_version_is_the_one_that_dmsetup_prints(dm: DeviceMapper, dmsetup: Dmsetup) -> None:
    version = ".".join(map(str, dm.version()))
    driver = next(line for line in dmsetup("version").splitlines() if "Driver" in line)
    assert driver.split() == ["Driver", "version:", version]


@pytest.mark.parity(4)
def test_target_versions_are_those_that_dmsetup_prints(dm: DeviceMapper, dmsetup: Dmsetup) -> None:
    dm.target_version("zero")
    ours = {(found.type, "v" + ".".join(map(str, found.version))) for found in dm.versions()}
    assert "zero" in {name for name, _ in ours}
    assert ours == {tuple(line.split()) for line in dmsetup("targets").splitlines()}


def test_asking_for_a_targets_version_loads_its_module(dm: DeviceMapper) -> None:
    found = dm.target_version("delay")
    assert found.type == "delay"
    assert Path("/sys/module/dm_delay").is_dir()
    assert found in dm.versions()


def test_a_target_that_does_not_exist_has_no_version(dm: DeviceMapper) -> None:
    with pytest.raises(CommandError) as caught:
        dm.target_version("no-such-target")
    assert caught.value.command == "GET_TARGET_VERSION"


# Poll


def readable(dm: DeviceMapper) -> bool:
    return bool(select.select([dm], [], [], 0)[0])


def test_the_node_is_readable_from_an_event_until_it_is_armed(
    dm: DeviceMapper, device_name: Name
) -> None:
    with DeviceMapper() as watching:
        assert not readable(watching)
        number = dm.create(device_name("poll")).number
        assert readable(watching)
        watching.list_devices()
        assert readable(watching)
        watching.arm_poll()
        assert not readable(watching)
        dm.remove(number)
        assert readable(watching)


def test_two_open_nodes_are_armed_each_on_its_own(dm: DeviceMapper, make: Make) -> None:
    with DeviceMapper() as first, DeviceMapper() as second:
        make("poll")
        first.arm_poll()
        assert not readable(first)
        assert readable(second)


# What udev is told


class Uevents:
    """The kernel's own messages, as udev gets them."""

    def __init__(self) -> None:
        kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        self._socket = socket.socket(socket.AF_NETLINK, kind, NETLINK_KOBJECT_UEVENT)
        self._socket.bind((0, 1))

    def close(self) -> None:
        self._socket.close()

    def cookies(self, number: DeviceNumber, action: str) -> set[str | None]:
        """The DM_COOKIE of each message about a device since the last call."""
        found: set[str | None] = set()
        with suppress(BlockingIOError):
            while True:
                words = self._socket.recv(65536).split(b"\x00")
                values = dict(word.decode().split("=", 1) for word in words if b"=" in word)
                about = f"{values.get('MAJOR')}:{values.get('MINOR')}"
                if (values.get("ACTION"), about) == (action, str(number)):
                    found.add(values.get("DM_COOKIE"))
        return found


@pytest.fixture
def uevents() -> Iterator[Uevents]:
    listening = Uevents()
    yield listening
    listening.close()


def test_resume_rename_and_remove_carry_udev_flags_and_cookie(
    dm: DeviceMapper, make: Make, device_name: Name, uevents: Uevents
) -> None:
    name = make("cookie")
    number = dm.load(name, [ZERO]).number
    assert dm.resume(name, udev=RULES, cookie=0x1234).uevent_generated
    assert uevents.cookies(number, "change") == {str(int(RULES) << 16 | 0x1234)}
    new = device_name("renamed")
    assert dm.rename(name, new, udev=RULES).uevent_generated
    assert uevents.cookies(number, "change") == {str(int(RULES) << 16)}
    dm.set_uuid(new, "DMWATCH-cookie", cookie=0xFFFF)
    assert uevents.cookies(number, "change") == {str(0xFFFF)}
    assert dm.remove(new, udev=RULES, cookie=1).uevent_generated
    assert str(int(RULES) << 16 | 1) in uevents.cookies(number, "remove")


def test_without_flags_and_cookie_udev_is_told_none(
    dm: DeviceMapper, make: Make, uevents: Uevents
) -> None:
    name = make("plain")
    number = dm.load(name, [ZERO]).number
    dm.resume(name)
    assert uevents.cookies(number, "change") == {None}
    dm.remove(name)
    assert uevents.cookies(number, "remove") == {None}


def test_a_cookie_of_more_than_16_bits_is_refused(dm: DeviceMapper, make: Make) -> None:
    name = make("wide", ZERO)
    with pytest.raises(InvalidValueError, match="16 bits"):
        dm.remove(name, cookie=0x10000)
    assert dm.info(name).name == name


# Messages


class Counting(Control):
    """The real node; remembers what was sent."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[Command] = []

    def call(self, command: Command, buffer: bytearray) -> None:
        self.sent.append(command)
        super().call(command, buffer)


def test_a_message_with_a_reply_gives_its_text(
    dm: DeviceMapper, make: Make, dmsetup: Dmsetup
) -> None:
    name = make("stats", ZERO)
    created = dm.message(name, "@stats_create - 512")
    assert (created.text, created.info.name) == ("0", name)
    listed = dm.message(name, "@stats_list").text
    assert listed is not None
    assert listed.startswith("0: 0+2048 512 ")
    assert listed.splitlines() == dmsetup("message", name, "0", "@stats_list").splitlines()


def test_a_message_without_a_reply_gives_none(dm: DeviceMapper, make: Make) -> None:
    name = make("stats", ZERO)
    dm.message(name, "@stats_create - 512")
    assert dm.message(name, "@stats_delete 0").text is None
    assert dm.message(name, "@stats_list").text == ""


@pytest.mark.parity("B23")
def test_a_message_whose_reply_does_not_fit_is_sent_once(dm: DeviceMapper, make: Make) -> None:
    """Where a reply overflows the kernel does not clear the counters that it could not print."""
    name = make("stats", ZERO)
    dm.message(name, "@stats_create - 8")
    with Path(f"/dev/dm-{dm.info(name).number.minor}").open("rb") as device:
        device.read(4096)
    before = dm.message(name, "@stats_print 0").text
    control = Counting()
    with DeviceMapper(control) as small:
        with pytest.raises(ReplyTooLargeError, match="carried out"):
            small.message(name, "@stats_print_clear 0", reply_size=1000)
        assert control.sent == [Command.TARGET_MSG]
    texts = [dm.message(name, "@stats_print_clear 0", reply_size=64 * 1024).text for _ in range(2)]
    assert before is not None
    assert texts[0] == before
    assert any(reads(before))
    assert texts[1] is not None
    assert len(reads(texts[1])) == len(reads(before)) == 256
    assert not any(reads(texts[1]))


def reads(printed: str) -> list[int]:
    """The reads completed in each area."""
    return [int(line.split()[1]) for line in printed.splitlines()]


def test_a_message_to_a_device_without_a_table_is_refused(dm: DeviceMapper, make: Make) -> None:
    with pytest.raises(CommandError):
        dm.message(make("empty"), "hello")  # Linux 6.12 calls it done


def test_a_message_reaches_the_target_at_its_sector(dm: DeviceMapper, make: Make) -> None:
    works, fails = (dm.info(make("path", TargetLine(0, 8, kind))).number for kind in WAYS)
    switch = TargetLine(8, 8, "switch", f"2 8 0 {works} 0 {fails} 0")
    name = make("two", TargetLine(0, 8, "zero"), switch)
    message = "set_region_mappings 0:1"
    for elsewhere in (0, 7, 16):
        with pytest.raises(CommandError) as caught:
            dm.message(name, message, sector=elsewhere)
        assert (caught.value.command, caught.value.errno) == ("TARGET_MSG", errno.EINVAL)
    assert dm.message(name, message, sector=8).text is None
    with Path(f"/dev/dm-{dm.info(name).number.minor}").open("rb", buffering=0) as device:
        assert device.read(4096) == bytes(4096)
        with pytest.raises(OSError, match="Input/output error"):
            device.read(4096)


def test_messages_that_cannot_be_are_refused_before_the_kernel(make: Make) -> None:
    name = make("stats", ZERO)
    control = Counting()
    with DeviceMapper(control) as dm:
        for text in ("", "  ", "a\x00b"):
            with pytest.raises(InvalidMessageError):
                dm.message(name, text)
    assert control.sent == []


def test_the_target_refuses_a_message_that_it_does_not_know(dm: DeviceMapper, make: Make) -> None:
    with pytest.raises(CommandError) as caught:
        dm.message(make("stats", ZERO), "@no_such_message")
    assert caught.value.command == "TARGET_MSG"


# Permission


def test_a_command_without_privilege_is_refused_on_an_open_node(dm: DeviceMapper) -> None:
    os.seteuid(NOBODY)
    try:
        with pytest.raises(NotPermittedError, match="needs CAP_SYS_ADMIN"):
            dm.version()
    finally:
        os.seteuid(0)
    assert dm.version() >= (4, 37, 0)


# Remove all


def test_remove_all_without_really_sends_nothing(make: Make, dmsetup: Dmsetup) -> None:
    name = make("stays")
    control = Counting()
    with DeviceMapper(control) as dm:
        for unclear in ({}, {"really": False}, {"really": 1}):
            with pytest.raises(InvalidValueError, match="every device of this machine"):
                dm.remove_all(**unclear)
    assert control.sent == []
    assert name in dmsetup("ls")


def test_remove_all_removes_every_device_that_is_not_open(
    dm: DeviceMapper, make: Make, dmsetup: Dmsetup
) -> None:
    held = make("held", ZERO)
    for _ in range(3):
        make("gone", ZERO)
    make("gone")
    with Path(f"/dev/dm-{dm.info(held).number.minor}").open("rb"):
        dm.remove_all(really=True)
        assert [line.split()[0] for line in dmsetup("ls").splitlines()] == [held]
        dm.remove_all(really=True, flags=Flags.DEFERRED_REMOVE)
        assert dm.info(held).deferred_remove
        dm.message(held, "@cancel_deferred_remove")
