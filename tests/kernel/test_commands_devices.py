"""Commands about a device as a whole: create, find, rename, remove, list.

The second witnesses are dmsetup and sysfs.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from dmwatch import DeviceMapper, DeviceNumber, DeviceUuid, Flags, TargetLine, UdevFlags
from dmwatch.errors import (
    CommandError,
    DeviceBusyError,
    DeviceNotFoundError,
    InterfaceTooOldError,
    InvalidFlagsError,
    InvalidNameError,
)
from dmwatch.ioctl.abi import LIST_UUID_VERSION

Dmsetup = Callable[..., str]
Name = Callable[[str], str]
Make = Callable[..., str]

ZERO = TargetLine(0, 2048, "zero")
NO_RULES = (
    UdevFlags.DISABLE_DM_RULES
    | UdevFlags.DISABLE_SUBSYSTEM_RULES
    | UdevFlags.DISABLE_DISK_RULES
    | UdevFlags.DISABLE_OTHER_RULES
)


@pytest.fixture(scope="module")
def dm() -> Iterator[DeviceMapper]:
    with DeviceMapper() as found:
        yield found


@pytest.fixture
def make(dm: DeviceMapper, device_name: Name) -> Iterator[Make]:
    """make(stem, *lines, uuid=None, minor=None) -> the name of a new device; lines go live."""
    numbers: list[DeviceNumber] = []

    def made(
        stem: str, *lines: TargetLine, uuid: str | None = None, minor: int | None = None
    ) -> str:
        name = device_name(stem)
        numbers.append(dm.create(name, uuid, minor=minor).number)
        if lines:
            dm.load(name, lines)
            dm.resume(name)
        return name

    yield made
    for number in reversed(numbers):
        with suppress(DeviceNotFoundError):
            dm.remove(number)


def fields(dmsetup: Dmsetup, name: str, columns: str) -> list[str]:
    """What dmsetup says of a device."""
    shown = dmsetup("info", "-c", "--noheadings", "--separator", "|", "-o", columns, name)
    return shown.strip().split("|")


def sysfs(number: DeviceNumber, file: str) -> bytes:
    return Path(f"/sys/dev/block/{number}/{file}").read_bytes().rstrip(b"\n")


# Create and find


@pytest.mark.parity(7)
def test_a_new_device_has_its_name_and_no_uuid_and_no_table(
    dm: DeviceMapper, make: Make, dmsetup: Dmsetup
) -> None:
    name = make("new")
    info = dm.info(name)
    assert (info.name, info.uuid, info.event_nr, info.open_count) == (name, None, 0, 0)
    assert not info.has_table
    assert not info.has_staged_table
    shown = fields(dmsetup, name, "name,uuid,major,minor,open,events,tables_loaded")
    number = info.number
    assert shown == [name, "", str(number.major), str(number.minor), "0", "0", "None"]


@pytest.mark.parity(8)
def test_a_device_made_with_a_uuid_has_both(
    dm: DeviceMapper, device_name: Name, dmsetup: Dmsetup
) -> None:
    name = device_name("both")
    made = dm.create(name, "DMWATCH-both")
    assert (made.name, made.uuid) == (name, "DMWATCH-both")
    assert fields(dmsetup, name, "name,uuid") == [name, "DMWATCH-both"]
    dm.remove(name)


def test_a_device_is_found_by_name_uuid_and_number(dm: DeviceMapper, make: Make) -> None:
    name = make("found", ZERO, uuid="DMWATCH-found")
    make("other", ZERO, uuid="DMWATCH-other")
    info = dm.info(name)
    assert dm.info(DeviceUuid("DMWATCH-found")) == info
    assert dm.info(info.number) == info
    assert dm.table_status(DeviceUuid("DMWATCH-found")) == dm.table_status(info.number)
    assert sysfs(info.number, "dm/name") == name.encode()
    assert sysfs(info.number, "dm/uuid") == b"DMWATCH-found"


def test_what_is_absent_is_not_found_however_it_is_named(dm: DeviceMapper) -> None:
    for absent in ("absent-dmwatch-test", DeviceUuid("absent"), DeviceNumber(4000, 77)):
        with pytest.raises(DeviceNotFoundError) as caught:
            dm.info(absent)
        assert caught.value.errno == errno.ENXIO
        assert str(absent) in str(caught.value)


@pytest.mark.parity(20)
def test_info_of_an_absent_name_says_which_command_and_device(dm: DeviceMapper) -> None:
    with pytest.raises(DeviceNotFoundError) as caught:
        dm.info("absent-dmwatch-test")
    error = caught.value
    assert (error.command, error.device) == ("DEV_STATUS", "absent-dmwatch-test")
    assert error.request is not None
    assert error.reply is not None


@pytest.mark.parity("B3")
def test_a_chosen_minor_is_taken_once(
    dm: DeviceMapper, make: Make, device_name: Name, dmsetup: Dmsetup
) -> None:
    name = make("minor", minor=54321)
    assert dm.info(name).number.minor == 54321
    assert fields(dmsetup, name, "minor") == ["54321"]
    with pytest.raises(DeviceBusyError, match="the minor number is taken") as caught:
        dm.create(device_name("minor"), minor=54321)
    assert caught.value.errno == errno.ENXIO


def test_the_longest_name_and_uuid_reach_the_kernel_whole(
    dm: DeviceMapper, device_name: Name, dmsetup: Dmsetup
) -> None:
    name = device_name("long").rjust(127, "n")
    uuid = "u" * 128
    made = dm.create(name, uuid)
    assert (made.name, made.uuid) == (name, uuid)
    assert dm.info(DeviceUuid(uuid)).name == name
    assert fields(dmsetup, name, "name,uuid") == [name, uuid]
    dm.remove(name)


@pytest.mark.parity("B19")
def test_names_that_cannot_be_are_refused_before_the_kernel(dm: DeviceMapper) -> None:
    before = dm.list_devices()
    for name in ("", "a/b", "a\x00b", "n" * 128, ".", "control"):
        with pytest.raises(InvalidNameError):
            dm.create(name)
    assert dm.list_devices() == before


@pytest.mark.parity(21)
def test_a_name_and_a_uuid_exist_once(dm: DeviceMapper, make: Make, device_name: Name) -> None:
    name = make("twice", uuid="DMWATCH-twice")
    other = device_name("twice")
    doubles = [(name, "DMWATCH-twice"), (name, None), (name, "DMWATCH-new")]
    for again, uuid in [*doubles, (other, "DMWATCH-twice")]:
        with pytest.raises(DeviceBusyError, match="taken") as caught:
            dm.create(again, uuid)
        assert caught.value.errno == errno.EBUSY
    assert other not in [device.name for device in dm.list_devices()]


# Rename and uuid


@pytest.mark.parity(13)
def test_a_renamed_device_is_found_by_its_new_name_only(
    dm: DeviceMapper, make: Make, device_name: Name, dmsetup: Dmsetup
) -> None:
    old, new, third = make("old"), device_name("new"), make("third")
    answer = dm.rename(old, new)
    assert answer.name == old  # the kernel's answer is unchanged
    with pytest.raises(DeviceNotFoundError):
        dm.info(old)
    assert dm.info(new).number == answer.number
    listed = {str(device.name): device.event_nr for device in dm.list_devices()}
    assert old not in listed
    assert listed[new] == 0
    assert fields(dmsetup, new, "name") == [new]
    with pytest.raises(DeviceBusyError):
        dm.rename(new, third)
    assert {new, third} <= {device.name for device in dm.list_devices()}


@pytest.mark.parity(12)
def test_renaming_to_the_own_name_is_busy(dm: DeviceMapper, make: Make) -> None:
    name = make("same")
    with pytest.raises(DeviceBusyError) as caught:
        dm.rename(name, name)
    assert (caught.value.command, caught.value.errno) == ("DEV_RENAME", errno.EBUSY)


@pytest.mark.parity(14)
def test_renaming_what_is_absent_is_not_found(dm: DeviceMapper, device_name: Name) -> None:
    with pytest.raises(DeviceNotFoundError) as caught:
        dm.rename("absent-dmwatch-test", device_name("new"))
    assert (caught.value.command, caught.value.errno) == ("DEV_RENAME", errno.ENXIO)


@pytest.mark.parity(11)
def test_a_uuid_can_be_given_later(dm: DeviceMapper, make: Make, dmsetup: Dmsetup) -> None:
    name = make("later")
    answer = dm.set_uuid(name, "DMWATCH-later")
    assert (answer.name, answer.uuid) == (name, None)
    assert dm.info(name).uuid == "DMWATCH-later"
    assert dm.info(DeviceUuid("DMWATCH-later")).name == name
    assert fields(dmsetup, name, "name,uuid") == [name, "DMWATCH-later"]


@pytest.mark.parity(9)
def test_a_uuid_cannot_be_changed(dm: DeviceMapper, make: Make) -> None:
    name = make("fixed", uuid="DMWATCH-fixed")
    with pytest.raises(CommandError) as caught:
        dm.set_uuid(name, "DMWATCH-other")
    assert (caught.value.command, caught.value.errno) == ("DEV_RENAME", errno.EINVAL)
    assert dm.info(name).uuid == "DMWATCH-fixed"


@pytest.mark.parity(10)
def test_giving_the_same_uuid_again_is_busy(dm: DeviceMapper, make: Make) -> None:
    name = make("again", uuid="DMWATCH-again")
    with pytest.raises(DeviceBusyError) as caught:
        dm.set_uuid(name, "DMWATCH-again")
    assert (caught.value.command, caught.value.errno) == ("DEV_RENAME", errno.EBUSY)


def test_a_rename_of_a_live_device_moves_its_event_number(dm: DeviceMapper, make: Make) -> None:
    name = make("live", ZERO)
    dm.set_uuid(name, "DMWATCH-live")
    assert dm.info(name).event_nr == 1


# Remove


@pytest.mark.parity(15)
def test_removing_what_is_absent_is_not_found(dm: DeviceMapper) -> None:
    with pytest.raises(DeviceNotFoundError) as caught:
        dm.remove("absent-dmwatch-test")
    assert (caught.value.command, caught.value.errno) == ("DEV_REMOVE", errno.ENXIO)


def test_an_open_device_is_busy_and_says_why(dm: DeviceMapper, make: Make) -> None:
    name = make("open", ZERO)
    number = dm.info(name).number
    held = os.open(f"/dev/dm-{number.minor}", os.O_RDONLY)
    try:
        assert dm.info(name).open_count == 1
        with pytest.raises(DeviceBusyError, match="it is open"):
            dm.remove(name)
    finally:
        os.close(held)
    dm.remove(name)
    assert not Path(f"/sys/dev/block/{number}").exists()


def test_a_deferred_removal_waits_for_the_last_close(
    dm: DeviceMapper, make: Make, dmsetup: Dmsetup
) -> None:
    name = make("deferred", ZERO)
    held = os.open(f"/dev/dm-{dm.info(name).number.minor}", os.O_RDONLY)
    try:
        assert dm.remove(name, flags=Flags.DEFERRED_REMOVE).deferred_remove
        assert dm.info(name).deferred_remove
        assert "DEFERRED REMOVE" in dmsetup("info", name)
    finally:
        os.close(held)
    until_gone(dm, name)
    assert name not in dmsetup("ls")


def test_a_deferred_removal_can_be_called_off(dm: DeviceMapper, make: Make) -> None:
    name = make("kept", ZERO)
    held = os.open(f"/dev/dm-{dm.info(name).number.minor}", os.O_RDONLY)
    try:
        dm.remove(name, flags=Flags.DEFERRED_REMOVE)
        dm.message(name, "@cancel_deferred_remove")
        assert not dm.info(name).deferred_remove
    finally:
        os.close(held)


def test_a_deferred_removal_of_a_closed_device_is_a_removal(dm: DeviceMapper, make: Make) -> None:
    name = make("closed", ZERO)
    answer = dm.remove(name, flags=Flags.DEFERRED_REMOVE)
    assert not answer.deferred_remove
    assert answer.uevent_generated
    with pytest.raises(DeviceNotFoundError):
        dm.info(name)


def until_gone(dm: DeviceMapper, name: str) -> None:
    """The kernel removes it in a work item."""
    deadline = time.monotonic() + 20
    while any(device.name == name for device in dm.list_devices()):
        assert time.monotonic() < deadline, f"{name} is still there"
        time.sleep(0.02)


def test_flags_that_a_command_does_not_take_are_refused_and_nothing_happens(
    dm: DeviceMapper, make: Make
) -> None:
    name = make("flags")
    before = dm.info(name)
    with pytest.raises(InvalidFlagsError, match="DEV_REMOVE does not take NOFLUSH"):
        dm.remove(name, flags=Flags.NOFLUSH)
    with pytest.raises(InvalidFlagsError, match="DEV_STATUS does not take READONLY"):
        dm.info(name, flags=Flags.READONLY)
    with pytest.raises(InvalidFlagsError, match="resume does not take SUSPEND"):
        dm.resume(name, flags=Flags.SUSPEND)
    with pytest.raises(InvalidFlagsError, match="TABLE_LOAD does not take 0x2000000"):
        dm.load(name, [ZERO], flags=Flags(1 << 25))
    assert dm.info(name) == before


# The life of a device without udev's rules


@pytest.mark.parity(22)
def test_a_read_only_device_lives_without_udevs_rules(
    dm: DeviceMapper, make: Make, dmsetup: Dmsetup
) -> None:
    name = make("quiet")
    dm.load(name, [TargetLine(0, 1024, "error")], flags=Flags.READONLY)
    dm.resume(name, udev=NO_RULES)
    info = dm.info(name)
    assert not info.suspended
    assert info.read_only
    assert fields(dmsetup, name, "suspended,readonly") == ["Active", "Read-only"]
    assert sysfs(info.number, "ro") == b"1"
    dm.remove(name, udev=NO_RULES)
    assert name not in dmsetup("ls")


# List


@pytest.mark.parity(5)
def test_no_marked_device_is_listed_at_the_start(dm: DeviceMapper) -> None:
    assert [d for d in dm.list_devices() if d.name.endswith("-dmwatch-test")] == []


@pytest.mark.parity(6)
def test_a_new_device_is_listed_once_with_its_number_and_event_number(
    dm: DeviceMapper, make: Make
) -> None:
    name = make("listed")
    (found,) = [device for device in dm.list_devices() if device.name == name]
    assert (found.number, found.event_nr, found.uuid) == (dm.info(name).number, 0, None)


def test_the_list_has_uuids_where_the_kernel_gives_them(
    dm: DeviceMapper, make: Make, dmsetup: Dmsetup
) -> None:
    for uuid in ("LVM-one", None, "CRYPT-three"):
        make("uuids", uuid=uuid)
    listed = dm.list_devices(uuids=True)
    shown = dmsetup("info", "-c", "--noheadings", "--separator", "|", "-o", "name,uuid,events")
    witnessed = {tuple(line.strip().split("|")) for line in shown.splitlines()}
    if dm.version() < LIST_UUID_VERSION:
        witnessed = {(name, "", events) for name, _, events in witnessed}
    assert {(d.name, d.uuid or "", str(d.event_nr)) for d in listed} == witnessed
    assert all(device.uuid is None for device in dm.list_devices())


def test_prefixes_filter_the_list_or_are_said_to_be_too_new(dm: DeviceMapper, make: Make) -> None:
    for stem, uuid in [("aa", "PREFIX-1"), ("aa", "PREFIX-20"), ("bb", "PREFIX-21"), ("cc", None)]:
        make(stem, uuid=uuid)

    def found(**prefixes: str) -> set[str]:
        listed = dm.list_devices(**prefixes)  # type: ignore[arg-type]
        return {device.name.removesuffix("-dmwatch-test") for device in listed}

    if dm.version() < LIST_UUID_VERSION:
        with pytest.raises(InterfaceTooOldError, match=r"prefixes need interface 4\.45\.0"):
            found(name_prefix="aa-")
        return
    assert found(name_prefix="aa-") == {"aa-1", "aa-2"}
    assert found(name_prefix="aa-1") == {"aa-1"}
    assert found(uuid_prefix="PREFIX-2") == {"aa-2", "bb-3"}
    assert found(name_prefix="bb-", uuid_prefix="PREFIX-") == {"bb-3"}
    assert found(name_prefix="nothing") == set()


@pytest.mark.parity("B8")
def test_undecodable_names_and_uuids_do_not_break_the_list(
    dm: DeviceMapper, device_name: Name
) -> None:
    name = f"\udcff\udc80 \x07{device_name('raw')}"
    dm.create(name, "\udcfe-raw")
    dm.load(name, [ZERO])
    number = dm.resume(name).number
    (found,) = [d for d in dm.list_devices(uuids=True) if d.number == number]
    assert found.name == name
    assert found.name.printable.startswith("\\xff\\x80 \\x07")
    assert sysfs(number, "dm/name") == os.fsencode(name)
    assert sysfs(number, "dm/uuid") == b"\xfe-raw"
    assert dm.info(name).uuid == "\udcfe-raw"
    dm.remove(name)
