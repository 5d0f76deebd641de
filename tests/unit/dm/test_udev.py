"""Cookies without a udevd: the test counts the semaphore down in its place."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dmwatch.devices.carrying import Carrier
from dmwatch.dm import DeviceMapper, udev
from dmwatch.dm.udev import MAGIC, Cookie, Udev, sweep
from dmwatch.errors import (
    CommandError,
    DeviceBusyError,
    DeviceNotFoundError,
    UdevError,
    UdevTimeoutError,
)
from dmwatch.ioctl.abi import UdevFlags
from dmwatch.testing import FakeKernel

ipc = pytest.importorskip("sysv_ipc")


@dataclass
class Answer:
    uevent_generated: bool


@pytest.fixture(autouse=True)
def no_semaphore_is_left() -> Iterator[None]:
    before = {key for key, _ in udev._cookies(0)}
    yield
    assert {key for key, _ in udev._cookies(0)} <= before


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Udev:
    """As if udevd ran."""
    monkeypatch.delenv("DM_DISABLE_UDEV", raising=False)
    (tmp_path / "control").touch()
    return Udev(timeout=20.0, control=str(tmp_path / "control"))


def semaphore(number: int) -> Any:
    return ipc.Semaphore(MAGIC << 16 | number)


def complete(number: int) -> Answer:
    """What udev's rules do after a uevent."""
    semaphore(number).acquire()
    return Answer(uevent_generated=True)


def later(number: int, seconds: float = 0.05) -> Answer:
    threading.Timer(seconds, complete, (number,)).start()
    return Answer(uevent_generated=True)


# Whether anybody is waited for


def test_it_is_active_where_udevd_runs(running: Udev) -> None:
    assert running.active


def test_it_is_not_active_without_udevd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DM_DISABLE_UDEV", raising=False)
    assert not Udev(control=str(tmp_path / "control")).active
    assert not Udev(control=None).active


