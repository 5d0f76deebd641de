"""What watching costs on a real kernel, beside the least that Python can do (floor.py).

Runs in the lab, as root; `make bench` calls it. One path of a multipath device fails and comes back
among idle devices. For each watcher: the time from the message to the line that it prints, and its
processor time for each event, spaced out and in a burst. Under emulation only ratios mean anything.
"""

from __future__ import annotations

import os
import queue
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dmwatch import DeviceMapper, TargetLine

PATH, MULTIPATH = "bench-path", "bench-mp"
SECTORS = 2048
IDLE = (10, 200)
SPACED, BURST = 30, 400
SETTLED = 10.0  # seconds: by then it has imported what no event shall have to wait for
PATIENCE = 60.0
WATCHERS = {
    "floor": [sys.executable, str(Path(__file__).with_name("floor.py"))],
    "dmwatch watch": [sys.executable, "-m", "dmwatch", "watch", "--json", "--no-initial"],
}


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one watcher, in seconds and KiB."""

    latency: float
    latency_95: float
    cpu_spaced: float
    cpu_burst: float
    rss: int


class Watcher:
    """A watcher process; its lines are stamped as they come."""

    def __init__(self, command: list[str]) -> None:
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True)
        self.lines: queue.SimpleQueue[tuple[float, str]] = queue.SimpleQueue()
        assert self.process.stderr is not None
        if not self.process.stderr.readline().startswith("watching "):
            raise SystemExit(f"{command} does not watch")
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.put((time.monotonic(), line))

    def drain(self, quiet: float) -> list[tuple[float, str]]:
        """What it has said, once it has been silent for so long."""
        found = []
        while True:
            try:
                found.append(self.lines.get(timeout=quiet))
            except queue.Empty:
                return found

    def cpu(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss(self) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if "VmHWM" in line)


def toggle(dm: DeviceMapper, number: str, count: int) -> None:
    word = "fail_path" if count % 2 == 0 else "reinstate_path"
    dm.message(MULTIPATH, f"{word} {number}")


def spaced(watcher: Watcher, dm: DeviceMapper, number: str) -> list[float]:
    found = []
    for count in range(SPACED):
        began = time.monotonic()
        toggle(dm, number, count)
        try:
            when, _ = watcher.lines.get(timeout=PATIENCE)
        except queue.Empty:
            raise SystemExit("an event was not told") from None
        found.append(when - began)
        watcher.drain(0.2)
    return found


def measure(command: list[str], dm: DeviceMapper, number: str) -> Cost:
    watcher = Watcher(command)
    try:
        time.sleep(SETTLED)
        watcher.drain(2.0)
        first = watcher.cpu()
        latencies = sorted(spaced(watcher, dm, number))
        middle = watcher.cpu()
        for count in range(BURST):
            toggle(dm, number, count)
        watcher.drain(3.0)
        last = watcher.cpu()
        return Cost(
            statistics.median(latencies),
            latencies[int(len(latencies) * 0.95)],
            (middle - first) / SPACED,
            (last - middle) / BURST,
            watcher.rss(),
        )
    finally:
        watcher.process.kill()
        watcher.process.wait()


@contextmanager
def devices(dm: DeviceMapper, idle: int) -> Iterator[str]:
    """A multipath device with one path, and idle ones; gives the number of the path."""
    names = [f"bench-idle-{number}" for number in range(idle)]
    try:
        for name in names:
            make(dm, name, TargetLine(0, 8, "error", ""))
        make(dm, PATH, TargetLine(0, SECTORS, "zero", ""))
        number = str(dm.info(PATH).number)
        text = f"3 queue_if_no_path queue_mode bio 0 1 1 round-robin 0 1 1 {number} 1"
        make(dm, MULTIPATH, TargetLine(0, SECTORS, "multipath", text))
        yield number
    finally:
        present = {str(device.name) for device in dm.list_devices()}
        for name in [MULTIPATH, PATH, *names]:
            if name in present:
                dm.remove(name)


def make(dm: DeviceMapper, name: str, line: TargetLine) -> None:
    dm.create(name)
    dm.load(name, [line])
    dm.resume(name)


def report(idle: int, costs: dict[str, Cost]) -> None:
    floor = costs["floor"]
    print(f"\n{idle} idle devices; in brackets: times the floor")
    heads = ("latency", "its 95 %", "CPU an event", "in a burst", "peak memory")
    print(" " * 14 + "".join(f"{head:>18}" for head in heads))
    for name, cost in costs.items():
        pairs = (
            (cost.latency, floor.latency),
            (cost.latency_95, floor.latency_95),
            (cost.cpu_spaced, floor.cpu_spaced),
            (cost.cpu_burst, floor.cpu_burst),
        )
        cells = [f"{a * 1e3:.1f} ms [{a / max(b, 1e-9):.1f}]" for a, b in pairs]
        cells.append(f"{cost.rss / 1024:.1f} MiB")
        print(f"{name:14}" + "".join(f"{cell:>18}" for cell in cells), flush=True)


def main() -> None:
    subprocess.run(["modprobe", "-a", "dm-multipath", "dm-round-robin"], check=True)
    with DeviceMapper() as dm:
        for idle in IDLE:
            with devices(dm, idle) as number:
                report(idle, {n: measure(c, dm, number) for n, c in WATCHERS.items()})


if __name__ == "__main__":
    main()
