"""The commands `watch` and `ls` on a real kernel: what they print, how they end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from dmwatch import DeviceMapper, DeviceNumber, TargetLine, Watcher
from dmwatch.cli import run
from dmwatch.errors import DeviceNotFoundError

Dmsetup = Callable[..., str]
Loop = Callable[[float], str]
Name = Callable[[str], str]
Make = Callable[..., str]
Capture = pytest.CaptureFixture[str]

ZERO = TargetLine(0, 2048, "zero")
CONTROL = Path("/dev/mapper/control")
NOBODY = 65534
START, PATIENCE = 100.0, 45.0


@pytest.fixture(scope="module")
def dm() -> Iterator[DeviceMapper]:
    with DeviceMapper() as found:
        yield found


@pytest.fixture
def make(dm: DeviceMapper, device_name: Name) -> Iterator[Make]:
    """make(stem, *lines, uuid=None) -> the name of a new device; lines go live."""
    numbers: list[DeviceNumber] = []

    def made(stem: str, *lines: TargetLine, uuid: str | None = None) -> str:
        name = device_name(stem)
        numbers.append(dm.create(name, uuid).number)
        if lines:
            dm.load(name, lines)
            dm.resume(name)
        return name

    yield made
    for number in reversed(numbers):
        with suppress(DeviceNotFoundError):
            dm.resume(number)
            dm.remove(number)


# dmwatch ls


def listed(capsys: Capture, *arguments: str) -> dict[str, dict[str, Any]]:
    assert run(["ls", "--json", *arguments]) == 0
    return {device["name"]: device for device in json.loads(capsys.readouterr().out)}


def test_ls_shows_what_dmsetup_shows(
    dm: DeviceMapper, make: Make, dmsetup: Dmsetup, capsys: Capture
) -> None:
    lower = make("lower", ZERO, uuid="DMWATCH-lower")
    upper = make("upper", TargetLine(0, 8, "linear", f"{dm.info(lower).number} 0"))
    dm.rename(upper, "upper-renamed-dmwatch-test")
    make("bare")
    dm.suspend(make("paused", ZERO, TargetLine(2048, 8, "error")))
    columns = "name,uuid,major,minor,open,events,suspended,tables_loaded"
    shown = dmsetup("info", "-c", "--noheadings", "--separator", "|", "-o", columns)
    found = listed(capsys)
    assert len(found) == len(shown.splitlines()) == 4
    for line in shown.splitlines():
        name, uuid, major, minor, opened, events, suspended, tables = line.strip().split("|")
        device = found[name]
        assert (device["uuid"], device["number"]) == (uuid or None, f"{major}:{minor}")
        assert (device["open_count"], device["event_nr"]) == (int(opened), int(events))
        assert device["state"][0] == ("empty" if tables == "None" else suspended.lower())
        table = [text.split() for text in dmsetup("table", name).splitlines() if text]
        assert device["targets"] == [words[2] for words in table]
        assert device["size"] == sum(int(words[1]) for words in table)
        assert device["problem"] is None


def test_ls_prints_a_line_for_each_device_that_is_meant(
    dm: DeviceMapper, make: Make, capsys: Capture
) -> None:
    names = sorted(make("shown", ZERO) for _ in range(2))
    make("hidden", ZERO)
    assert run(["ls", "shown-*"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["NAME", "NUMBER", "TARGETS", "SIZE", "OPEN", "EVENT", "STATE", "WORST"]
    expected = [
        [name, str(dm.info(name).number), "zero", "1.0", "MiB", "0", "0", "active", "-"]
        for name in names
    ]
    assert [line.split() for line in lines] == expected


def test_ls_shows_undecodable_names_escaped(dm: DeviceMapper, capsys: Capture) -> None:
    name = "\udcff\x07raw-dmwatch-test"
    dm.create(name)
    try:
        assert listed(capsys)["\\xff\\x07raw-dmwatch-test"]["state"] == ["empty"]
        assert run(["ls"]) == 0
        assert "\\xff\\x07raw-dmwatch-test" in capsys.readouterr().out
    finally:
        dm.remove(name)


@pytest.fixture
def era(dm: DeviceMapper, make: Make, loop: Loop, need_target: Callable[[str], None]) -> str:
    """A suspended device with a target that does not answer until it is resumed."""
    need_target("era")
    origin = dm.info(make("origin", ZERO)).number
    name = make("era", TargetLine(0, 2048, "era", f"{loop(2)} {origin} 128"))
    dm.suspend(name)
    return name


def test_ls_is_not_held_up_by_a_suspended_era_device(era: str, capsys: Capture) -> None:
    device = listed(capsys, era)[era]
    assert (device["targets"], device["state"]) == (["era"], ["suspended"])
    assert device["problem"] is None


async def test_watching_is_not_held_up_by_a_suspended_era_device(
    dm: DeviceMapper, make: Make, device_name: Name, era: str
) -> None:
    async with Watcher() as watcher:
        new, last = device_name("era-renamed"), make("last", ZERO)
        dm.rename(era, new)
        wanted = {(new, "device.renamed"), (last, "device.added")}
        async for event in watcher:
            wanted.discard((event.device and event.device.name, event.type))
            if not wanted:
                break
        assert watcher.conditions() == []


# Failures: a sentence and an exit code


@contextmanager
def as_nobody() -> Iterator[None]:
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@contextmanager
def without_control_node() -> Iterator[None]:
    away = CONTROL.with_name("control-away")
    CONTROL.rename(away)
    try:
        yield
    finally:
        away.rename(CONTROL)


@contextmanager
def with_control_node_of_nothing() -> Iterator[None]:
    """A node with a number that no driver has, as in a container's /dev."""
    with without_control_node():
        os.mknod(CONTROL, 0o600 | 0o020000, os.makedev(10, 254))
        try:
            yield
        finally:
            CONTROL.unlink()


