"""Devices of one line, built and seen with dmsetup, read with our code."""

from __future__ import annotations

import mmap
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from dmwatch.severity import Severity
from dmwatch.targets import Seen, TargetMessage, TargetTable, find
from dmwatch.units import Sectors

Dmsetup = Callable[..., str]
BLOCK = 64 * 1024


@dataclass(frozen=True)
class Device:
    """A device with one line; `witness` is dmsetup."""

    name: str
    witness: Dmsetup

    @property
    def path(self) -> str:
        return f"/dev/mapper/{self.name}"

    def text(self, what: str) -> str:
        """What `dmsetup status` or `dmsetup table` says, without start, length and type."""
        options = ["--noflush"] if what == "status" else []
        return self.witness(what, *options, self.name).rstrip("\n").split(" ", 3)[3]

    def table(self) -> TargetTable:
        return self.look().table  # type: ignore[return-value]

    def look(self) -> Seen:
        start, length, target, status = self.witness("status", "--noflush", self.name).split(" ", 3)
        known = find(target)
        return Seen(
            type=target,
            start=Sectors(int(start)),
            length=Sectors(int(length)),
            status=known.status(status.rstrip("\n")),
            table=known.table(self.text("table")),
        )

    def standing(self) -> dict[str, Severity]:
        seen = self.look()
        return {f.type: f.severity for f in find(seen.type).observe(seen).findings}

    def since(self, before: Seen) -> list[str]:
        """The moments from a look before until now."""
        return [moment.type for moment in find(before.type).moments(before, self.look())]

    def until(self, true: Callable[[Seen], bool], seconds: float = 60) -> Seen:
        end = time.monotonic() + seconds
        while not true(seen := self.look()):
            assert time.monotonic() < end, f"still {self.text('status')!r}"
            time.sleep(0.2)
        return seen

    def message(self, message: TargetMessage) -> None:
        self.witness("message", self.name, "0", message.format())

    def replace(self, line: str, *suspend: str) -> None:
        """Put another line in place of the one that it has."""
        self.witness("suspend", *suspend, self.name)
        self.witness("load", self.name, "--table", line)
        self.witness("resume", self.name)

    def fail(self) -> None:
        """Make all its I/O fail from now on."""
        length = int(self.look().length)
        self.replace(f"0 {length} error", "--noflush", "--nolockfs")

    def fail_writes(self) -> None:
        """Make its writes fail from now on; it is a linear device."""
        length = int(self.look().length)
        below = self.text("table")
        line = f"0 {length} flakey {below} 0 1 1 error_writes"
        self.replace(line, "--noflush", "--nolockfs")

    def write(self, start: int, blocks: int = 1, size: int = BLOCK) -> None:
        """Write whole blocks of 64 KiB past the page cache."""
        handle = os.open(self.path, os.O_WRONLY | os.O_DIRECT)
        try:
            with mmap.mmap(-1, size) as buffer:
                buffer.write(b"\x5a" * size)
                for block in range(start, start + blocks):
                    os.pwritev(handle, [buffer], block * size)
        finally:
            os.close(handle)

    def write_and_flush(self, start: int) -> None:
        self.write(start)
        self.flush()

    def flush(self) -> None:
        handle = os.open(self.path, os.O_WRONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


class Bench:
    """Makes devices and takes them down, the last one first."""

    def __init__(self, dmsetup: Dmsetup, device_name: Callable[[str], str]) -> None:
        self._dmsetup = dmsetup
        self._name = device_name
        self._made: list[Device] = []

    def make(self, stem: str, line: str) -> Device:
        """A device with this line: `start length type text`."""
        device = Device(self._name(stem), self._dmsetup)
        self._dmsetup("create", device.name, "--table", line)
        self._made.append(device)
        return device

    def linear(self, stem: str, below: str, sectors: int) -> Device:
        return self.make(stem, f"0 {sectors} linear {below} 0")

    def drop(self, device: Device) -> None:
        self._made.remove(device)
        self._dmsetup("remove", "--retry", device.name)

    def again(self, device: Device) -> Device:
        """Take a device down and make it anew from the table that our code writes."""
        seen = device.look()
        assert seen.table is not None
        before = device.text("table")
        self.drop(device)
        line = seen.table.line(seen.start, seen.length)
        stem = device.name.split("-")[0]
        new = self.make(stem, f"{line.start} {line.length} {line.type} {line.text}")
        assert new.table() == seen.table
        assert new.text("table") == before
        return new

    def take_down(self) -> None:
        while self._made:
            self.drop(self._made[-1])


@pytest.fixture
def bench(
    loop: Callable[[float], str], dmsetup: Dmsetup, device_name: Callable[[str], str]
) -> Iterator[Bench]:
    made = Bench(dmsetup, device_name)
    yield made
    made.take_down()


@pytest.fixture
def writing() -> Iterator[Callable[[Device, int], subprocess.Popen[bytes]]]:
    """writing(device, block) -> a process that writes one block, which may hang."""
    started: list[subprocess.Popen[bytes]] = []

    def write(device: Device, block: int) -> subprocess.Popen[bytes]:
        options = [f"of={device.path}", f"seek={block}", f"bs={BLOCK}", "count=1", "oflag=direct"]
        command = ["dd", "if=/dev/zero", "conv=notrunc", *options]
        started.append(subprocess.Popen(command, stderr=subprocess.DEVNULL))
        return started[-1]

    yield write
    for process in started:
        process.kill()
        process.wait(timeout=60)


@pytest.fixture
def parameter() -> Iterator[Callable[[str, str, str], None]]:
    """parameter(module, name, value): set a module's parameter until the test ends."""
    before: list[tuple[Path, str]] = []

    def change(module: str, name: str, value: str) -> None:
        path = Path("/sys/module") / module / "parameters" / name
        before.append((path, path.read_text()))
        path.write_text(value)

    yield change
    for path, value in reversed(before):
        path.write_text(value)
