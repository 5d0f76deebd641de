"""The journal on a real file system that hangs, is full, or can only be read, while events flow."""

from __future__ import annotations

import os
import random
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from journals import kept

from dmwatch import DeviceMapper, TargetLine

FAILING = "dmwatch.journal-failing"
Dmsetup = Callable[..., str]
pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        os.environ.get("DMWATCH_LONG") != "1",
        reason="file systems that hang and come back take minutes under emulation: DMWATCH_LONG=1",
    ),
]


def steps(daemon: Any) -> list[str]:
    return [event["state"] for event in daemon.of(FAILING)]


def was_told_of(daemon: Any, names: list[str]) -> bool:
    return set(names) <= {e["device"]["name"] for e in daemon.of("device.removed")}


def stands_on(daemon: Any) -> set[str]:
    standing = daemon.ask("conditions")["conditions"]
    return {condition["device"]["name"] for condition in standing if condition["device"]}


def check_order(daemon: Any) -> None:
    """Nothing twice, nothing out of order; each epoch from where it began, without a gap."""
    told = daemon.told()
    assert len({event["id"] for event in told}) == len(told)
    last: dict[str, int] = {}
    epochs = list(dict.fromkeys(event["id"].split("-")[0] for event in told))
    assert [e["id"].split("-")[0] for e in told] == sorted(
        (e["id"].split("-")[0] for e in told), key=epochs.index
    )
    for event in told:
        epoch = event["id"].split("-")[0]
        assert event["sequence"] == last.get(epoch, 0) + 1
        last[epoch] = event["sequence"]


@pytest.mark.parametrize("options", [(), ("--nolockfs", "--noflush")], ids=["frozen", "suspended"])
def test_a_journal_that_hangs_holds_up_nothing_and_has_everything_afterwards(
    daemon: Any, device: Any, happen: Any, options: tuple[str, ...]
) -> None:
    watching = daemon(device.place / "events.db")
    watching.start()
    watching.wait(lambda: was_told_of(watching, happen(watching, 1)))
    with device.suspended(*options):
        names = happen(watching, 4)
        watching.wait(lambda: was_told_of(watching, names))
        assert steps(watching)[0] == "raised"
        assert watching.ask("health")["devices"] >= 1
        assert FAILING in [c["type"] for c in watching.ask("conditions")["conditions"]]
    watching.wait(lambda: steps(watching)[-1] == "cleared")
    happen(watching, 1)
    watching.stop()
    check_order(watching)
    assert [e["id"] for e in watching.recorded()] == [e["id"] for e in watching.told()]


def test_a_killed_daemon_whose_journal_hangs_keeps_no_successor_from_watching(
    daemon: Any, device: Any, happen: Any
) -> None:
    watching = daemon(device.place / "events.db")
    watching.start()
    happen(watching, 1)
    with device.suspended("--nolockfs", "--noflush"):
        names = happen(watching, 2)
        watching.wait(lambda: was_told_of(watching, names))
        killed = watching.processes[-1].pid
        watching.kill()
        time.sleep(2)
        # it is dead, and yet there: a thread of it hangs in the kernel
        assert threads_that_hang(killed)
        watching.start()
        names = happen(watching, 2)
        watching.wait(lambda: was_told_of(watching, names))
        assert steps(watching)[-1] != "cleared"
    watching.wait(lambda: steps(watching)[-1] == "cleared")
    watching.stop()
    told = watching.told()
    assert len({event["id"] for event in told}) == len(told)


def threads_that_hang(process: int) -> list[str]:
    stats = [stat.read_text() for stat in Path(f"/proc/{process}/task").glob("*/stat")]
    return [stat for stat in stats if stat.rpartition(")")[2].split()[0] == "D"]


def test_a_full_file_system(daemon: Any, small: Path, happen: Any) -> None:
    watching = daemon(small / "events.db")
    watching.start()
    happen(watching, 1)
    filler = small / "filler"
    subprocess.run(
        ["dd", "if=/dev/zero", f"of={filler}", "bs=4k"], capture_output=True, check=False
    )
    subprocess.run(["df", small], check=True)
    names = happen(watching, 4)
    watching.wait(lambda: was_told_of(watching, names))
    subprocess.run(["ls", "-la", small], check=True)
    watching.wait(lambda: "raised" in steps(watching))
    assert "its file system is full" in watching.of(FAILING)[0]["summary"]
    filler.unlink()
    watching.wait(lambda: steps(watching)[-1] == "cleared")
    watching.stop()
    check_order(watching)
    assert [e["id"] for e in watching.recorded()] == [e["id"] for e in watching.told()]


@pytest.mark.parametrize("killed", [False, True], ids=["stopped", "killed"])
def test_a_file_system_that_can_only_be_read(
    daemon: Any, device: Any, happen: Any, killed: bool
) -> None:
    watching = daemon(device.place / "events.db")
    watching.start()
    happen(watching, 1)
    if killed:
        # what it has not put from the log into the file has to be read from there
        watching.kill()
        watching.processes[-1].wait(30)
    else:
        watching.stop()
    subprocess.run(["mount", "-o", "remount,ro", str(device.place)], check=True)
    watching.start()
    names = happen(watching, 2)
    watching.wait(lambda: was_told_of(watching, names))
    watching.wait(lambda: "raised" in steps(watching))
    subprocess.run(["mount", "-o", "remount,rw", str(device.place)], check=True)
    watching.wait(lambda: steps(watching)[-1] == "cleared")
    watching.stop()
    told = list(dict.fromkeys(e["id"] for e in watching.told()))
    assert [e["id"] for e in watching.recorded()] == told
    # where it had got to was known when it began again
    query = "select count(*), max(position) from events"
    ((count, last),) = kept(watching.journal, query)
    assert count == last


