"""What is told of every device, whatever its targets: raised and cleared, or the moment, once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dmwatch import DeviceMapper, TargetLine
from dmwatch.errors import DeviceNotFoundError
from dmwatch.ioctl.abi import Flags

Name = Callable[[str], str]
Make = Callable[..., str]
Watching = Any
Barrier = Callable[[Any], None]

ZERO, ERROR = TargetLine(0, 2048, "zero"), TargetLine(0, 2048, "error")
LONGER = TargetLine(0, 4096, "zero")
SOON = {"after": 0.5}


@pytest.fixture
def make(dm: DeviceMapper, device_name: Name) -> Iterator[Make]:
    """make(stem, *lines, uuid=None) -> the name of a new device."""
    made: list[str] = []

    def create(stem: str, *lines: TargetLine, uuid: str | None = None) -> str:
        made.append(name := device_name(stem))
        dm.create(name, uuid)
        if lines:
            swap(dm, name, *lines)
        return name

    yield create
    for name in reversed(made):
        try:
            dm.resume(name)
            dm.remove(name)
        except DeviceNotFoundError:
            continue


def swap(dm: DeviceMapper, name: str, *lines: TargetLine) -> None:
    dm.load(name, list(lines))
    dm.resume(name)


def states(watched: Any, type_: str, name: str) -> list[tuple[str, str | None]]:
    told = watched.all(type_, name=name)
    return [(str(event.state), event.reason and str(event.reason)) for event in told]


def test_a_suspended_device_stands_after_a_while_and_is_told_as_resumed(
    dm: DeviceMapper, make: Make, watching: Watching
) -> None:
    name, other = make("device", ZERO), make("other", ZERO)
    conditions = {"device.suspended": {"after": 3}}
    with watching(conditions=conditions, heartbeat=0.5) as watched:
        for _ in range(20):
            dm.suspend(other)
            dm.resume(other)
        begun = time.time()
        dm.suspend(name)
        told = watched.raised("device.suspended", name)
        assert told.time.timestamp() >= begun + 3
        assert (told.severity, told.key, told.data) == ("warning", None, {})
        dm.resume(name)
        watched.cleared("device.suspended", name, reason="healthy")
        watched.wait("device.resumed", name=name)
        assert [step[0] for step in watched.story(name)] == [
            "device.suspended",
            "device.suspended",
            "device.resumed",
        ]
        assert watched.story(other) == []


def test_a_staged_table_stands_until_it_is_taken_back_or_put_in_place(
    dm: DeviceMapper, make: Make, watching: Watching
) -> None:
    name = make("device", ZERO)
    with watching(conditions={"device.table-staged": SOON}, heartbeat=0.5) as watched:
        dm.load(name, [ERROR])
        assert watched.raised("device.table-staged", name).severity == "notice"
        dm.clear(name)
        watched.cleared("device.table-staged", name, reason="healthy")
        dm.load(name, [LONGER])
        watched.raised("device.table-staged", name, count=2)
        dm.resume(name)
        watched.cleared("device.table-staged", name, count=2)
        changed = watched.wait("device.table-changed", name=name)
        assert [line["length"] for line in changed.data["after"]] == [4096]
        assert watched.wait("device.resized", name=name).data == {"before": 2048, "after": 4096}
        assert (
            states(watched, "device.table-staged", name)
            == [
                ("raised", None),
                ("cleared", "healthy"),
            ]
            * 2
        )


def test_a_deferred_removal_stands_until_it_is_called_off_or_done(
    dm: DeviceMapper, make: Make, watching: Watching
) -> None:
    name = make("device", ZERO)
    with watching(heartbeat=0.5) as watched:
        with Path(f"/dev/dm-{dm.info(name).number.minor}").open("rb"):
            dm.remove(name, flags=Flags.DEFERRED_REMOVE)
            assert watched.raised("device.removal-deferred", name).severity == "notice"
            dm.message(name, "@cancel_deferred_remove")
            watched.cleared("device.removal-deferred", name, reason="healthy")
            dm.remove(name, flags=Flags.DEFERRED_REMOVE)
            watched.raised("device.removal-deferred", name, count=2)
        watched.wait("device.removed", name=name)
        assert states(watched, "device.removal-deferred", name) == [
            ("raised", None),
            ("cleared", "healthy"),
            ("raised", None),
            ("cleared", "device-removed"),
        ]


def test_a_table_that_maps_to_error_stands_until_it_is_swapped_again(
    dm: DeviceMapper, make: Make, watching: Watching
) -> None:
    name = make("device", ZERO)
    with watching() as watched:
        swap(dm, name, ZERO, TargetLine(2048, 8, "error"))
        assert watched.raised("device.error-target", name).severity == "warning"
        assert [line["type"] for line in watched.all("device.table-changed")[0].data["after"]] == [
            "zero",
            "error",
        ]
        swap(dm, name, ZERO)
        watched.cleared("device.error-target", name, reason="healthy")
        watched.wait("device.resized", 2, name=name)
        assert states(watched, "device.error-target", name) == [
            ("raised", None),
            ("cleared", "healthy"),
        ]


def test_a_device_made_anew_under_its_name_is_told_though_the_list_is_the_same(
    dm: DeviceMapper, make: Make, watching: Watching, barrier: Barrier
) -> None:
    name = make("device", ERROR)
    number = dm.info(name).number
    with watching() as watched:
        assert [c.type for c in watched.conditions()] == ["device.error-target"]
        watched.freeze()
        dm.remove(name)
        assert dm.create(name).number == number
        swap(dm, name, ERROR)
        watched.thaw()
        watched.wait("device.recreated", name=name)
        watched.raised("device.error-target", name, count=2)
        barrier(watched)
        assert [step[0::2] for step in watched.story(name)] == [
            ("device.error-target", "raised"),
            ("device.error-target", "cleared"),
            ("device.recreated", None),
            ("device.error-target", "raised"),
        ]
        assert states(watched, "device.error-target", name)[1] == ("cleared", "recreated")


def test_a_name_a_uuid_and_a_removal_are_told_with_what_stands(
    dm: DeviceMapper, make: Make, device_name: Name, watching: Watching, barrier: Barrier
) -> None:
    new = device_name("renamed")
    with watching() as watched:
        name = make("device", ERROR)
        assert watched.wait("device.added", name=name).data["targets"] == [
            {"start": 0, "length": 2048, "type": "error"}
        ]
        dm.rename(name, new)
        assert watched.wait("device.renamed", name=new).data == {"old_name": name}
        dm.set_uuid(new, "DMWATCH-told")
        told = watched.wait("device.uuid-set", name=new)
        assert told.device is not None
        assert (told.device.uuid, told.device.subsystem) == ("DMWATCH-told", "DMWATCH")
        dm.remove(new)
        watched.wait("device.removed", name=new)
        barrier(watched)
        assert states(watched, "device.error-target", new) == [("cleared", "device-removed")]
        moments = [step[0] for step in watched.story(new) if step[2] is None]
        assert [m for m in moments if m != "device.event"] == [
            "device.renamed",
            "device.uuid-set",
            "device.removed",
        ]


def test_suspends_and_resumes_alone_are_no_event(
    dm: DeviceMapper, make: Make, watching: Watching, barrier: Barrier
) -> None:
    with watching() as watched:
        names = [make("device", ZERO) for _ in range(5)]
        for _ in range(100):
            for name in names:
                dm.suspend(name)
            for name in names:
                dm.resume(name)
        barrier(watched)
        for name in names:
            assert watched.story(name) == [("device.added", None, None)]


def test_heartbeats_are_told(make: Make, watching: Watching) -> None:
    make("device", ZERO)
    with watching(heartbeat=0.5) as watched:
        beat = watched.wait("dmwatch.heartbeat", 3)
        assert beat.data["devices"] >= 1


def test_a_list_that_cannot_be_had_stands_until_it_can(
    make: Make, watching: Watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    with watching() as watched:
        broken = threading.Event()
        well = watched.watcher._dm.list_raw

        def list_raw(*arguments: Any, **options: Any) -> Any:
            if not broken.is_set():
                raise OSError(5, "injected")
            return well(*arguments, **options)

        monkeypatch.setattr(watched.watcher._dm, "list_raw", list_raw)
        name = make("device", ZERO)
        told = watched.wait("dmwatch.control-failing", state="raised")
        assert (told.severity, told.device, bool(told.advice)) == ("critical", None, True)
        broken.set()
        watched.wait("device.added", name=name)
        watched.wait("dmwatch.control-failing", state="cleared")


def test_after_uevents_were_dropped_everything_is_looked_at_again(
    dm: DeviceMapper, make: Make, watching: Watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dmwatch.monitor.uevents._RECEIVE_BUFFER", 4096)
    name = make("device", ZERO)
    with watching() as watched:
        watched.freeze()
        for _ in range(40):
            dm.suspend(name)
            dm.resume(name)
        swap(dm, name, ERROR)
        watched.thaw()
        assert watched.wait("dmwatch.resynced").severity == "notice"
        watched.raised("device.error-target", name)
