"""What stands when watching begins, ends and begins again; and watching without uevents."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dmwatch import DeviceMapper, TargetLine
from dmwatch.targets.multipath import FailPath, ReinstatePath

Loop = Callable[[float], str]
Need = Callable[[str], None]
Watching = Any
Barrier = Callable[[Any], None]
MIB = 2048
FAILED = "multipath.path-failed"

pytestmark = pytest.mark.timeout(300)


class Paths:
    """A multipath with two paths."""

    def __init__(self, bench: Any, loop: Loop) -> None:
        below = loop(1)
        paths = [bench.linear(f"path{i}", below, MIB) for i in range(2)]
        words = " ".join(f"{path.path} 1" for path in paths)
        table = f"0 {MIB} multipath 2 queue_mode bio 0 1 1 round-robin 0 2 1 {words}"
        self.device = bench.make("multipath", table)
        self.name: str = self.device.name
        self.nodes = [path.device for path in self.device.look().status.paths]
        self.keys = [str(node) for node in self.nodes]

    def fail(self, index: int) -> None:
        self.device.message(FailPath(self.nodes[index]))

    def reinstate(self, index: int) -> None:
        self.device.message(ReinstatePath(self.nodes[index]))


@pytest.fixture
def paths(bench: Any, loop: Loop, need_target: Need) -> Paths:
    need_target("multipath")
    return Paths(bench, loop)


def test_what_is_broken_already_is_told_once_as_initial_and_cleared_when_it_is_well(
    paths: Paths, watching: Watching, barrier: Barrier
) -> None:
    paths.fail(0)
    with watching() as watched:
        told = watched.raised(FAILED, paths.name)
        assert (told.initial, told.key, told.event_nr) == (True, paths.keys[0], 1)
        assert told.sequence <= 2
        paths.reinstate(0)
        over = watched.cleared(FAILED, paths.name, reason="healthy")
        assert not over.initial
        barrier(watched)
        assert [step[2] for step in watched.story(paths.name)] == ["raised", "cleared"]


def test_a_watcher_that_begins_anew_tells_the_same_set(
    paths: Paths, bench: Any, watching: Watching
) -> None:
    bench.make("error", "0 8 error")
    paths.fail(0)
    paths.fail(1)
    stood = []
    for _ in range(3):
        with watching() as watched:
            stood.append(watched.standing())
            initial = [event for event in watched.events if event.initial]
            assert len(initial) == len(watched.events) == len(watched.standing())
    assert stood[0] == stood[1] == stood[2]
    assert {step[1] for step in stood[0]} == {
        FAILED,
        "multipath.no-paths",
        "device.error-target",
    }


def test_what_stood_before_is_not_told_again_and_what_was_mended_meanwhile_is_cleared(
    paths: Paths, dm: DeviceMapper, bench: Any, watching: Watching, barrier: Barrier
) -> None:
    gone = bench.make("gone", "0 8 error")
    paths.fail(0)
    with watching() as watched:
        paths.fail(1)
        watched.raised("multipath.no-paths", paths.name)
        before = watched.conditions()
    paths.reinstate(1)
    bench.drop(gone)
    with watching(standing=before) as watched:
        barrier(watched)
        told = {(e.type, e.key, str(e.state), str(e.reason), e.initial) for e in watched.events[:3]}
        assert told == {
            (FAILED, paths.keys[1], "cleared", "healthy", True),
            ("multipath.no-paths", None, "cleared", "healthy", True),
            ("device.error-target", None, "cleared", "device-removed", True),
        }
        assert watched.standing() == {(paths.name, FAILED, paths.keys[0], "warning")}
        kept = next(c for c in before if c.key == paths.keys[0])
        assert [c.since for c in watched.conditions()] == [kept.since]
        paths.reinstate(0)
        watched.cleared(FAILED, paths.name, key=paths.keys[0], initial=False)


def test_without_uevents_the_node_and_the_polls_tell_the_same(
    paths: Paths, dm: DeviceMapper, bench: Any, watching: Watching
) -> None:
    other = bench.make("other", f"0 {MIB} zero")
    with watching(uevents=False) as watched:
        (covered,) = [c for c in watched.coverage() if c.device == other.name]
        assert "uevent" not in covered.how
        assert "no uevents are heard: a swapped table is found by polling" in covered.unprotected
        paths.fail(0)
        watched.raised(FAILED, paths.name)
        # the node fires for a swap, without saying of which device: all are looked at
        dm.load(other.name, [TargetLine(0, 2 * MIB, "error")])
        dm.resume(other.name)
        watched.raised("device.error-target", other.name)
        assert watched.wait("device.resized", name=other.name).data == {
            "before": MIB,
            "after": 2 * MIB,
        }
        watched.wait("device.table-changed", name=other.name)
        dm.set_uuid(other.name, "DMWATCH-late")
        watched.wait("device.uuid-set", name=other.name)
        bench.drop(other)
        watched.wait("device.removed", name=other.name)
    with watching() as watched:
        (covered,) = [c for c in watched.coverage() if c.device == paths.name]
        assert "uevent" in covered.how
        assert covered.unprotected == ()


def test_without_uevents_a_device_made_anew_is_told(
    dm: DeviceMapper, bench: Any, watching: Watching, barrier: Barrier
) -> None:
    device = bench.make("device", f"0 {MIB} zero")
    number = dm.info(device.name).number
    numbered = Path(f"/sys/dev/block/{number}/diskseq").exists()
    with watching(uevents=False) as watched:
        watched.freeze()
        dm.remove(device.name)
        assert dm.create(device.name).number == number
        dm.load(device.name, [TargetLine(0, MIB, "zero")])
        dm.resume(device.name)
        watched.thaw()
        if numbered:
            watched.wait("device.recreated", name=device.name)
        barrier(watched)
        # 5.10 numbers no incarnations: it cannot be told from the same device, and nothing is
        told = [step[0] for step in watched.story(device.name)]
        assert told == (["device.recreated"] if numbered else [])