def test_a_file_system_that_becomes_read_only_while_events_flow(
    daemon: Any, device: Any, happen: Any
) -> None:
    watching = daemon(device.place / "events.db")
    watching.start()
    happen(watching, 1)
    options = "remount,errors=remount-ro"
    subprocess.run(["mount", "-o", options, str(device.place)], check=True)
    # as ext4 does it by itself when it meets damage
    minor = os.minor(device.place.stat().st_dev)
    Path(f"/sys/fs/ext4/dm-{minor}/trigger_fs_error").write_text("1")
    names = happen(watching, 4)
    watching.wait(lambda: was_told_of(watching, names))
    watching.wait(lambda: "raised" in steps(watching))
    assert FAILING in [c["type"] for c in watching.ask("conditions")["conditions"]]
    watching.stop()
    check_order(watching)
    # It can be read all the same: at most what is not known to have been told comes once more, of
    # a write that failed and left its events under the numbers that they were to have.
    before = watching.told()
    watching.start()
    assert about_devices(watching.told()[len(before) :]) <= about_devices(before)
    watching.stop()


def about_devices(told: list[dict[str, Any]]) -> set[tuple[str, str, str]]:
    return {(e["type"], e["device"]["name"], e["time"]) for e in told if e["device"]}


def test_a_second_daemon_is_refused_with_4(daemon: Any, folder: Path) -> None:
    watching = daemon(folder / "events.db")
    watching.start()
    second = watching.begin()
    assert second.wait(120) == 4
    assert "another daemon keeps the journal" in (folder / "log").read_text()
    watching.processes.pop()
    watching.stop()


def test_conditions_are_told_once_over_kills_and_over_devices_that_are_made_anew(
    daemon: Any, folder: Path, dmsetup: Dmsetup, device_name: Callable[[str], str]
) -> None:
    watching = daemon(folder / "events.db")
    name, other, first = device_name("bad"), device_name("other"), device_name("first")

    def make(which: str, uuid: str) -> None:
        dmsetup("create", which, "--uuid", uuid, "--table", "0 8 error")

    make(name, "JOURNAL-1")
    make(other, "JOURNAL-2")
    try:
        watching.start()
        for _ in range(3):
            watching.kill()
            watching.processes[-1].wait(30)
            watching.start()
        # as after a reboot: other numbers, one of them is no more
        watching.kill()
        watching.processes[-1].wait(30)
        for gone in (name, other):
            dmsetup("remove", gone)
        dmsetup("create", first, "--table", "0 8 zero")
        make(name, "JOURNAL-1")
        watching.start()
        # at least once: an event may come again after a kill
        watching.wait(lambda: len({e["id"] for e in watching.of("device.error-target")}) >= 3)
        watching.stop()
    finally:
        for left in (name, other, first):
            dmsetup("remove", left, check=False)
    told = {
        (e["device"]["name"], e["state"], e["reason"], e["initial"])
        for e in watching.of("device.error-target")
    }
    assert told == {
        (name, "raised", None, True),
        (other, "raised", None, True),
        (other, "cleared", "device-removed", True),
    }
    ids = {e["id"] for e in watching.of("device.error-target")}
    assert len(ids) == 3


def test_killed_at_any_moment_under_a_stream_of_events_none_is_lost_and_order_is_kept(
    daemon: Any, folder: Path, device_name: Callable[[str], str]
) -> None:
    watching, made = daemon(folder / "events.db"), [device_name("stream") for _ in range(4)]
    ended, chance = threading.Event(), random.Random(1)

    def flow() -> None:
        """Devices come and go, and in the end all of them are there."""
        with DeviceMapper() as dm:
            while not ended.is_set():
                for name in made:
                    dm.create(name)
                    dm.load(name, [TargetLine(0, 8, "error", "")])
                    dm.resume(name)
                    time.sleep(0.05)
                for name in made:
                    if not ended.is_set():
                        dm.remove(name)

    flowing = threading.Thread(target=flow)
    watching.start()
    flowing.start()
    try:
        for _ in range(4):
            time.sleep(chance.uniform(0.5, 4.0))
            watching.kill()
            watching.processes[-1].wait(30)
            watching.start()
    finally:
        ended.set()
        flowing.join(60)
    with DeviceMapper() as dm:
        left = {str(device.name) for device in dm.list_devices()} & set(made)
        watching.wait(lambda: stands_on(watching) & set(made) == left)
        watching.stop()
        for name in left:
            dm.remove(name)
    recorded = [event["id"] for event in watching.recorded()]
    sequences = [int(id_.rpartition("-")[2]) for id_ in recorded]
    assert sequences == list(range(1, len(recorded) + 1))
    # each at least once, and in order what is told for the first time
    assert list(dict.fromkeys(event["id"] for event in watching.told())) == recorded
