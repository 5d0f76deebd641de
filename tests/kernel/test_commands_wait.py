"""DEV_WAIT: it ends with an event, lets other threads run, and a signal can end it."""

from __future__ import annotations

import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest

from dmwatch import DeviceMapper, DeviceNumber, Flags, TableStatus, TargetLine

Dmsetup = Callable[..., str]
Name = Callable[[str], str]
PATIENCE = 30.0


@pytest.fixture(scope="module")
def dm() -> Iterator[DeviceMapper]:
    with DeviceMapper() as found:
        yield found


class Paths:
    """A multipath device over two paths. Failing one raises an event."""

    def __init__(self, dm: DeviceMapper, device_name: Name) -> None:
        self._dm = dm
        self.name = device_name("paths")
        self.path, other = (self._zero(device_name("path")) for _ in range(2))
        text = f"2 queue_mode bio 0 1 1 round-robin 0 2 1 {self.path} 1 {other} 1"
        self.number = dm.create(self.name).number
        dm.load(self.name, [TargetLine(0, 2048, "multipath", text)])
        dm.resume(self.name)
        self._lower = (self.path, other)

    def _zero(self, name: str) -> DeviceNumber:
        self._dm.create(name)
        self._dm.load(name, [TargetLine(0, 2048, "zero")])
        return self._dm.resume(name).number

    def fail(self) -> None:
        self._dm.message(self.number, f"fail_path {self.path}")

    def remove(self) -> None:
        listed = {device.number for device in self._dm.list_devices()}
        for number in (self.number, *self._lower):
            if number in listed:
                self._dm.remove(number)


@pytest.fixture
def paths(dm: DeviceMapper, device_name: Name) -> Iterator[Paths]:
    made = Paths(dm, device_name)
    yield made
    made.remove()


class Waiting:
    """A thread in DEV_WAIT."""

    def __init__(self, function: Callable[[], TableStatus]) -> None:
        self._answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._function = function
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._answers.put(self._function())
        except BaseException as error:  # noqa: BLE001 - told to the test
            self._answers.put(error)

    @property
    def blocked(self) -> bool:
        return self._thread.is_alive()

    def answer(self) -> TableStatus:
        found = self._answers.get(timeout=PATIENCE)
        assert isinstance(found, TableStatus)
        return found


@pytest.mark.parity("B1")
@pytest.mark.parity("B2")
def test_wait_ends_with_an_event_and_gives_the_status(
    dm: DeviceMapper, paths: Paths, dmsetup: Dmsetup
) -> None:
    before = dm.info(paths.name).event_nr
    waiting = Waiting(lambda: dm.wait(paths.name, before))
    time.sleep(0.3)
    assert waiting.blocked
    paths.fail()
    found = waiting.answer()
    assert (found.info.name, found.info.event_nr) == (paths.name, before + 1)
    assert found.lines == dm.table_status(paths.name).lines
    assert f"{paths.path} F" in found.lines[0].text
    assert found.lines[0].text.rstrip() in dmsetup("status", paths.name)


def test_wait_ends_at_once_where_the_number_differs_already(dm: DeviceMapper, paths: Paths) -> None:
    for seen in (1, 5, 0xFFFFFFFF):
        found = dm.wait(paths.name, seen, flags=Flags.STATUS_TABLE | Flags.NOFLUSH)
        assert found.info.event_nr == 0
        assert found.lines == dm.table(paths.name)


def test_wait_ends_when_the_device_is_renamed(
    dm: DeviceMapper, paths: Paths, device_name: Name
) -> None:
    waiting = Waiting(lambda: dm.wait(paths.number, 0))
    time.sleep(0.3)
    assert waiting.blocked
    new = device_name("renamed")
    dm.rename(paths.name, new)
    assert waiting.answer().info.event_nr == 1
    assert dm.info(paths.number).name == new


def test_wait_ends_when_the_device_is_removed(dm: DeviceMapper, paths: Paths) -> None:
    waiting = Waiting(lambda: dm.wait(paths.name, 0))
    time.sleep(0.3)
    assert waiting.blocked
    dm.remove(paths.name)
    assert waiting.answer().info.event_nr == 1


def test_other_threads_run_while_wait_blocks_in_the_kernel(dm: DeviceMapper, paths: Paths) -> None:
    """The event comes from a process: were this interpreter frozen, it would come all the same."""
    message = f"sleep 1.5; exec dmsetup message {paths.name} 0 fail_path {paths.path}"
    with subprocess.Popen(["sh", "-c", message]) as other:
        waiting = Waiting(lambda: dm.wait(paths.name, 0))
        ticks = 0
        while waiting.blocked and ticks < 3000:
            ticks += 1
            time.sleep(0.01)
        assert other.wait(PATIENCE) == 0
    assert waiting.answer().info.event_nr == 1
    assert ticks > 10


# Signals. Their handlers run in the main thread, so it is the one that waits.


class Stop(Exception):  # noqa: N818 - it is no error
    """What a handler raises."""


@pytest.fixture
def interrupted() -> Iterator[Callable[[Callable[[], None], Callable[[], None]], None]]:
    """interrupted(on_signal, then): send this thread a signal soon, and call `then` after it."""
    threads: list[threading.Thread] = []
    before = signal.getsignal(signal.SIGUSR1)

    def arrange(on_signal: Callable[[], None], then: Callable[[], None]) -> None:
        def handler(_number: int, _frame: FrameType | None) -> None:
            on_signal()

        def send(target: int) -> None:
            for _ in range(3):
                time.sleep(0.3)
                signal.pthread_kill(target, signal.SIGUSR1)
            time.sleep(0.3)
            then()

        signal.signal(signal.SIGUSR1, handler)
        threads.append(threading.Thread(target=send, args=[threading.get_ident()], daemon=True))
        threads[0].start()

    yield arrange
    for thread in threads:
        thread.join(PATIENCE)
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.parity("B2")
def test_a_signal_whose_handler_returns_does_not_end_wait(
    dm: DeviceMapper,
    paths: Paths,
    interrupted: Callable[[Callable[[], None], Callable[[], None]], None],
) -> None:
    seen: list[int] = []
    interrupted(lambda: seen.append(dm.info(paths.name).event_nr), paths.fail)
    found = dm.wait(paths.name, 0)
    assert seen == [0, 0, 0]
    assert found.info.event_nr == 1


def test_a_signal_whose_handler_raises_ends_wait(
    dm: DeviceMapper,
    paths: Paths,
    interrupted: Callable[[Callable[[], None], Callable[[], None]], None],
) -> None:
    raised: list[Stop] = []

    def stop() -> None:
        if not raised:
            raised.append(Stop())
            raise raised[0]

    interrupted(stop, lambda: None)
    with pytest.raises(Stop):
        dm.wait(paths.name, 0)
    assert dm.info(paths.name).event_nr == 0
