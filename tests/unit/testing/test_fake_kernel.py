"""The fake kernel behaves like one; its bytes are compared with a real one's in the lab."""

from __future__ import annotations

import errno
import gc
import os
import select
import struct
import threading
from collections.abc import Callable

import pytest

from dmwatch.dm import DeviceMapper
from dmwatch.errors import CommandError, DeviceNotFoundError
from dmwatch.ioctl.abi import Command, Flags
from dmwatch.ioctl.header import Header
from dmwatch.ioctl.payload import ListedDevice, encode_devices
from dmwatch.names import DeviceName, DeviceNumber, DeviceUuid
from dmwatch.table import TargetLine
from dmwatch.testing import FakeControl, FakeKernel

ZERO = TargetLine(0, 2048, "zero")


@pytest.fixture
def kernel() -> FakeKernel:
    return FakeKernel()


def readable(control: FakeControl) -> bool:
    return bool(select.select([control], [], [], 0)[0])


def arm(control: FakeControl) -> None:
    DeviceMapper(control).arm_poll()


# Polling


def test_nothing_from_before_it_was_opened_is_told(kernel: FakeKernel) -> None:
    kernel.add("a", ZERO)
    assert not readable(kernel.open())


def test_the_node_stays_readable_until_it_is_armed(kernel: FakeKernel) -> None:
    control = kernel.open()
    kernel.add("a")
    assert readable(control)
    assert readable(control)
    DeviceMapper(control).list_devices()
    assert readable(control)
    arm(control)
    assert not readable(control)


def test_each_open_file_is_armed_by_itself(kernel: FakeKernel) -> None:
    first, second = kernel.open(), kernel.open()
    kernel.tell()
    arm(first)
    assert (readable(first), readable(second)) == (False, True)
    kernel.tell()
    arm(second)
    assert (readable(first), readable(second)) == (True, False)


def test_a_closed_file_is_forgotten(kernel: FakeKernel) -> None:
    control = kernel.open()
    control.close()
    control.close()
    kernel.tell()
    assert control.fileno() == -1
    with pytest.raises(OSError, match="Bad file descriptor"):
        control.call(Command.VERSION, bytearray(312))


Operation = Callable[[DeviceMapper, FakeKernel], object]


@pytest.mark.parametrize(
    ("operation", "fires", "moved"),
    [
        (lambda dm, _: dm.create("c"), True, 0),
        (lambda dm, _: dm.load("a", [ZERO]), False, 0),
        (lambda dm, _: dm.clear("a"), False, 0),
        (lambda dm, _: dm.suspend("a"), False, 0),
        (lambda dm, _: (dm.suspend("a"), dm.resume("a")), False, 0),
        (lambda dm, _: dm.resume("a"), False, 0),
        (lambda dm, _: (dm.load("a", [ZERO]), dm.resume("a")), True, 0),
        (lambda dm, _: dm.message("a", "do"), False, 0),
        (lambda dm, _: dm.table_status("a"), False, 0),
        (lambda dm, _: dm.list_devices(), False, 0),
        (lambda dm, _: dm.rename("b", "c"), True, 0),
        (lambda dm, _: dm.set_uuid("b", "LVM-b"), True, 0),
        (lambda dm, _: dm.set_uuid("a", "LVM-a"), True, 1),
        (lambda dm, _: dm.remove("b"), True, 0),
        (lambda _, kernel: kernel.raise_event("a"), True, 1),
        (lambda _, kernel: kernel.set_status("a", 0, "x"), False, 0),
        (lambda _, kernel: kernel.swap("a", ZERO), True, 0),
    ],
)
def test_what_fires_poll_and_what_moves_the_event_number(
    kernel: FakeKernel, operation: Operation, *, fires: bool, moved: int
) -> None:
    kernel.add("a", ZERO)
    kernel.add("b")
    control = kernel.open()
    operation(kernel.dm, kernel)
    assert readable(control) is fires
    assert kernel.device("a").event_nr == moved


def test_a_rename_moves_the_number_only_with_a_live_table(kernel: FakeKernel) -> None:
    for name, lines, moved in (("a", [ZERO], 1), ("b", [], 0)):
        device = kernel.add(name, *lines)
        kernel.dm.rename(name, f"{name}2")
        assert device.event_nr == moved


@pytest.mark.parametrize(("lines", "fires"), [([ZERO], True), ([], False)])
def test_the_last_close_of_a_deferred_removal_fires_only_with_a_table(
    kernel: FakeKernel, lines: list[TargetLine], *, fires: bool
) -> None:
    kernel.add("a", *lines)
    kernel.open_device("a")
    control = kernel.open()
    kernel.dm.remove("a", flags=Flags.DEFERRED_REMOVE)
    assert readable(control)
    arm(control)
    kernel.close_device("a")
    assert readable(control) is fires
    assert kernel.devices == []


