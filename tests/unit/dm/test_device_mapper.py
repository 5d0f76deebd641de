"""DeviceMapper on the fake kernel: what each call does to a device, and what is refused."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Iterator

import pytest

from dmwatch.dm import DeviceMapper, Geometry
from dmwatch.errors import (
    CommandError,
    DeviceBusyError,
    DeviceNotFoundError,
    InvalidFlagsError,
    InvalidNameError,
    InvalidValueError,
)
from dmwatch.ioctl.abi import Command, Flags, UdevFlags
from dmwatch.names import DeviceName, DeviceNumber, DeviceUuid
from dmwatch.table import TargetLine
from dmwatch.testing import FakeKernel

ZERO = TargetLine(0, 2048, "zero")
LINEAR = TargetLine(2048, 8, "linear", "7:0 0")


@pytest.fixture
def kernel() -> FakeKernel:
    return FakeKernel()


@pytest.fixture
def dm(kernel: FakeKernel) -> Iterator[DeviceMapper]:
    with DeviceMapper(kernel.open()) as opened:
        yield opened


def on(version: tuple[int, int, int]) -> tuple[FakeKernel, DeviceMapper]:
    kernel = FakeKernel(version)
    return kernel, DeviceMapper(kernel.open())


# What devicemapper-rs shows


@pytest.mark.parity(3)
def test_the_version_is_the_kernels(dm: DeviceMapper) -> None:
    assert dm.version() == (4, 47, 0)


@pytest.mark.parity(4)
def test_the_target_types_have_versions(dm: DeviceMapper, kernel: FakeKernel) -> None:
    assert {v.type: v.version for v in dm.versions()} == kernel.targets


@pytest.mark.parity(5)
def test_without_devices_the_list_is_empty(dm: DeviceMapper) -> None:
    assert dm.list_devices() == dm.list_devices(uuids=True) == []


@pytest.mark.parity(6)
def test_a_new_device_is_listed_with_its_event_number(dm: DeviceMapper) -> None:
    made = dm.create("a", "LVM-a")
    (listed,) = dm.list_devices()
    assert (listed.name, listed.number, listed.event_nr) == ("a", made.number, 0)
    assert listed.uuid is None
    assert dm.list_devices(uuids=True)[0].uuid == "LVM-a"


@pytest.mark.parity(7)
@pytest.mark.parity(8)
def test_a_new_device_has_its_name_and_perhaps_a_uuid(dm: DeviceMapper) -> None:
    assert (dm.create("a").name, dm.info("a").uuid) == ("a", None)
    made = dm.create("b", "LVM-b")
    assert (made.name, made.uuid) == ("b", "LVM-b")
    assert not any((made.has_table, made.has_staged_table, made.suspended))


@pytest.mark.parity(9)
@pytest.mark.parity(10)
@pytest.mark.parity(11)
def test_a_uuid_is_set_once(dm: DeviceMapper) -> None:
    dm.create("a")
    assert dm.set_uuid("a", "LVM-a").uuid is None
    assert dm.info("a").uuid == "LVM-a"
    assert dm.info(DeviceUuid("LVM-a")).name == "a"
    with pytest.raises(CommandError) as caught:
        dm.set_uuid("a", "LVM-b")
    assert (caught.value.errno, caught.value.command) == (errno.EINVAL, "DEV_RENAME")
    with pytest.raises(DeviceBusyError):
        dm.set_uuid("a", "LVM-a")


@pytest.mark.parity(12)
@pytest.mark.parity(13)
@pytest.mark.parity(14)
def test_renaming(dm: DeviceMapper) -> None:
    dm.create("a")
    dm.create("c")
    assert dm.rename("a", "b").name == "a"
    with pytest.raises(DeviceNotFoundError):
        dm.info("a")
    assert [(d.name, d.event_nr) for d in dm.list_devices()] == [("b", 0), ("c", 0)]
    for taken in ("b", "c"):
        with pytest.raises(DeviceBusyError, match="the new name or uuid is taken"):
            dm.rename("b", taken)
    with pytest.raises(DeviceNotFoundError):
        dm.rename("a", "d")


@pytest.mark.parity(15)
@pytest.mark.parity(17)
@pytest.mark.parity(18)
@pytest.mark.parity(20)
@pytest.mark.parametrize(
    "call",
    [
        lambda dm: dm.remove("a"),
        lambda dm: dm.info("a"),
        lambda dm: dm.info(DeviceUuid("LVM-a")),
        lambda dm: dm.info(DeviceNumber(253, 0)),
        lambda dm: dm.suspend("a"),
        lambda dm: dm.resume("a"),
        lambda dm: dm.load("a", [ZERO]),
        lambda dm: dm.clear("a"),
        lambda dm: dm.deps("a"),
        lambda dm: dm.table_status("a"),
        lambda dm: dm.table("a"),
        lambda dm: dm.wait("a", 0),
        lambda dm: dm.message("a", "hello"),
        lambda dm: dm.set_geometry("a", Geometry(1, 1, 1)),
    ],
)
def test_an_absent_device_is_not_found(
    dm: DeviceMapper, call: Callable[[DeviceMapper], object]
) -> None:
    with pytest.raises(DeviceNotFoundError, match="there is no such device") as caught:
        call(dm)
    assert caught.value.errno == errno.ENXIO


@pytest.mark.parity(16)
@pytest.mark.parity(19)
def test_a_device_without_a_table_has_no_dependencies_and_no_status(dm: DeviceMapper) -> None:
    dm.create("a", "LVM-a")
    assert dm.deps("a") == []
    found = dm.table_status("a")
    assert (found.lines, found.info.uuid) == ((), "LVM-a")
    assert dm.table("a") == ()


@pytest.mark.parity(21)
def test_a_name_or_uuid_is_taken_once(dm: DeviceMapper) -> None:
    dm.create("a", "LVM-a")
    taken = [("a", "LVM-a"), ("a", None), ("a", "LVM-b"), ("b", "LVM-a")]
    for name, uuid in taken:
        with pytest.raises(DeviceBusyError, match="the name or the uuid is taken"):
            dm.create(name, uuid)


@pytest.mark.parity(22)
def test_the_life_of_a_device_with_udev_kept_out(dm: DeviceMapper, kernel: FakeKernel) -> None:
    out = UdevFlags(0x002F)
    dm.create("a")
    assert dm.load("a", [TargetLine(0, 1024, "error")], flags=Flags.READONLY).has_staged_table
    resumed = dm.resume("a", udev=out)
    assert not resumed.suspended
    assert resumed.read_only
    assert resumed.uevent_generated
    assert dm.remove("a", udev=out).uevent_generated
    sent = [c.request[32:36] for c in kernel.calls if c.command is Command.DEV_SUSPEND]
    assert sent == [b"\x00\x00\x2f\x00"]


# Tables


def test_a_table_is_staged_shown_and_put_in_place(dm: DeviceMapper) -> None:
    dm.create("a")
    info = dm.load("a", [ZERO, LINEAR])
    assert (info.has_staged_table, info.has_table, info.target_count) == (True, False, 0)
    assert dm.table("a", flags=Flags.QUERY_INACTIVE_TABLE) == (ZERO, LINEAR)
    assert dm.deps("a", flags=Flags.QUERY_INACTIVE_TABLE) == [DeviceNumber(7, 0)]
    assert dm.info("a", flags=Flags.QUERY_INACTIVE_TABLE).target_count == 2
    assert dm.table("a") == ()
    info = dm.resume("a")
    assert (info.has_staged_table, info.has_table, info.target_count) == (False, True, 2)
    assert (dm.table("a"), dm.deps("a")) == ((ZERO, LINEAR), [DeviceNumber(7, 0)])


def test_a_staged_table_can_be_dropped(dm: DeviceMapper) -> None:
    dm.create("a")
    dm.load("a", [ZERO])
    assert not dm.clear("a").has_staged_table
    assert dm.table("a", flags=Flags.QUERY_INACTIVE_TABLE) == ()


def test_status_and_table_are_two_texts(dm: DeviceMapper, kernel: FakeKernel) -> None:
    kernel.add("a", LINEAR_ALONE, status=["fine"])
    assert dm.table_status("a").lines == (TargetLine(0, 8, "linear", "fine"),)
    assert dm.table("a") == (LINEAR_ALONE,)


LINEAR_ALONE = TargetLine(0, 8, "linear", "7:0 0")


def test_a_target_that_writes_nothing_has_an_empty_status(
    dm: DeviceMapper, kernel: FakeKernel
) -> None:
    # it leaves what the buffer held: that must have been zeros
    kernel.add("a", TargetLine(0, 8, "unstriped", "2 8 0 7:0 0"))
    kernel.set_status("a", 0, None)
    assert dm.table_status("a").lines == (TargetLine(0, 8, "unstriped", ""),)


@pytest.mark.parametrize("lines", [[], [LINEAR], [TargetLine(0, 8, "nonsense")]])
def test_a_table_that_the_kernel_refuses(dm: DeviceMapper, lines: list[TargetLine]) -> None:
    dm.create("a")
    with pytest.raises(CommandError, match="TABLE_LOAD of a failed") as caught:
        dm.load("a", lines)
    assert caught.value.errno == errno.EINVAL


def test_seven_hundred_lines_go_in_and_come_out(dm: DeviceMapper) -> None:
    lines = [TargetLine(8 * n, 8, "linear", f"7:0 {n}") for n in range(700)]
    dm.create("a")
    dm.load("a", lines)
    dm.resume("a")
    assert list(dm.table("a")) == lines


def test_what_was_grown_to_is_remembered(dm: DeviceMapper, kernel: FakeKernel) -> None:
    for number in range(600):
        kernel.add(f"device-{number:04}")
    assert len(dm.list_devices()) == 600
    first = [call.size for call in kernel.calls]
    assert len(dm.list_devices()) == 600
    assert [call.size for call in kernel.calls][len(first) :] == first[-1:]


# Suspending, events


def test_suspend_and_resume_can_be_repeated(dm: DeviceMapper, kernel: FakeKernel) -> None:
    kernel.add("a", ZERO)
    for _ in range(2):
        assert dm.suspend("a", flags=Flags.NOFLUSH).suspended
    for _ in range(2):
        assert not dm.resume("a").suspended


def test_resume_does_not_take_the_flag_that_suspends(dm: DeviceMapper, kernel: FakeKernel) -> None:
    kernel.add("a", ZERO)
    with pytest.raises(InvalidFlagsError, match="that is `suspend`"):
        dm.resume("a", flags=Flags.SUSPEND)
    assert kernel.calls == []


@pytest.mark.parity("B1")
@pytest.mark.parity("B2")
def test_wait_gives_the_status_once_the_number_differs(
    dm: DeviceMapper, kernel: FakeKernel
) -> None:
    kernel.add("a", ZERO, status=["before"])
    started = threading.Event()
    kernel.before(Command.DEV_WAIT, started.set)

    def act() -> None:
        started.wait()
        kernel.set_status("a", 0, "after")
        kernel.raise_event("a")

    thread = threading.Thread(target=act)
    thread.start()
    found = dm.wait("a", 0)
    thread.join()
    assert (found.info.event_nr, found.lines[0].text) == (1, "after")


def test_wait_returns_at_once_where_the_number_differs_already(
    dm: DeviceMapper, kernel: FakeKernel
) -> None:
    kernel.add("a", ZERO)
    assert dm.wait("a", 0xFFFFFFFF).info.event_nr == 0


# Removing


def test_an_open_device_is_busy_or_goes_later(dm: DeviceMapper, kernel: FakeKernel) -> None:
    kernel.add("a", ZERO)
    kernel.open_device("a")
    with pytest.raises(DeviceBusyError, match="it is open"):
        dm.remove("a")
    assert dm.remove("a", flags=Flags.DEFERRED_REMOVE).deferred_remove
    assert dm.info("a").deferred_remove
    dm.message("a", "@cancel_deferred_remove")
    assert not dm.info("a").deferred_remove
    dm.remove("a", flags=Flags.DEFERRED_REMOVE)
    kernel.close_device("a")
    assert dm.list_devices() == []


def test_a_device_that_is_not_open_goes_at_once(dm: DeviceMapper, kernel: FakeKernel) -> None:
    kernel.add("a", ZERO)
    assert not dm.remove("a", flags=Flags.DEFERRED_REMOVE).deferred_remove
    assert dm.list_devices() == []


@pytest.mark.parametrize("really", [False, 1, "yes"])
def test_removing_everything_is_asked_twice(
    dm: DeviceMapper, kernel: FakeKernel, really: object
) -> None:
    kernel.add("a")
    with pytest.raises(InvalidValueError, match="really=True"):
        dm.remove_all(really=really)  # type: ignore[arg-type]
    assert kernel.calls == []


def test_removing_everything_leaves_what_is_open(dm: DeviceMapper, kernel: FakeKernel) -> None:
    kernel.add("a")
    kernel.add("b")
    kernel.open_device("b")
    dm.remove_all(really=True)
    assert [d.name for d in dm.list_devices()] == ["b"]
    assert not dm.info("b").deferred_remove


# Lookups and names


def test_a_device_is_found_by_name_uuid_and_number(dm: DeviceMapper, kernel: FakeKernel) -> None:
    number = kernel.add("a", uuid="LVM-a", minor=0x12345).number
    for device in ("a", DeviceName("a"), DeviceUuid("LVM-a"), number):
        info = dm.info(device)
        assert (info.name, info.uuid, info.number) == ("a", "LVM-a", number)


@pytest.mark.parity("B3")
def test_a_minor_can_be_chosen(dm: DeviceMapper) -> None:
    assert dm.create("a", minor=7).number.minor == 7
    with pytest.raises(DeviceBusyError, match="the minor number is taken"):
        dm.create("b", minor=7)
    assert dm.create("b", minor=0).number.minor == 0
    with pytest.raises(InvalidNameError):
        dm.create("c", minor=1 << 20)


@pytest.mark.parity("B8")
def test_a_name_that_is_not_unicode_does_not_break_listing(
    dm: DeviceMapper, kernel: FakeKernel
) -> None:
    kernel.add("a\udcff")
    kernel.add("control")
    kernel.add("b")
    assert [d.name for d in dm.list_devices()] == ["a\udcff", "b", "control"]
    assert dm.info("a\udcff").name == "a\udcff"
    assert dm.info(kernel.device("control").number).name == "control"


@pytest.mark.parity("B19")
@pytest.mark.parametrize("name", ["", "a/b", "a\0b", "n" * 128, "control", ".", ".."])
def test_a_name_that_cannot_be_is_refused_before_the_kernel(
    dm: DeviceMapper, kernel: FakeKernel, name: str
) -> None:
    for call in (dm.create, dm.info, dm.remove, lambda n: dm.rename("a", n)):
        with pytest.raises(InvalidNameError):
            call(name)
    assert kernel.calls == []


def test_prefixes_filter_the_list(dm: DeviceMapper, kernel: FakeKernel) -> None:
    for name, uuid in (("m-1", "LVM-1"), ("m_1", "CRYPT-1"), ("n", "LVM-2")):
        kernel.add(name, uuid=uuid)
    assert [d.name for d in dm.list_devices(name_prefix="m")] == ["m-1", "m_1"]
    assert [d.name for d in dm.list_devices(uuid_prefix="LVM-")] == ["m-1", "n"]
    assert [d.name for d in dm.list_devices(name_prefix="m", uuid_prefix="LVM-")] == ["m-1"]