def failed(capsys: Capture, *arguments: str) -> tuple[int, str]:
    code = run(list(arguments))
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    return code, err


@pytest.mark.parametrize("command", ["ls", "watch"])
def test_failures_are_a_sentence_and_an_exit_code(
    make: Make, capsys: Capture, command: str
) -> None:
    make("there")
    run(["ls"])  # imports what a user without rights could not read in this lab
    run(["watch", "--duration", "0"])
    capsys.readouterr()
    code, err = failed(capsys, command, "absent-dmwatch-test")
    assert (code, err.splitlines()[0]) == (3, "dmwatch: there is no device 'absent-dmwatch-test'")
    with as_nobody():
        code, err = failed(capsys, command)
    assert (code, err.splitlines()[0]) == (
        5,
        "dmwatch: /dev/mapper/control cannot be opened: Permission denied",
    )
    assert "try this: run it as root" in err
    for context in (without_control_node, with_control_node_of_nothing):
        with context():
            code, err = failed(capsys, command)
        assert code == 6
        assert err.startswith("dmwatch: /dev/mapper/control cannot be opened: No such ")
        assert "most likely because this kernel has no device-mapper" in err


# dmwatch watch


class Watch:
    """`dmwatch watch --json` in a process of its own, its output in a file."""

    def __init__(self, directory: Path) -> None:
        self._out, self._err = directory / "out", directory / "err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            command = [sys.executable, "-m", "dmwatch", "watch", "--json"]
            self._process = subprocess.Popen(command, stdout=out, stderr=err)

    def first_complaint(self) -> str:
        self._until(lambda: "\n" in self._err.read_text(), START)
        return self._err.read_text().splitlines()[0]

    def events(self) -> list[dict[str, Any]]:
        """The whole lines of the file."""
        text = self._out.read_text()
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def about(self, number: DeviceNumber) -> list[dict[str, Any]]:
        """The events about a device, but for those that say only that its event number moved."""
        return [
            event
            for event in self.events()
            if (event["device"] or {}).get("number") == str(number)
            and event["type"] != "device.event"
        ]

    def wait(self, count: int, number: DeviceNumber) -> dict[str, Any]:
        """The latest event about a device, once there are so many."""
        self._until(lambda: len(self.about(number)) >= count, PATIENCE)
        return self.about(number)[-1]

    def _until(self, true: Callable[[], bool], patience: float) -> None:
        deadline = time.monotonic() + patience
        while not true():
            assert self._process.poll() is None, self._err.read_text()
            assert time.monotonic() < deadline, f"{self._err.read_text()}{self._out.read_text()}"
            time.sleep(0.05)

    def end(self) -> int:
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(PATIENCE)

    def complaints(self) -> list[str]:
        return self._err.read_text().splitlines()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture
def paths(dm: DeviceMapper, make: Make) -> TargetLine:
    """A multipath line. One device has it already, so the modules are loaded."""
    path, other = (dm.info(make("path", ZERO)).number for _ in range(2))
    text = f"2 queue_mode bio 0 1 1 round-robin 0 2 1 {path} 1 {other} 1"
    line = TargetLine(0, 2048, "multipath", text)
    make("before", line)
    return line


@pytest.fixture
def watch(paths: TargetLine, tmp_path: Path) -> Iterator[Watch]:
    watching = Watch(tmp_path)
    yield watching
    watching.close()


@pytest.mark.timeout(200)
def test_watch_tells_each_step_at_once_and_ends_on_sigterm(
    dm: DeviceMapper, make: Make, device_name: Name, paths: TargetLine, watch: Watch
) -> None:
    assert watch.first_complaint() == "watching 3 devices"
    path = paths.text.split()[10]
    name, new = make("life", paths), device_name("renamed")
    number = dm.info(name).number
    assert watch.wait(1, number)["data"]["targets"][0]["type"] == "multipath"
    dm.rename(name, new)
    assert watch.wait(2, number)["data"] == {"old_name": name}
    dm.set_uuid(new, "DMWATCH-life")
    assert watch.wait(3, number)["device"]["uuid"] == "DMWATCH-life"
    dm.message(new, f"fail_path {path}")
    failed = watch.wait(4, number)
    assert (failed["type"], failed["state"]) == ("multipath.path-failed", "raised")
    assert failed["key"] == str(path)
    dm.message(new, f"reinstate_path {path}")
    assert watch.wait(5, number)["state"] == "cleared"
    dm.remove(new)
    watch.wait(6, number)
    assert watch.end() == 0
    told = watch.about(number)
    moments = ["device.added", "device.renamed", "device.uuid-set"]
    conditions = ["multipath.path-failed", "multipath.path-failed"]
    assert [event["type"] for event in told] == [*moments, *conditions, "device.removed"]
    assert [event["device"]["name"] for event in told] == [name, *[new] * 5]
    every = watch.events()
    assert [event["sequence"] for event in every] == list(range(1, len(every) + 1))
    assert watch.complaints() == ["watching 3 devices"]
