from __future__ import annotations

import ctypes
import errno
import os
import stat
from _ctypes import FUNCFLAG_PYTHONAPI
from pathlib import Path

import pytest

from dmwatch.errors import ControlError, ControlNotPermittedError, NoDeviceMapperError
from dmwatch.ioctl import control as module
from dmwatch.ioctl.abi import Command
from dmwatch.ioctl.control import Control

root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make a device node")


def test_a_missing_node_means_no_device_mapper(tmp_path: Path) -> None:
    with pytest.raises(NoDeviceMapperError, match="modprobe dm-mod") as caught:
        Control(str(tmp_path / "control"))
    assert caught.value.errno == errno.ENOENT
    assert isinstance(caught.value, OSError)


@pytest.mark.parity("B25")
@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.EACCES, ControlNotPermittedError),
        (errno.EPERM, ControlNotPermittedError),
        (errno.ENODEV, NoDeviceMapperError),
        (errno.ENXIO, NoDeviceMapperError),
        (errno.ENOTDIR, NoDeviceMapperError),
        (errno.EMFILE, ControlError),
    ],
)
def test_each_reason_why_it_cannot_be_opened_has_its_class(
    monkeypatch: pytest.MonkeyPatch, number: int, kind: type[ControlError]
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(ControlError) as caught:
        Control("/dev/mapper/control")
    assert type(caught.value) is kind
    assert caught.value.errno == number
    assert str(caught.value).startswith("/dev/mapper/control cannot be opened: ")


@root
def test_a_node_with_nothing_behind_it_means_no_device_mapper(tmp_path: Path) -> None:
    node = tmp_path / "control"
    try:
        os.mknod(node, stat.S_IFCHR | 0o600, os.makedev(0, 255))
    except PermissionError:
        pytest.skip("no device nodes here")
    with pytest.raises((NoDeviceMapperError, ControlNotPermittedError)):
        Control(str(node))


def test_an_errno_of_the_call_is_raised() -> None:
    control = Control("/dev/null")
    with pytest.raises(OSError, match="Inappropriate ioctl") as caught:
        control.call(Command.VERSION, bytearray(312))
    assert caught.value.errno == errno.ENOTTY
    control.close()


def test_closing_twice_does_no_harm_and_a_call_after_it_is_refused() -> None:
    control = Control("/dev/null")
    fd = control.fileno()
    control.close()
    control.close()
    assert control.fileno() == -1
    with pytest.raises(OSError, match="Bad file descriptor") as caught:
        os.fstat(fd)
    assert caught.value.errno == errno.EBADF
    with pytest.raises(OSError, match="Bad file descriptor") as caught:
        control.call(Command.VERSION, bytearray(312))
    assert caught.value.errno == errno.EBADF


def test_the_descriptor_is_not_inherited() -> None:
    control = Control("/dev/null")
    assert not os.get_inheritable(control.fileno())
    control.close()


@pytest.mark.parametrize("size", [312, 1025, 1 << 20])
def test_the_reply_overwrites_the_buffer_whatever_its_size(
    monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    def answer(fd: int, request: int, pointer: object) -> int:
        view = pointer._obj  # type: ignore[attr-defined]
        assert (len(view), request) == (size, Command.VERSION.request)
        view[0:3] = b"abc"
        return 0

    control = Control("/dev/null")
    monkeypatch.setattr(module._libc, "ioctl", answer)
    buffer = bytearray(size)
    control.call(Command.VERSION, buffer)
    assert buffer == b"abc" + bytes(size - 3)
    control.close()


def test_the_buffer_cannot_be_resized_while_the_kernel_has_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    buffer = bytearray(312)

    def grow(*_: object) -> int:
        with pytest.raises(BufferError):
            buffer.extend(b"more")
        return 0

    control = Control("/dev/null")
    monkeypatch.setattr(module._libc, "ioctl", grow)
    control.call(Command.VERSION, buffer)
    assert len(buffer) == 312
    control.close()


def test_the_call_lets_other_threads_run() -> None:
    # a CDLL gives the interpreter lock away for each call, a PyDLL does not
    assert type(module._libc) is ctypes.CDLL
    assert not module._libc.ioctl._flags_ & FUNCFLAG_PYTHONAPI


def test_done_nothing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    control = Control("/dev/null")
    monkeypatch.setattr(module._libc, "ioctl", lambda *_: 2)
    with pytest.raises(OSError, match="Invalid argument") as caught:
        control.call(Command.TARGET_MSG, bytearray(312))
    assert caught.value.errno == errno.EINVAL
    control.close()
