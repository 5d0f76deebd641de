from __future__ import annotations

import errno

import pytest

from dmwatch.errors import (
    CommandError,
    DeviceBusyError,
    DeviceNotFoundError,
    InterfaceTooOldError,
    InterruptedCommandError,
    NotPermittedError,
)
from dmwatch.ioctl.abi import Command
from dmwatch.ioctl.header import Header
from dmwatch.ioctl.refusal import device_text, refused

REQUEST = Header(version=(4, 37, 0), name=b"a")
NEWER = bytearray(Header(version=(4, 50, 0), name=b"a").pack())


@pytest.mark.parametrize(
    ("number", "kind", "sentence"),
    [
        (errno.ENXIO, DeviceNotFoundError, "there is no such device"),
        (errno.EBUSY, DeviceBusyError, "it is in use or suspended"),
        (errno.EPERM, NotPermittedError, "CAP_SYS_ADMIN"),
        (errno.EACCES, NotPermittedError, "CAP_SYS_ADMIN"),
        (errno.EINTR, InterruptedCommandError, "a signal came while it ran"),
        (errno.EINVAL, CommandError, "the kernel refused a value"),
        (errno.ENOTTY, InterfaceTooOldError, "needs interface 4.37.0 and this kernel has 4.50.0"),
    ],
)
def test_an_errno_has_a_class_and_a_sentence(
    number: int, kind: type[CommandError], sentence: str
) -> None:
    error = refused(Command.DEV_STATUS, REQUEST, NEWER, number)
    assert type(error) is kind
    assert sentence in str(error)
    assert isinstance(error, OSError)
    assert (error.errno, error.command, error.device) == (number, "DEV_STATUS", "a")
    assert (error.request, error.reply) == (REQUEST, Header.unpack(NEWER))


def test_an_errno_without_a_known_reason_stands_alone() -> None:
    error = refused(Command.DEV_STATUS, REQUEST, NEWER, errno.ENOMEM)
    assert type(error) is CommandError
    assert str(error) == "DEV_STATUS of a failed: Cannot allocate memory (ENOMEM)"


def test_an_errno_that_has_no_name_is_told_as_a_number() -> None:
    assert "(4095)" in str(refused(Command.VERSION, Header(), NEWER, 4095))


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (Command.DEV_CREATE, "the name or the uuid is taken"),
        (Command.DEV_RENAME, "the new name or uuid is taken"),
        (Command.DEV_REMOVE, "it is open"),
    ],
)
def test_busy_is_explained_for_each_command(command: Command, sentence: str) -> None:
    error = refused(command, REQUEST, NEWER, errno.EBUSY)
    assert isinstance(error, DeviceBusyError)
    assert sentence in str(error)


def test_a_taken_minor_is_busy_though_the_kernel_says_that_it_is_not_there() -> None:
    error = refused(Command.DEV_CREATE, REQUEST, NEWER, errno.ENXIO)
    assert type(error) is DeviceBusyError
    assert "the minor number is taken" in str(error)


def test_a_request_newer_than_the_kernel_is_told_by_the_version_that_came_back() -> None:
    older = bytearray(Header(version=(4, 36, 0)).pack())
    error = refused(Command.DEV_ARM_POLL, Header(version=(4, 37, 0)), older, errno.EINVAL)
    assert type(error) is InterfaceTooOldError
    assert "it needs interface 4.37.0 and this kernel has 4.36.0" in str(error)


def test_a_reply_that_cannot_be_read_does_not_hide_the_error() -> None:
    error = refused(Command.DEV_STATUS, REQUEST, bytearray(b"\xff" * 312), errno.ENOTTY)
    assert type(error) is InterfaceTooOldError
    assert error.reply is None
    assert "this kernel has unknown" in str(error)


@pytest.mark.parametrize(
    ("header", "text"),
    [
        (Header(name=b"a\xff"), "a\\xff"),
        (Header(uuid=b"LVM-1"), "LVM-1"),
        (Header(dev=0xFE05), "device 254:5"),
        (Header(), None),
        (Header(dev=1 << 40), "device 0x10000000000"),
    ],
)
def test_what_a_request_calls_its_device(header: Header, text: str | None) -> None:
    assert device_text(header) == text
