from __future__ import annotations

import errno
import socket
from typing import Any

import pytest

from dmwatch.monitor.uevents import OverrunError, Uevents, parse
from dmwatch.names import DeviceNumber

HEAD = b"change@/devices/virtual/block/dm-3"
USUAL = {
    "ACTION": "change",
    "DEVPATH": "/devices/virtual/block/dm-3",
    "SUBSYSTEM": "block",
    "MAJOR": "253",
    "MINOR": "3",
    "DEVNAME": "dm-3",
    "DEVTYPE": "disk",
    "DISKSEQ": "12",
    "SEQNUM": "4711",
}


def datagram(head: bytes = HEAD, without: str = "", **more: str) -> bytes:
    lines = [f"{key}={value}".encode() for key, value in (USUAL | more).items() if key != without]
    return b"\x00".join([head, *lines, b""])


def test_what_the_kernel_says_of_a_device() -> None:
    uevent = parse(datagram(RESIZE="1"))
    assert uevent is not None
    assert (uevent.action, uevent.number, uevent.diskseq) == ("change", DeviceNumber(253, 3), 12)
    assert uevent.resized
    assert uevent.properties["DEVNAME"] == "dm-3"


def test_a_value_may_hold_an_equals_sign() -> None:
    uevent = parse(datagram(DM_NAME="a=b"))
    assert uevent is not None
    assert uevent.properties["DM_NAME"] == "a=b"


def test_before_linux_5_15_there_is_no_incarnation() -> None:
    uevent = parse(datagram(without="DISKSEQ"))
    assert uevent is not None
    assert uevent.diskseq is None
    assert not uevent.resized


@pytest.mark.parametrize("diskseq", ["", "x", "-1", "1.5", "٣", "9" * 5000])
def test_an_incarnation_that_is_no_number_is_none(diskseq: str) -> None:
    uevent = parse(datagram(DISKSEQ=diskseq))
    assert uevent is not None
    assert uevent.diskseq is None


@pytest.mark.parametrize(
    "data",
    [
        datagram(SYNTH_UUID="0"),
        datagram(SYNTH_UUID="fe4d7c9d-b8c6-4a70-9ef1-3d8a58d18eed"),
        datagram(SUBSYSTEM="net"),
        datagram(without="SUBSYSTEM"),
        datagram(head=b"change@/devices/pci0000:00/block/sda"),
        datagram(head=b"change@/devices/virtual/bdi/253:3"),
        datagram(head=b"change"),
        datagram(without="MAJOR"),
        datagram(without="MINOR"),
        datagram(MAJOR="x"),
        datagram(MAJOR="-1"),
        datagram(MINOR="99999999"),
        datagram(MAJOR="4096"),
    ],
)
def test_what_is_not_about_a_device_of_ours_is_left_out(data: bytes) -> None:
    assert parse(data) is None


@pytest.mark.parametrize(
    "data",
    [b"", b"\x00", b"@", b"@\x00", b"libudev\x00\xfe\xed\xca\xfe", b"\xff" * 9000, b"=" * 99],
)
def test_bytes_that_are_no_uevent_at_all_are_left_out(data: bytes) -> None:
    assert parse(data) is None


def test_bytes_that_are_no_text_are_carried() -> None:
    uevent = parse(datagram().replace(b"DEVTYPE=disk", b"DEVTYPE=\xff\xfe"))
    assert uevent is not None
    assert uevent.properties["DEVTYPE"].encode("utf-8", "surrogateescape") == b"\xff\xfe"


class FakeSocket:
    """What recvfrom gives, in order; then nothing is there."""

    def __init__(self, *answers: tuple[bytes, tuple[int, int]] | OSError) -> None:
        self.answers = list(answers)
        self.options: list[Any] = []
        self.forced = True
        self.bound: Any = None
        self.closed = False

    def recvfrom(self, _size: int) -> tuple[bytes, tuple[int, int]]:
        if not self.answers:
            raise BlockingIOError
        answer = self.answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    def setsockopt(self, level: int, option: int, _value: int) -> None:
        if option != socket.SO_RCVBUF and not self.forced:
            raise PermissionError(errno.EPERM, "no")
        self.options.append((level, option))

    def bind(self, address: Any) -> None:
        if isinstance(address, tuple) and not self.forced and self.bound == "refuse":
            raise PermissionError(errno.EPERM, "no")
        self.bound = address

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> FakeSocket:
    fake = FakeSocket()
    monkeypatch.setattr(socket, "socket", lambda *_: fake)
    return fake


def test_the_kernels_are_read_in_order(opened: FakeSocket) -> None:
    opened.answers = [(datagram(), (0, 1)), (datagram(RESIZE="1"), (0, 1))]
    assert [uevent.resized for uevent in Uevents().read()] == [False, True]
    assert opened.bound == (0, 1)


def test_what_another_process_sends_is_left_out(opened: FakeSocket) -> None:
    opened.answers = [(datagram(), (4711, 1)), (datagram(RESIZE="1"), (0, 1))]
    assert [uevent.resized for uevent in Uevents().read()] == [True]


def test_an_overrun_is_an_error_of_its_own_and_what_follows_can_be_read(
    opened: FakeSocket,
) -> None:
    opened.answers = [OSError(errno.ENOBUFS, "full"), (datagram(), (0, 1))]
    heard = Uevents()
    with pytest.raises(OverrunError):
        list(heard.read())
    assert len(list(heard.read())) == 1


def test_what_came_before_an_overrun_is_given(opened: FakeSocket) -> None:
    opened.answers = [(datagram(RESIZE="1"), (0, 1)), OSError(errno.ENOBUFS, "full")]
    reading = Uevents().read()
    assert next(reading).resized
    with pytest.raises(OverrunError):
        next(reading)


def test_another_error_of_the_socket_is_not_hidden(opened: FakeSocket) -> None:
    opened.answers = [OSError(errno.EBADF, "closed")]
    with pytest.raises(OSError, match="closed"):
        list(Uevents().read())


def test_without_the_right_to_force_it_the_buffer_grows_as_far_as_it_may(
    opened: FakeSocket,
) -> None:
    opened.forced = False
    Uevents()
    assert opened.options == [(socket.SOL_SOCKET, socket.SO_RCVBUF)]


def test_a_socket_that_cannot_be_bound_is_closed(opened: FakeSocket) -> None:
    opened.forced, opened.bound = False, "refuse"
    with pytest.raises(PermissionError):
        Uevents()
    assert opened.closed


def test_a_real_socket_can_be_opened_and_read() -> None:
    try:
        heard = Uevents()
    except OSError as error:
        pytest.skip(f"no uevents here: {error}")
    assert isinstance(list(heard.read()), list)
    assert heard.fileno() >= 0
    heard.close()