def test_what_fails_fires_nothing(kernel: FakeKernel) -> None:
    kernel.add("a")
    control = kernel.open()
    for call in (lambda: kernel.dm.create("a"), lambda: kernel.dm.remove("b")):
        with pytest.raises(CommandError):
            call()
    assert not readable(control)


# Numbers and incarnations


def test_the_lowest_free_minor_is_taken_again_at_once(kernel: FakeKernel) -> None:
    assert [kernel.add(name).number.minor for name in "abc"] == [0, 1, 2]
    kernel.dm.remove("b")
    assert [kernel.add(name).number.minor for name in "de"] == [1, 3]


def test_a_device_made_anew_starts_at_0_with_another_incarnation(kernel: FakeKernel) -> None:
    first = kernel.add("a", ZERO)
    kernel.raise_event("a")
    assert kernel.diskseq(first.number) == 1
    kernel.dm.remove("a")
    second = kernel.add("a", ZERO)
    assert (second.number, second.event_nr) == (first.number, 0)
    assert kernel.diskseq(second.number) == 2
    kernel.swap("a", ZERO)
    assert kernel.diskseq(second.number) == 2


def test_without_a_table_or_on_an_old_kernel_there_is_no_incarnation(kernel: FakeKernel) -> None:
    assert kernel.diskseq(kernel.add("a").number) is None
    assert kernel.diskseq(DeviceNumber(253, 99)) is None
    old = FakeKernel((4, 43, 0))
    assert old.diskseq(old.add("a", ZERO).number) is None


def test_the_event_number_wraps(kernel: FakeKernel) -> None:
    kernel.add("a", ZERO).event_nr = 0xFFFFFFFF
    kernel.raise_event("a")
    assert kernel.dm.info("a").event_nr == 0


# DEV_WAIT


def wait_in_thread(kernel: FakeKernel, found: list[object]) -> threading.Thread:
    control = kernel.open()
    entered = threading.Event()
    kernel.before(Command.DEV_WAIT, entered.set)

    def wait() -> None:
        try:
            found.append(DeviceMapper(control).wait("a", 0))
        except CommandError as error:
            found.append(error)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    entered.wait()
    while not kernel.device("a").waiters:
        thread.join(0.01)
    return thread


def test_a_removal_wakes_who_waits_and_the_status_is_the_last_one(kernel: FakeKernel) -> None:
    kernel.add("a", ZERO, status=["last"])
    found: list[object] = []
    thread = wait_in_thread(kernel, found)
    kernel.dm.remove("a")
    thread.join(10)
    (status,) = found
    assert status.info.suspended  # type: ignore[attr-defined]
    assert status.lines[0].text == "last"  # type: ignore[attr-defined]


def test_the_removal_of_a_device_without_a_table_waits_for_who_waits(kernel: FakeKernel) -> None:
    kernel.add("a")
    found: list[object] = []
    waiting = wait_in_thread(kernel, found)
    removing = threading.Thread(target=kernel.dm.remove, args=("a",), daemon=True)
    removing.start()
    removing.join(0.1)
    assert removing.is_alive()
    kernel.interrupt()
    removing.join(10)
    waiting.join(10)
    # the interrupted call was repeated, and the device was gone
    assert isinstance(found[0], DeviceNotFoundError)


# The list


def test_the_list_has_the_bytes_of_the_encoder(kernel: FakeKernel) -> None:
    devices = []
    for minor, (name, uuid) in enumerate((("a", "U-0"), ("bcdefgh", None), ("c\udcff", "LVM-x"))):
        kernel.add(name, uuid=uuid)
        number = DeviceNumber(253, minor)
        known = DeviceUuid(uuid) if uuid else None
        devices.append(ListedDevice(number, DeviceName(name), 0, known))
    for uuids in (False, True):
        assert kernel.dm.list_raw(uuids=uuids).data == encode_devices(devices, uuids=uuids)


def test_an_old_kernel_leaves_its_padding_unwritten() -> None:
    kernel = FakeKernel((4, 43, 0))
    kernel.add("abc")
    buffer = bytearray(Header(data_size=400).pack().ljust(400, b"\xaa"))
    kernel.open().call(Command.LIST_DEVICES, buffer)
    assert buffer[312 + 16 :][:8] == b"\0\0\0\0\xaa\xaa\xaa\xaa"


def test_names_are_ordered_by_their_bytes_since_5_13(kernel: FakeKernel) -> None:
    for name in ("b", "a\udcff", "a", "B", "ü"):
        kernel.add(name)
    names = [device.name for device in kernel.dm.list_devices()]
    assert names == ["B", "a", "a\udcff", "b", "ü"]


