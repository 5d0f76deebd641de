"""`dmwatch watch` in this process: what it prints, and when it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dmwatch.cli.watch import text_line
from dmwatch.events import DeviceRef, Event
from dmwatch.ioctl.abi import Command
from dmwatch.monitor.teller import Teller
from dmwatch.names import DeviceName, DeviceNumber
from dmwatch.severity import Severity
from dmwatch.table import TargetLine
from dmwatch.testing import FakeKernel

Dmwatch = Callable[..., Any]
ZERO = TargetLine(0, 2048, "zero")
ERROR = TargetLine(0, 2048, "error")


def soon(*actions: Callable[[], object], seconds: float = 0.5) -> threading.Thread:
    """Do this when the watcher has begun, one after the other."""

    def act() -> None:
        for action in actions:
            time.sleep(seconds)
            action()

    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    return thread


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_an_event_is_a_line_of_time_severity_and_sentence(
    kernel: FakeKernel, dmwatch: Dmwatch
) -> None:
    kernel.add("a", ZERO)
    soon(lambda: kernel.raise_event("a"), lambda: kernel.dm.remove("a"), interrupt)
    ran = dmwatch("watch")
    assert (ran.code, ran.err) == (0, "watching 1 devices\n")
    first, second = ran.out.splitlines()
    assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3} debug    a: the kernel reported an event", first)
    assert second.endswith("info     a: the device was removed")


def test_json_is_an_object_a_line(kernel: FakeKernel, dmwatch: Dmwatch) -> None:
    soon(lambda: kernel.add("a\n", ZERO), interrupt)
    ran = dmwatch("watch", "--json")
    (line,) = ran.out.splitlines()
    event = Event.model_validate_json(line)
    assert (event.type, event.sequence) == ("device.added", 1)
    assert json.loads(line)["device"]["name"] == "a\\x0a"


@pytest.mark.parametrize(
    ("option", "told"), [((), ["device.error-target"]), (("--no-initial",), [])]
)
def test_what_stands_already_is_told_first_unless_that_is_not_wanted(
    kernel: FakeKernel, dmwatch: Dmwatch, option: tuple[str, ...], told: list[str]
) -> None:
    kernel.add("a", ERROR)
    ran = dmwatch("watch", "--json", "--duration", "0.5", *option)
    assert [json.loads(line)["type"] for line in ran.out.splitlines()] == told


def test_a_named_configuration_holds(kernel: FakeKernel, dmwatch: Dmwatch, tmp_path: Path) -> None:
    kernel.add("a", ERROR)
    kernel.add("b", ERROR)
    config = tmp_path / "c.toml"
    config.write_text(
        '[[rules]]\ndevice = "a"\naction = "ignore"\n[[rules]]\nseverity = "critical"\n'
        '[handlers.h]\nuse = "not-installed"\n'  # of no concern where nothing is handled
    )
    ran = dmwatch("watch", "--json", "--duration", "0.5", "--config", str(config))
    events = [json.loads(line) for line in ran.out.splitlines()]
    assert [(e["device"]["name"], e["severity"]) for e in events] == [("b", "critical")]


def test_a_named_configuration_with_faults_or_missing_is_refused(
    kernel: FakeKernel, dmwatch: Dmwatch, tmp_path: Path
) -> None:
    config = tmp_path / "c.toml"
    ran = dmwatch("watch", "--config", str(config))
    assert (ran.code, ran.out) == (1, "")
    assert "c.toml" in ran.err
    config.write_text("[monitor]\npoll_intervall = 3\n")
    ran = dmwatch("watch", "--config", str(config))
    assert (ran.code, ran.out) == (1, "")
    assert "line 2" in ran.err
    assert "poll_intervall" in ran.err


def test_it_ends_after_its_duration(kernel: FakeKernel, dmwatch: Dmwatch) -> None:
    start = time.monotonic()
    ran = dmwatch("watch", "--duration", "0.3")
    assert (ran.code, ran.out) == (0, "")
    assert 0.3 <= time.monotonic() - start < 10


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_0(
    kernel: FakeKernel, dmwatch: Dmwatch, number: signal.Signals
) -> None:
    soon(lambda: os.kill(os.getpid(), number))
    ran = dmwatch("watch")
    assert (ran.code, ran.err) == (0, "watching 0 devices\n")


def test_only_what_was_asked_for_is_watched(kernel: FakeKernel, dmwatch: Dmwatch) -> None:
    kernel.add("a", ZERO)
    kernel.add("b", ZERO)
    soon(lambda: kernel.raise_event("b"), lambda: kernel.raise_event("a"), interrupt)
    ran = dmwatch("watch", "--json", "a")
    assert ran.err == "watching 1 devices\n"
    assert [json.loads(line)["device"]["name"] for line in ran.out.splitlines()] == ["a"]


def test_no_event_is_missed_once_it_says_that_it_watches(
    kernel: FakeKernel, dmwatch: Dmwatch
) -> None:
    kernel.add("a", ZERO)
    # between the first list and the line on stderr
    kernel.before(Command.TABLE_STATUS, lambda: kernel.add("b", ZERO))
    ran = dmwatch("watch", "--json", "--duration", "1")
    assert [json.loads(line)["type"] for line in ran.out.splitlines()] == ["device.added"]


def test_a_device_that_hangs_does_not_keep_it_from_ending(
    kernel: FakeKernel, dmwatch: Dmwatch
) -> None:
    kernel.add("a", ZERO)
    start = time.monotonic()
    release = kernel.hang(Command.TABLE_STATUS)
    try:
        soon(interrupt, seconds=6)
        ran = dmwatch("watch", "--json")
    finally:
        release.set()
    assert ran.code == 0
    assert json.loads(ran.out.splitlines()[0])["type"] == "device.status-stuck"
    assert time.monotonic() - start < 20


def test_control_characters_do_not_reach_the_terminal() -> None:
    device = DeviceRef.of(DeviceName("a"), None, DeviceNumber(253, 0), None)
    event = Teller().moment("device.event", Severity.ERROR, device, "\x1b[2J\n")
    assert text_line(event).endswith("error    a: \\x1b[2J\\x0a")
