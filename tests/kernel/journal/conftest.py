"""A daemon whose journal lies on a file system of its own, which a test can spoil."""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from journals import kept

PATIENCE = 120.0
Told = dict[str, Any]


class Daemon:
    """`dmwatch run`, and what its `file` handler was told."""

    def __init__(self, folder: Path, journal: Path) -> None:
        self.folder, self.journal = folder, journal
        self.told_path = folder / "told"
        self.config = folder / "config.toml"
        self.config.write_text(
            f"""
            [monitor]
            heartbeat = "1h"
            [handlers.out]
            use = "file"
            path = "{self.told_path}"
            match = {{ severity = "debug" }}
            [journal]
            path = "{journal}"
            [stream]
            socket = "{folder}/sock"
            """
        )
        self.processes: list[subprocess.Popen[str]] = []

    def start(self) -> subprocess.Popen[str]:
        """Start it, and wait until it has told that it watches."""
        before = len(self.of("dmwatch.started"))
        process = self.begin()
        self.wait(lambda: len(self.of("dmwatch.started")) > before)
        return process

    def begin(self) -> subprocess.Popen[str]:
        log = (self.folder / "log").open("a")
        command = [sys.executable, "-m", "dmwatch", "run", "--config", str(self.config)]
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, text=True)
        log.close()
        self.processes.append(process)
        return process

    def stop(self) -> None:
        self.processes[-1].send_signal(signal.SIGTERM)
        assert self.processes[-1].wait(30) == 0

    def kill(self) -> None:
        """Kill it; what hangs in the kernel stays behind, so it is not waited for."""
        self.processes[-1].kill()

    def told(self) -> list[Told]:
        if not self.told_path.exists():
            return []
        lines = self.told_path.read_text().split("\n")[:-1]
        # a kill leaves a part of a line, which ends where the next daemon begins
        return [json.loads(line) for line in lines if line.endswith("}")]

    def of(self, *types: str) -> list[Told]:
        return [event for event in self.told() if event["type"] in types]

    def ask(self, question: str) -> Any:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(PATIENCE)
            client.connect(str(self.folder / "sock"))
            client.sendall(json.dumps({"ask": question}).encode() + b"\n")
            return json.loads(client.makefile("rb").readline())

    def recorded(self) -> list[Told]:
        found = kept(self.journal, "select event from events order by position")
        return [json.loads(text) for (text,) in found]

    def wait(self, true: Callable[[], object]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not true():
            log = (self.folder / "log").read_text() if (self.folder / "log").exists() else ""
            last = [(e["type"], e["summary"]) for e in self.told()[-20:]]
            if time.monotonic() > deadline:
                pytest.fail("\n".join(["it has told", *map(str, last), "and logged", log]))
            time.sleep(0.2)

    def end(self) -> None:
        for process in self.processes:
            with suppress(ProcessLookupError):
                process.kill()
            with suppress(subprocess.TimeoutExpired):
                process.wait(30)


@pytest.fixture
def folder() -> Iterator[Path]:
    """In memory: what must not hang with the journal."""
    made = Path(f"/dev/shm/journal-{os.getpid()}")
    subprocess.run(["rm", "-rf", made], check=True)
    made.mkdir()
    yield made
    subprocess.run(["rm", "-rf", made], check=True)


@pytest.fixture
def daemon(folder: Path, request: pytest.FixtureRequest) -> Iterator[Callable[[Path], Daemon]]:
    """daemon(path): a daemon with its journal there."""
    # the daemon ends before what its journal lies on is taken away
    for below in {"small", "device"} & set(request.fixturenames):
        request.getfixturevalue(below)
    made: list[Daemon] = []

    def make(journal: Path) -> Daemon:
        made.append(Daemon(folder, journal))
        return made[-1]

    yield make
    for one in made:
        one.end()


@contextmanager
def mounted(folder: Path, *arguments: str) -> Iterator[Path]:
    place = folder / "mounted"
    place.mkdir()
    subprocess.run(["mount", *arguments, str(place)], check=True, timeout=60)
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True, timeout=60)


@pytest.fixture
def small(folder: Path) -> Iterator[Path]:
    """A file system of 2 MiB in memory."""
    with mounted(folder, "-t", "tmpfs", "-o", "size=2m", "none") as place:
        yield place


@dataclass(frozen=True)
class Device:
    """A device with ext4 on it, and where that is mounted."""

    name: str
    place: Path
    dmsetup: Callable[..., str]

    @contextmanager
    def suspended(self, *options: str) -> Iterator[None]:
        self.dmsetup("suspend", *options, self.name)
        try:
            yield
        finally:
            self.dmsetup("resume", self.name)


@pytest.fixture
def device(
    folder: Path,
    loop: Callable[[float], str],
    device_name: Callable[[str], str],
    dmsetup: Callable[..., str],
) -> Iterator[Device]:
    """A device with a file system, which can be suspended."""
    below, name = loop(32), device_name("journal")
    dmsetup("create", name, "--table", f"0 {32 * 2048} linear {below} 0")
    subprocess.run(["mkfs.ext4", "-q", "-F", f"/dev/mapper/{name}"], check=True, timeout=120)
    with mounted(folder, f"/dev/mapper/{name}") as place:
        yield Device(name, place, dmsetup)
    dmsetup("remove", "--retry", name)


@pytest.fixture
def happen(
    dmsetup: Callable[..., str], device_name: Callable[[str], str]
) -> Callable[[Daemon, int], list[str]]:
    """happen(daemon, count): so many devices are made and removed; gives their names."""
    numbers = itertools.count()

    def make(watching: Daemon, count: int) -> list[str]:
        names = [device_name(f"x{next(numbers)}") for _ in range(count)]
        for name in names:
            dmsetup("create", name, "--table", "0 8 zero")
            # else it comes and goes between two looks
            watching.wait(partial(told_of_addition, watching, name))
            dmsetup("remove", name)
        return names

    return make


def told_of_addition(daemon: Daemon, name: str) -> bool:
    return name in {event["device"]["name"] for event in daemon.of("device.added")}