def test_a_list_without_room_has_no_records(kernel: FakeKernel) -> None:
    kernel.add("a")
    buffer = bytearray(Header(data_size=312 + 31).pack().ljust(343, b"\xaa"))
    buffer[312:] = b"\xaa" * 31
    small = buffer[: 312 + 20]
    struct.pack_into("=I", small, 12, len(small))
    kernel.open().call(Command.LIST_DEVICES, small)
    header = Header.unpack(small)
    assert (header.data_size, header.flags) == (305, Flags.BUFFER_FULL)
    assert small[312:] == b"\xaa" * 20


# What a test can bend


def test_calls_are_counted_and_shown(kernel: FakeKernel) -> None:
    kernel.add("a", ZERO, uuid="LVM-a")
    dm = DeviceMapper(kernel.open())
    dm.info("a")
    dm.info(DeviceUuid("LVM-a"))
    dm.list_devices(uuids=True)
    kernel.dm.info("a")
    assert [(c.command.name, c.device) for c in kernel.calls] == [
        ("DEV_STATUS", "a"),
        ("DEV_STATUS", "a"),
        ("LIST_DEVICES", None),
    ]
    assert (kernel.count(Command.DEV_STATUS), kernel.count(Command.DEV_STATUS, "b")) == (2, 0)
    assert kernel.calls[-1].flags == Flags.UUID


def test_the_next_calls_can_fail(kernel: FakeKernel) -> None:
    kernel.add("a")
    kernel.add("b")
    dm = DeviceMapper(kernel.open())
    kernel.fail(Command.DEV_STATUS, errno.EIO, times=2, device="a")
    dm.info("b")
    for _ in range(2):
        with pytest.raises(CommandError, match="EIO"):
            dm.info("a")
    dm.info("a")


def test_a_call_can_hang_until_it_is_released(kernel: FakeKernel) -> None:
    kernel.add("a")
    dm = DeviceMapper(kernel.open())
    release = kernel.hang(Command.DEV_STATUS, device="a")
    thread = threading.Thread(target=dm.info, args=("a",), daemon=True)
    thread.start()
    thread.join(0.1)
    assert thread.is_alive()
    # others go on meanwhile
    assert len(dm.list_devices()) == 1
    release.set()
    thread.join(10)
    assert not thread.is_alive()


def test_something_can_happen_before_and_after_a_call(kernel: FakeKernel) -> None:
    kernel.add("a")
    dm = DeviceMapper(kernel.open())
    kernel.before(Command.LIST_DEVICES, lambda: kernel.add("b"))
    kernel.after(Command.LIST_DEVICES, lambda: kernel.add("c"))
    assert [d.name for d in dm.list_devices()] == ["a", "b"]
    assert [d.name for d in dm.list_devices()] == ["a", "b", "c"]


def test_plans_can_be_dropped(kernel: FakeKernel) -> None:
    dm = DeviceMapper(kernel.open())
    kernel.fail(Command.VERSION, errno.EIO, times=None)
    kernel.calm()
    assert dm.version() == (4, 47, 0)


def test_a_raw_answer_can_be_put_in(kernel: FakeKernel) -> None:
    dm = DeviceMapper(kernel.open())
    kernel.inject(Command.VERSION, struct.pack("=3I", 4, 99, 1))
    assert dm.version() == (4, 99, 1)
    assert dm.version() == (4, 47, 0)


def test_an_unknown_device_or_line_is_a_key_error(kernel: FakeKernel) -> None:
    kernel.add("a")
    for call in (lambda: kernel.device("b"), lambda: kernel.set_status("a", 0, "x")):
        with pytest.raises(KeyError):
            call()


def test_a_command_newer_than_the_kernel_is_unknown() -> None:
    kernel = FakeKernel((4, 0, 0))
    buffer = bytearray(Header(version=(4, 0, 0), data_size=312).pack())
    with pytest.raises(OSError, match="Inappropriate ioctl") as caught:
        kernel.open().call(Command.LIST_VERSIONS, buffer)
    assert caught.value.errno == errno.ENOTTY


def test_a_refused_request_has_the_version_written_back_and_nothing_else(
    kernel: FakeKernel,
) -> None:
    sent = Header(version=(4, 0, 0), data_size=312, name=b"absent").pack()
    buffer = bytearray(sent)
    with pytest.raises(OSError, match="No such device or address"):
        kernel.open().call(Command.DEV_STATUS, buffer)
    assert buffer == struct.pack("=3I", 4, 47, 0) + sent[12:]


def test_secure_data_wipes_the_request_even_where_it_is_refused(kernel: FakeKernel) -> None:
    flags = Flags.SECURE_DATA
    buffer = bytearray(Header(data_size=400, flags=flags, name=b"absent").pack() + b"k" * 88)
    with pytest.raises(OSError, match="No such device or address"):
        kernel.open().call(Command.TABLE_LOAD, buffer)
    assert buffer == bytes(400)


def test_a_kernel_that_is_dropped_leaves_no_descriptors_behind() -> None:
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for _ in range(3):
        FakeKernel().open()
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