def test_the_environment_can_disable_it(running: Udev, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DM_DISABLE_UDEV", "1")
    assert not running.active


def test_without_the_extra_nobody_is_waited_for(
    running: Udev, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(udev, "_ipc", None)
    with running.cookie() as cookie:
        cookie.carry(lambda number: Answer(uevent_generated=not number))
    assert sweep(older_than=0) == []


@pytest.mark.parametrize("limits", ["0 0 0 0", "250 0 100 128", "nonsense", ""])
def test_where_no_semaphores_are_allowed_nobody_is_waited_for(
    limits: str, running: Udev, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sem").write_text(limits)
    monkeypatch.setattr(udev, "_LIMITS", str(tmp_path / "sem"))
    assert not running.active


@pytest.mark.parity("B26")
@pytest.mark.parity(31)
def test_without_udevd_commands_carry_no_number_and_do_not_wait() -> None:
    seen: list[int] = []

    def command(number: int) -> Answer:
        seen.append(number)
        return Answer(uevent_generated=True)

    with Udev(control=None).cookie() as cookie:
        cookie.carry(command)
    assert seen == [0]


# The life of a semaphore


@pytest.mark.parity(24, 25)
def test_the_semaphore_is_made_with_the_first_command_and_removed_at_the_end(running: Udev) -> None:
    with running.cookie() as cookie:
        assert cookie.number == 0
        cookie.carry(complete)
        number = cookie.number
        assert semaphore(number).value == 1
    with pytest.raises(ipc.ExistentialError):
        semaphore(number)


@pytest.mark.parity(28)
def test_the_end_waits_until_udev_is_through(running: Udev) -> None:
    with running.cookie() as cookie:
        cookie.carry(later)
        found = semaphore(cookie.number)
        assert found.value == 2
    with pytest.raises(ipc.ExistentialError):
        _ = found.value


def test_one_cookie_serves_many_commands(running: Udev) -> None:
    numbers = set()
    with running.cookie() as cookie:
        for _ in range(5):
            cookie.carry(later)
            numbers.add(cookie.number)
    assert len(numbers) == 1


@pytest.mark.parity(30)
def test_a_command_without_a_uevent_is_not_waited_for(running: Udev) -> None:
    with running.cookie() as cookie:
        cookie.carry(lambda _: Answer(uevent_generated=False))
        assert semaphore(cookie.number).value == 1


@pytest.mark.parity(29)
def test_a_command_that_fails_is_not_waited_for(running: Udev) -> None:
    def fail(_number: int) -> Answer:
        raise CommandError("DEV_REMOVE", "a", errno.EBUSY)

    with pytest.raises(CommandError), running.cookie() as cookie:
        cookie.carry(fail)


@pytest.mark.parity("B14", "B15")
def test_the_wait_has_a_limit_and_the_error_says_that_the_change_was_made(running: Udev) -> None:
    running.timeout = 0.02
    cookie = running.cookie()
    cookie.carry(lambda _: Answer(uevent_generated=True))
    with pytest.raises(UdevTimeoutError, match="the change itself was made") as raised:
        cookie.wait()
    assert "systemctl" in raised.value.hint


def _carried_then(running: Udev, error: BaseException) -> None:
    with running.cookie() as cookie:
        cookie.carry(lambda _: Answer(uevent_generated=True))
        raise error


def test_the_first_error_is_kept_where_the_wait_fails_too(running: Udev) -> None:
    running.timeout = 0.02
    with pytest.raises(ValueError, match="first"):
        _carried_then(running, ValueError("first"))


@pytest.mark.parity("B14")
def test_an_interrupt_does_not_wait(running: Udev) -> None:
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        _carried_then(running, KeyboardInterrupt())
    assert time.monotonic() - begun < running.timeout


def test_a_semaphore_that_somebody_removes_counts_as_reached(running: Udev) -> None:
    with running.cookie() as cookie:
        cookie.carry(lambda _: Answer(uevent_generated=True))
        threading.Timer(0.05, semaphore(cookie.number).remove).start()


def test_commands_go_on_after_somebody_removed_the_semaphore(running: Udev) -> None:
    with running.cookie() as cookie:
        cookie.carry(lambda number: (semaphore(number).remove(), Answer(uevent_generated=True))[1])
        cookie.carry(lambda _: Answer(uevent_generated=False))


@pytest.mark.parity("B14")
def test_a_signal_does_not_end_the_wait(running: Udev) -> None:
    came = []
    before = signal.signal(signal.SIGALRM, lambda *_: came.append(1))
    try:
        with running.cookie() as cookie:
            cookie.carry(lambda number: later(number, 0.2))
            signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert came


def test_other_threads_run_while_it_waits(running: Udev) -> None:
    ran = threading.Event()

    def finish(number: int) -> None:
        ran.set()
        complete(number)

    with running.cookie() as cookie:
        cookie.carry(lambda _: Answer(uevent_generated=True))
        threading.Thread(target=finish, args=(cookie.number,)).start()
    assert ran.is_set()


def test_a_number_that_is_taken_is_not_used(running: Udev, monkeypatch: pytest.MonkeyPatch) -> None:
    with running.cookie() as first:
        first.carry(complete)
        answers = iter([first.number - 1, first.number - 1, first.number % 0xFFFF])
        monkeypatch.setattr("secrets.randbelow", lambda _: next(answers))
        with running.cookie() as second:
            second.carry(complete)
            assert second.number not in {0, first.number}


def test_without_a_free_semaphore_nothing_is_sent_and_undoing_goes_on(
    running: Udev, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: object, **_options: object) -> Any:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    sent: list[int] = []

    def send(number: int) -> Answer:
        sent.append(number)
        return Answer(uevent_generated=True)

    cookie = running.cookie()
    monkeypatch.setattr(ipc, "Semaphore", full)
    with pytest.raises(UdevError, match="nothing was changed"):
        cookie.carry(send)
    assert sent == []
    cookie.carry(send)
    cookie.wait()
    assert sent == [0]


def test_it_can_be_used_again_after_a_wait(running: Udev) -> None:
    cookie = running.cookie()
    cookie.carry(complete)
    first = cookie.number
    cookie.wait()
    assert cookie.number == 0
    cookie.carry(complete)
    assert cookie.number not in {0, first}
    cookie.wait()


def test_a_change_can_have_more_commands_than_a_semaphore_counts(
    running: Udev, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert udev._MOST < 32767
    monkeypatch.setattr(udev, "_MOST", 3)
    numbers = []
    with running.cookie() as cookie:
        for _ in range(7):
            cookie.carry(complete)
            numbers.append(cookie.number)
    assert len(set(numbers[:3])) == len(set(numbers[3:6])) == 1
    assert len(set(numbers)) == 3


def test_udev_that_falls_behind_ends_a_long_change_before_the_next_command(
    running: Udev, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(udev, "_MOST", 1)
    running.timeout = 0.02
    sent: list[int] = []

    def send(number: int) -> Answer:
        sent.append(number)
        return Answer(uevent_generated=True)

    cookie = running.cookie()
    cookie.carry(send)
    with pytest.raises(UdevError, match="with the 1 commands so far") as raised:
        cookie.carry(send)
    assert not isinstance(raised.value, UdevTimeoutError)
    assert len(sent) == 1


def test_threads_that_begin_at_once_share_one_semaphore(running: Udev) -> None:
    cookie = running.cookie()
    together = threading.Barrier(4)

    def carry() -> None:
        together.wait(20)
        cookie.carry(complete)

    threads = [threading.Thread(target=carry) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert semaphore(cookie.number).value == 1
    cookie.wait()


def test_it_can_be_waited_for_on_the_way_and_nothing_is_forgotten(running: Udev) -> None:
    cookie = running.cookie()
    assert cookie.caught_up(time.monotonic())
    cookie.carry(later)
    number = cookie.number
    assert cookie.caught_up(time.monotonic() + 20)
    cookie.carry(lambda _: Answer(uevent_generated=True))
    assert not cookie.caught_up(time.monotonic() + 0.02)
    assert cookie.number == number
    cookie._timeout = 0.02
    with pytest.raises(UdevTimeoutError):
        cookie.wait()


def test_a_busy_device_is_not_waited_for_longer_than_there_is_patience(running: Udev) -> None:
    """Nor is forgotten that udev owes something."""
    kernel = FakeKernel()
    with DeviceMapper(kernel.open()) as dm:
        kernel.add("busy")
        kernel.open_device("busy")
        cookie = running.cookie()
        cookie.carry(lambda _: Answer(uevent_generated=True))
        begun = time.monotonic()
        with pytest.raises(DeviceBusyError):
            Carrier(cookie).remove(dm, "busy", udev.PRIVATE, patience=0.05)
        assert time.monotonic() - begun < running.timeout / 2
        assert semaphore(cookie.number).value == 2
        cookie.drop()


# What others left behind


LEAVE = """
import os, signal
from dmwatch.dm import udev
class Answer:
    uevent_generated = True
cookie = udev.Cookie(5.0)
cookie.carry(lambda number: Answer)
print(cookie.number, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parity("B14")
def test_a_cookie_of_a_killed_process_is_swept_and_one_in_use_is_not(running: Udev) -> None:
    with running.cookie() as ours:
        ours.carry(complete)
        done = subprocess.run(
            [sys.executable, "-c", LEAVE], capture_output=True, text=True, check=False, timeout=50
        )
        left = int(done.stdout)
        assert semaphore(left).value == 0
        assert sweep() == []  # it may be in use: it is young
        assert sweep(older_than=0) == [left]
        assert semaphore(ours.number).value == 1


def test_all_cookies_can_be_swept_so_that_who_waits_goes_on(running: Udev) -> None:
    with running.cookie() as cookie:
        cookie.carry(lambda _: Answer(uevent_generated=True))
        assert cookie.number in sweep(older_than=0, abandoned=False)


def test_semaphores_of_others_are_let_alone() -> None:
    other = ipc.Semaphore(0x444D5253, ipc.IPC_CREX, mode=0o600)
    try:
        sweep(older_than=0, abandoned=False)
        assert other.value == 0
    finally:
        other.remove()


def test_without_a_list_of_semaphores_nothing_is_swept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(udev, "_SEMAPHORES", "/nonexistent")
    assert sweep(older_than=0, abandoned=False) == []


# What the kernel gets


@pytest.mark.parity(26, 27)
def test_commands_that_send_no_uevents_take_no_cookie() -> None:
    kernel = FakeKernel()
    with DeviceMapper(kernel.open()) as dm:
        with pytest.raises(DeviceNotFoundError):
            dm.table_status("absent")
        (call,) = kernel.calls
    assert int.from_bytes(call.request[32:36], "little") == 0


@pytest.mark.parity(28, "B16")
def test_number_and_flags_share_the_event_number() -> None:
    kernel = FakeKernel()
    kernel.add("a")
    with DeviceMapper(kernel.open()) as dm:
        dm.remove("a", udev=UdevFlags.PRIMARY_SOURCE | udev.PRIVATE, cookie=0x1234)
    (call,) = kernel.calls
    assert int.from_bytes(call.request[32:36], "little") == 0x004E_1234


def test_a_cookie_that_waits_for_nobody_has_no_number() -> None:
    cookie = Cookie(None)
    cookie.wait()
    cookie.drop()
    assert cookie.number == 0
