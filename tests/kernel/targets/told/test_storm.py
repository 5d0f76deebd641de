"""A storm of events, and `dmwatch watch` in a process of its own, as an operator runs it.

Its processor time is bounded by `cpu_share` (a quarter of one processor), its memory does not grow,
the last state of every path is told, and what was folded together adds up to the kernel's counters.
The long form has 20,000 failures of paths on 50 devices.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dmwatch import DeviceMapper, TargetLine
from dmwatch.names import DeviceNumber
from dmwatch.targets import find

Name = Callable[[str], str]
LONG = os.environ.get("DMWATCH_LONG") == "1"
QUIET = 40  # looks, ten a second: longer than the watcher waits before it imports the rest
PATIENCE = 120.0
LOOKED = 5.0  # no pause of the watcher is nearly so long
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
SHARE = 0.25
FAILED = "multipath.path-failed"
MIB = 2**20


class Storm:
    """Multipath devices over the same paths."""

    def __init__(self, dm: DeviceMapper, device_name: Name, devices: int) -> None:
        self.dm = dm
        self.below = [device_name("path") for _ in range(2)]
        self.paths = [self._make(name, TargetLine(0, 2048, "zero")) for name in self.below]
        words = " ".join(f"{path} 1" for path in self.paths)
        text = f"2 queue_mode bio 0 1 1 round-robin 0 2 1 {words}"
        self.names = [device_name("storm") for _ in range(devices)]
        for name in self.names:
            self._make(name, TargetLine(0, 2048, "multipath", text))

    def _make(self, name: str, line: TargetLine) -> DeviceNumber:
        number = self.dm.create(name).number
        self.dm.load(name, [line])
        self.dm.resume(name)
        return number

    def rage(self, flaps: int) -> None:
        """Each flap fails a path or takes it back; the devices take turns."""
        for flap in range(flaps):
            name = self.names[flap % len(self.names)]
            nth = flap // len(self.names)
            what = "reinstate_path" if nth % 2 else "fail_path"
            self.dm.message(name, f"{what} {self.paths[nth // 2 % 2]}")

    def end(self) -> None:
        """One more change on each device, which is told whatever was seen of those before."""
        time.sleep(LOOKED)
        for name in self.names:
            path = self.paths[0]
            what = "reinstate_path" if str(path) in self.failed(name) else "fail_path"
            self.dm.message(name, f"{what} {path}")

    def event_nr(self, name: str) -> int:
        return self.dm.info(name).event_nr

    def failed(self, name: str) -> set[str]:
        """The paths that are failed now."""
        status: Any = find("multipath").status(self.dm.table_status(name).lines[0].text)
        return {str(path.device) for path in status.paths if path.state == "F"}

    def take_down(self) -> None:
        for name in (*self.names, *self.below):
            self.dm.remove(name)


class Watching:
    """`dmwatch watch --json`, its events in a file."""

    def __init__(self, where: Path) -> None:
        self._file = where / "events.json"
        errors = where / "errors"
        command = [sys.executable, "-m", "dmwatch", "watch", "--json"]
        with self._file.open("wb") as out, errors.open("wb") as err:
            self.process = subprocess.Popen(command, stdout=out, stderr=err)
        self._until(lambda: "watching" in errors.read_text(), "it does not begin")

    def _until(self, true: Callable[[], object], problem: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not true():
            assert time.monotonic() < deadline, problem
            assert self.process.poll() is None
            time.sleep(0.1)

    def events(self) -> list[dict[str, Any]]:
        whole = self._file.read_text().rpartition("\n")[0]
        return [json.loads(line) for line in whole.splitlines()]

    def calm(self, storm: Storm) -> None:
        """Once it has told the last event of every device, and the last state of every path."""
        wanted = {name: (storm.failed(name), storm.event_nr(name)) for name in storm.names}
        self._until(lambda: self._last(storm) == wanted, "the last state was not told")

    def _last(self, storm: Storm) -> dict[str, tuple[set[str], int]]:
        standing, numbers = self.standing(storm), dict.fromkeys(storm.names, 0)
        numbers |= {e["device"]["name"]: e["event_nr"] for e in self.events() if e["device"]}
        return {name: (standing[name], numbers[name]) for name in storm.names}

    def standing(self, storm: Storm) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {name: set() for name in storm.names}
        for event in self.events():
            if event["type"] == FAILED:
                held = found[event["device"]["name"]]
                (held.discard if event["state"] == "cleared" else held.add)(event["key"])
        return found

    def cpu(self) -> float:
        """Seconds of processor time so far."""
        words = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / TICKS

    def memory(self) -> int:
        """Resident bytes."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * PAGE

    def settle(self) -> None:
        """Once it has imported what no event had to wait for."""
        held: list[int] = []

        def still() -> bool:
            held.append(self.memory())
            return len(held) > QUIET and len(set(held[-QUIET:])) == 1

        self._until(still, "it grows and grows")

    def end(self) -> int:
        self.process.terminate()
        return self.process.wait(PATIENCE)


@pytest.fixture
def storm(
    dm: DeviceMapper, device_name: Name, need_target: Callable[[str], None]
) -> Iterator[Storm]:
    need_target("multipath")
    made = Storm(dm, device_name, 50 if LONG else 2)
    yield made
    made.take_down()


@pytest.fixture
def watch(storm: Storm, tmp_path: Path) -> Iterator[Watching]:
    watching = Watching(tmp_path)
    yield watching
    watching.process.kill()
    watching.process.wait(PATIENCE)


@pytest.mark.timeout(1500 if LONG else 300)
def test_a_storm_of_flaps(storm: Storm, watch: Watching) -> None:
    flaps = 20_000 if LONG else 2_000
    watch.settle()
    storm.rage(flaps // 10)
    before, begun, used = watch.memory(), time.monotonic(), watch.cpu()
    storm.rage(flaps - flaps // 10)
    took, cpu = time.monotonic() - begun, watch.cpu() - used
    storm.end()
    watch.calm(storm)
    grown = watch.memory() - before
    told = watch.events()
    raised = [event for event in told if event["type"] == FAILED]
    print(
        f"\n{flaps} flaps on {len(storm.names)} devices in {took:.1f} s: {cpu / took:.0%} of a "
        f"processor, {len(raised)} events of paths of {len(told)} in all, "
        f"{grown / MIB:+.2f} MiB of {before / MIB:.0f} MiB"
    )
    # What was saved up before, half a second, may be used too. No pause is longer than a second:
    # so many devices, each looked at once a second, cost an emulated processor more than the share.
    assert LONG or cpu <= SHARE * took * 1.2 + 1.0
    assert grown <= (2 if LONG else 4) * MIB
    adds_up(storm, told)
    assert watch.end() == 0


def adds_up(storm: Storm, told: list[dict[str, Any]]) -> None:
    """No gap in the sequence, each path's steps alternate, no event of the kernel is missing."""
    assert [event["sequence"] for event in told] == list(range(1, len(told) + 1))
    counted: dict[str, int] = defaultdict(int)
    last: dict[tuple[str, str], str] = {}
    for event in told:
        name = event["device"] and event["device"]["name"]
        if name not in storm.names:
            continue
        if event["event_nr"] != counted[name]:
            assert event["coalesced"] == event["event_nr"] - counted[name] - 1
            counted[name] = event["event_nr"]
        else:
            assert event["coalesced"] == 0
        if event["type"] == FAILED:
            assert event["state"] != last.get((name, event["key"]), "cleared")
            last[name, event["key"]] = event["state"]
    assert dict(counted) == {name: storm.event_nr(name) for name in storm.names}
