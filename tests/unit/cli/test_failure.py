"""Failures as a user meets them: a sentence in three parts, and a code that a script can use."""

from __future__ import annotations

import errno
import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest

from dmwatch import errors
from dmwatch.cli.failure import NoSuchDeviceError, exit_code, sentence
from dmwatch.errors import DmwatchError
from dmwatch.ioctl.abi import Command
from dmwatch.table import TargetLine
from dmwatch.testing import FakeKernel

Dmwatch = Callable[..., Any]
ZERO = TargetLine(0, 2048, "zero")


def test_success_is_0(kernel: FakeKernel, dmwatch: Dmwatch) -> None:
    assert dmwatch("ls").code == 0


@pytest.mark.parametrize("command", ["ls", "status", "table"])
def test_a_failure_is_1(kernel: FakeKernel, dmwatch: Dmwatch, command: str) -> None:
    kernel.fail(Command.LIST_DEVICES, errno.EIO)
    ran = dmwatch(command)
    assert ran.code == 1
    assert ran.err == "dmwatch: LIST_DEVICES failed: Input/output error (EIO)\n"
    assert ran.out == ""


@pytest.mark.parametrize(
    "arguments", [["--nonsense"], ["nonsense"], ["ls", "--nonsense"], ["watch", "--duration", "x"]]
)
def test_a_wrong_use_is_2(dmwatch: Dmwatch, arguments: list[str]) -> None:
    ran = dmwatch(*arguments)
    assert ran.code == 2
    assert "Usage: dmwatch" in ran.err


@pytest.mark.parametrize(
    "seconds", ["nan", "inf", "-1", "+1", "1_0", "\u0661", "1e3", "", ".", "9" * 5000]
)
def test_a_duration_is_a_plain_number_of_seconds(
    kernel: FakeKernel, dmwatch: Dmwatch, seconds: str
) -> None:
    ran = dmwatch("watch", f"--duration={seconds}")
    assert (ran.code, ran.out) == (2, "")
    assert "is no number of seconds" in ran.err


def test_a_duration_may_be_longer_than_any_thread_waits(
    kernel: FakeKernel, dmwatch: Dmwatch, recwarn: pytest.WarningsRecorder
) -> None:
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    assert dmwatch("watch", "--duration", "9" * 12).code == 0
    assert not recwarn.list


@pytest.mark.parametrize("seconds", ["0", "0.1", ".1", "0."])
def test_a_duration_may_have_a_fraction(kernel: FakeKernel, dmwatch: Dmwatch, seconds: str) -> None:
    assert dmwatch("watch", "--duration", seconds).code == 0


def test_no_command_is_2_and_shows_the_help(dmwatch: Dmwatch) -> None:
    ran = dmwatch()
    assert ran.code == 2
    assert "Commands:" in ran.out


@pytest.mark.parametrize("command", ["ls", "status", "table", "watch", "conditions", "coverage"])
def test_a_device_that_is_not_there_is_3(
    kernel: FakeKernel, dmwatch: Dmwatch, command: str
) -> None:
    kernel.add("a", ZERO)
    ran = dmwatch(command, "a", "b")
    assert (ran.code, ran.out) == (3, "")
    assert ran.err == (
        "dmwatch: there is no device 'b'\n  try this: `dmwatch ls` lists the devices\n"
    )


def test_a_pattern_that_means_nothing_is_no_failure(kernel: FakeKernel, dmwatch: Dmwatch) -> None:
    ran = dmwatch("ls", "--json", "vg-*")
    assert (ran.code, ran.json) == (0, [])


@pytest.mark.parametrize("command", ["ls", "status", "table", "conditions", "coverage"])
def test_a_name_with_wildcards_in_it_means_its_device(
    kernel: FakeKernel, dmwatch: Dmwatch, command: str
) -> None:
    kernel.add("a[1]", TargetLine(0, 8, "error"))
    found = dmwatch(command, "--json", "a[1]").json
    assert len(found) == 1
    assert "a[1]" in str(found[0].get("name", found[0].get("device")))


def test_a_device_with_wildcards_in_its_name_is_watched(
    kernel: FakeKernel, dmwatch: Dmwatch
) -> None:
    kernel.add("a[1]", ZERO)
    assert dmwatch("watch", "--duration", "0.1", "a[1]").err == "watching 1 devices\n"


def test_busy_is_4(kernel: FakeKernel, dmwatch: Dmwatch) -> None:
    kernel.fail(Command.LIST_DEVICES, errno.EBUSY)
    assert dmwatch("ls").code == 4


@pytest.mark.parametrize("command", ["ls", "status", "table", "targets", "watch", "conditions"])
def test_without_privilege_it_is_5(kernel: FakeKernel, dmwatch: Dmwatch, command: str) -> None:
    kernel.permitted = False
    ran = dmwatch(command)
    assert ran.code == 5
    assert "most likely because device-mapper needs CAP_SYS_ADMIN" in ran.err
    assert "try this: run it as root (sudo)" in ran.err


def refuse(number: int) -> Callable[..., int]:
    def opened(*_: object) -> int:
        raise OSError(number, "no")

    return opened


@pytest.mark.parametrize("command", ["ls", "watch", "targets"])
@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.EACCES, (5, "sudo")),
        (errno.ENOENT, (6, "modprobe dm-mod")),
        (errno.EIO, (1, "Input/output error")),
    ],
)
def test_a_node_that_cannot_be_opened(
    dmwatch: Dmwatch,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    number: int,
    expected: tuple[int, str],
) -> None:
    monkeypatch.setattr("dmwatch.ioctl.control.os.open", refuse(number))
    ran = dmwatch(command)
    code, hint = expected
    assert ran.code == code
    assert "/dev/mapper/control cannot be opened" in ran.err
    assert hint in ran.err
    assert "Traceback" not in ran.err


def test_a_kernel_that_is_too_old_is_6(dmwatch: Dmwatch, monkeypatch: pytest.MonkeyPatch) -> None:
    old = FakeKernel((4, 36, 0))
    monkeypatch.setattr("dmwatch.dm.device_mapper.Control", old.open)
    ran = dmwatch("watch")
    assert ran.code == 6
    assert "watching needs device-mapper 4.37 (Linux 4.14) and this kernel has 4.36.0" in ran.err
    # to list it needs no more than that
    old.add("a", ZERO)
    assert dmwatch("ls").code == 0


def test_every_error_has_a_code() -> None:
    codes = {}
    for name, kind in vars(errors).items():
        if not (isinstance(kind, type) and issubclass(kind, DmwatchError)):
            continue
        error = kind.__new__(kind)
        codes[name] = exit_code(error)
    assert {name: code for name, code in codes.items() if code != 1} == {
        "DeviceNotFoundError": 3,
        "AlreadyRunningError": 4,
        "DeviceBusyError": 4,
        "NotPermittedError": 5,
        "ControlNotPermittedError": 5,
        "InterfaceTooOldError": 6,
        "NoDeviceMapperError": 6,
        "InvalidNameError": 2,
    }
    assert exit_code(NoSuchDeviceError("x")) == 3


def test_the_sentence_has_a_line_for_each_part() -> None:
    error = DmwatchError("it failed", because="it rained", hint="an umbrella")
    assert sentence(error).split("\n") == [
        "it failed",
        "  most likely because it rained",
        "  try this: an umbrella",
    ]
    assert sentence(DmwatchError("it failed")) == "it failed"
