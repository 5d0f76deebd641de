"""Devices on a real kernel. Without udev unless a test asks for `udevd`."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dmwatch.dm import DeviceMapper
from dmwatch.dm.udev import MAGIC

MIB = 2048
UDEVD = "/lib/systemd/systemd-udevd"
CONTROL = Path("/run/udev/control")
PATIENCE = 120.0


@pytest.fixture
def dm() -> Iterator[DeviceMapper]:
    with DeviceMapper() as opened:
        yield opened


def tool(*command: str, standard_input: str = "") -> str:
    """A program's standard output; it must succeed."""
    done = subprocess.run(
        command, input=standard_input, capture_output=True, text=True, timeout=240, check=False
    )
    assert not done.returncode, f"{' '.join(command)}: {done.stderr.strip()} {done.stdout.strip()}"
    return done.stdout


def cookies() -> list[int]:
    """The semaphores of cookies that there are, by key, as `ipcs -s` shows them."""
    keys = [line.split()[0] for line in tool("ipcs", "-s").splitlines() if line.startswith("0x")]
    return [key for key in (int(key, 16) for key in keys) if key >> 16 == MAGIC]


def until(true: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"not in {seconds:g} s: {what}"
        time.sleep(0.1)


# A real udevd


class Udevd:
    """A running udevd, with its rules."""

    def __init__(self) -> None:
        environment = {k: v for k, v in os.environ.items() if k != "DM_DISABLE_UDEV"}
        self.process = subprocess.Popen([UDEVD], env=environment, stderr=subprocess.DEVNULL)
        until(CONTROL.exists, "udevd opens its control socket")
        self.settle()

    def settle(self) -> None:
        tool("udevadm", "settle", "--timeout=120")

    def pause(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def end(self) -> None:
        self.go_on()
        self.process.terminate()
        self.process.wait(PATIENCE)
        CONTROL.unlink(missing_ok=True)


@pytest.fixture
def udevd(monkeypatch: pytest.MonkeyPatch) -> Iterator[Udevd]:
    """A udevd with the rules of this system; what is called in the test is in step with it."""
    monkeypatch.delenv("DM_DISABLE_UDEV", raising=False)
    running = Udevd()
    yield running
    running.end()
    for link in Path("/dev/mapper").iterdir():
        if link.is_symlink():
            link.unlink()


# Data that must survive


class Files:
    """A file system with files, and what they hold."""

    def __init__(self, device: str, where: Path) -> None:
        self.device = device
        self.where = where
        self._sums: dict[str, str] = {}

    def make(self) -> None:
        tool("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,nodiscard", self.device)
        self.mount()

    def mount(self) -> None:
        self.where.mkdir(exist_ok=True)
        tool("mount", self.device, str(self.where))

    def umount(self) -> None:
        tool("umount", str(self.where))

    def write(self, name: str, size: int, seed: int = 0) -> None:
        data = self.expect(name, size, seed)
        path = self.where / name
        with path.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    def expect(self, name: str, size: int, seed: int = 0) -> bytes:
        """What a file holds that was written so; it is what `check` looks for."""
        data = random.Random(f"{name}-{seed}").randbytes(size)
        self._sums[name] = hashlib.sha256(data).hexdigest()
        return data

    def check(self) -> None:
        """Each file holds what was written last, read from the device."""
        Path("/proc/sys/vm/drop_caches").write_text("3")
        for name, expected in self._sums.items():
            found = hashlib.sha256((self.where / name).read_bytes()).hexdigest()
            assert found == expected, f"{name} on {self.device} has changed"

    @property
    def mounted(self) -> bool:
        return os.path.ismount(self.where)


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Callable[[str], Files]]:
    """files(device) -> a file system on it, unmounted at the end."""
    made: list[Files] = []

    def on(device: str) -> Files:
        made.append(Files(device, tmp_path / f"mnt{len(made)}"))
        return made[-1]

    yield on
    for found in reversed(made):
        if found.mounted:
            found.umount()
