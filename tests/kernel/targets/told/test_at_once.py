"""What the kernel reports itself is told without a poll: here none comes for an hour."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from dmwatch import DeviceMapper
from dmwatch.targets.multipath import (
    DisableGroup,
    EnableGroup,
    FailPath,
    ReinstatePath,
    SwitchGroup,
)
from dmwatch.targets.thin_pool import CreateThin

Loop = Callable[[float], str]
Need = Callable[[str], None]
Watching = Any
Barrier = Callable[[Any], None]
MIB = 2048
BLOCKS = 16

pytestmark = pytest.mark.timeout(300)


class Pool:
    """A pool of 16 blocks of 64 KiB with a low water mark of 4, and a thin volume in it."""

    def __init__(self, bench: Any, loop: Loop, words: str = "1 skip_block_zeroing") -> None:
        self.meta = bench.linear("meta", loop(4), 4 * MIB)
        self.data = bench.linear("data", loop(2), MIB)
        places = f"{self.meta.path} {self.data.path}"
        self.pool = bench.make("pool", f"0 {MIB} thin-pool {places} 128 4 {words}")
        self.pool.message(CreateThin(0))
        self.thin = bench.make("thin", f"0 {4 * MIB} thin {self.pool.path} 0")
        self.name: str = self.pool.name
        self._bench = bench

    def drop_thin(self) -> None:
        self._bench.drop(self.thin)

    def extend(self) -> None:
        """Twice as many data blocks."""
        self.data.replace(f"0 {2 * MIB} linear {self.data.text('table')}", "--noflush")
        table = self.pool.table().format()
        self.pool.replace(f"0 {2 * MIB} thin-pool {table}", "--noflush")


@pytest.fixture
def made(bench: Any, loop: Loop, need_target: Need) -> Pool:
    need_target("thin-pool")
    return Pool(bench, loop)


@pytest.fixture
def five(bench: Any, loop: Loop, need_target: Need) -> Callable[[], list[Pool]]:
    need_target("thin-pool")
    return lambda: [Pool(bench, loop) for _ in range(5)]


def test_a_pool_at_its_low_water_mark(made: Pool, watching: Watching, barrier: Barrier) -> None:
    with watching() as watched:
        made.thin.write(0, BLOCKS - 4)
        barrier(watched)
        # the kernel reports it with the block that is taken when no more than the mark are free
        assert watched.story(made.name) == []
        made.thin.write(BLOCKS - 4)
        low = watched.raised("thin-pool.low-water", made.name)
        assert (low.severity, low.key, low.initial) == ("notice", None, False)
        # the report comes before the block is taken, and the status may be read in between
        assert low.data["low_water"] == 4
        assert low.data["free"] in {3, 4}
        made.extend()
        watched.cleared("thin-pool.low-water", made.name, reason="healthy")
        resized = watched.wait("thin-pool.resized", name=made.name)
        assert (resized.data["data_before"], resized.data["data_after"]) == (16, 32)
        barrier(watched)
        assert len(watched.all("thin-pool.low-water", name=made.name)) == 2


def test_pools_that_are_made_together_and_suspended_a_hundred_times_are_no_event(
    five: Callable[[], list[Pool]], dm: DeviceMapper, watching: Watching, barrier: Barrier
) -> None:
    with watching(poll_interval=1.0, heartbeat=2.0) as watched:
        pools = five()
        for _ in range(100):
            for pool in pools:
                dm.suspend(pool.name)
                dm.resume(pool.name)
        barrier(watched)
        for pool in pools:
            for name in (pool.meta.name, pool.data.name, pool.name, pool.thin.name):
                assert watched.story(name) == [("device.added", None, None)]


def test_a_pool_out_of_data_space_then_its_time_limit_then_space_again(
    made: Pool,
    watching: Watching,
    barrier: Barrier,
    parameter: Callable[[str, str, str], None],
    writing: Callable[[Any, int], subprocess.Popen[bytes]],
) -> None:
    parameter("dm_thin_pool", "no_space_timeout", "8")
    full = "thin-pool.out-of-data-space"
    with watching() as watched:
        made.thin.write(0, BLOCKS)
        barrier(watched)
        assert watched.all(full) == []
        writing(made.thin, BLOCKS)
        told = watched.raised(full, made.name)
        assert (told.severity, told.data["no_space"]) == ("critical", "queue_if_no_space")
        assert (told.data["data_used"], told.data["data_total"]) == (16, 16)
        usage = watched.wait("thin-pool.data-usage", name=made.name, severity="critical")
        assert usage.data == {"used": 16, "total": 16, "percent": 100.0, "rung": 100.0}
        timeout = watched.wait("thin-pool.no-space-timeout", name=made.name)
        assert (timeout.severity, timeout.time > told.time) == ("critical", True)
        flipped = watched.wait(full, name=made.name, state="changed")
        assert flipped.data["no_space"] == "error_if_no_space"
        made.extend()
        watched.cleared(full, made.name, reason="healthy")
        watched.cleared("thin-pool.data-usage", made.name, reason="healthy")
        barrier(watched)
        steps = [step[2] for step in watched.story(made.name) if step[0] == full]
        assert steps == ["raised", "changed", "cleared"]
        assert watched.standing() == set()


def test_a_pool_whose_metadata_device_fails_and_the_volumes_in_it(
    made: Pool, watching: Watching, barrier: Barrier
) -> None:
    with watching() as watched:
        made.meta.fail()
        with pytest.raises(OSError, match="Input/output"):
            made.thin.write_and_flush(0)
        assert watched.raised("thin-pool.failed", made.name).severity == "critical"
        assert watched.raised("thin.failed", made.thin.name).severity == "critical"
        barrier(watched)
        # the smallest set that tells the truth: one for the pool, one for the volume, one for
        # the device below that fails
        assert watched.standing() == {
            (made.name, "thin-pool.failed", None, "critical"),
            (made.thin.name, "thin.failed", None, "critical"),
            (made.meta.name, "device.error-target", None, "warning"),
        }
        made.drop_thin()
        watched.cleared("thin.failed", made.thin.name, reason="device-removed")


def test_a_pool_whose_metadata_cannot_be_written(
    made: Pool, watching: Watching, barrier: Barrier
) -> None:
    with watching() as watched:
        made.meta.fail_writes()
        with pytest.raises(OSError, match="Input/output"):
            made.thin.write_and_flush(0)
        assert watched.raised("thin-pool.read-only", made.name).severity == "critical"
        assert watched.raised("thin-pool.needs-check", made.name).severity == "error"
        barrier(watched)
        assert {step[1] for step in watched.standing()} == {
            "thin-pool.read-only",
            "thin-pool.needs-check",
        }


def test_a_leg_of_a_raid_fails_and_is_replaced(
    bench: Any, loop: Loop, need_target: Need, watching: Watching, barrier: Barrier
) -> None:
    need_target("raid")
    space = loop(27)
    size = 8 * MIB
    data = [bench.make("data", f"0 {size} linear {space} {i * size}") for i in range(3)]
    meta = [bench.make("meta", f"0 {MIB} linear {space} {3 * size + i * MIB}") for i in range(3)]
    pairs = [f"{m.path} {d.path}" for m, d in zip(meta, data, strict=True)]
    raid = bench.make("raid", f"0 {size} raid raid1 2 0 nosync 2 {' '.join(pairs[:2])}")
    raid.until(lambda seen: seen.status.action == "idle")
    with watching() as watched:
        data[1].fail()
        meta[1].fail()
        raid.write(0)
        told = watched.raised("raid.leg-failed", raid.name, key="1")
        assert told.severity == "critical"
        assert (told.data["leg"], told.data["redundancy_left"]) == (1, 0)
        assert told.data["device"] == str(raid.table().members[1].data)
        # no faster, or it is over before anybody has seen it begin
        words = "raid1 5 0 rebuild 1 max_recovery_rate 2048"
        raid.replace(f"0 {size} raid {words} 2 {pairs[0]} {pairs[2]}")
        watched.cleared("raid.leg-failed", raid.name, key="1", reason="healthy")
        done = watched.wait("raid.sync-finished", name=raid.name)
        assert done.data["action"] in {"recover", "resync"}
        barrier(watched)
        assert len(watched.all("raid.leg-failed", name=raid.name)) == 2
        assert not [s for s in watched.standing() if s[0] == raid.name]


def test_a_path_of_a_multipath_fails_and_comes_back(
    bench: Any, loop: Loop, need_target: Need, watching: Watching, barrier: Barrier
) -> None:
    need_target("multipath")
    below = loop(1)
    paths = [bench.linear(f"path{i}", below, MIB) for i in range(2)]
    words = " ".join(f"{path.path} 1" for path in paths)
    table = f"0 {MIB} multipath 2 queue_mode bio 0 1 1 round-robin 0 2 1 {words}"
    device = bench.make("multipath", table)
    first, second = (path.device for path in device.look().status.paths)
    key, other = str(first), str(second)
    with watching() as watched:
        paths[0].fail()
        device.write(0)
        told = watched.raised("multipath.path-failed", device.name, key=key)
        assert told.severity == "warning"
        assert told.data == {"path": key, "group": 1, "failures": 1, "paths_left": 1}
        device.message(FailPath(second))
        none = watched.raised("multipath.no-paths", device.name)
        assert (none.severity, none.data) == ("critical", {"paths": 2, "queueing": False})
        device.message(ReinstatePath(first))
        watched.cleared("multipath.no-paths", device.name, reason="healthy")
        watched.cleared("multipath.path-failed", device.name, key=key, reason="healthy")
        barrier(watched)
        assert watched.standing() == {
            (device.name, "multipath.path-failed", other, "warning"),
            (paths[0].name, "device.error-target", None, "warning"),
        }


def test_a_group_of_paths_is_disabled_and_enabled(
    bench: Any, loop: Loop, dm: DeviceMapper, need_target: Need, watching: Watching
) -> None:
    need_target("multipath")
    below = loop(1)
    paths = [bench.linear(f"path{i}", below, MIB) for i in range(2)]
    groups = " ".join(f"round-robin 0 1 1 {path.path} 1" for path in paths)
    device = bench.make("multipath", f"0 {MIB} multipath 2 queue_mode bio 0 2 1 {groups}")
    with watching() as watched:
        dm.message(device.name, DisableGroup(2).format())
        told = watched.raised("multipath.group-disabled", device.name)
        assert (told.severity, told.key, told.data) == ("notice", "2", {"group": 2})
        dm.message(device.name, EnableGroup(2).format())
        watched.cleared("multipath.group-disabled", device.name, key="2", reason="healthy")
        dm.message(device.name, SwitchGroup(2).format())
        device.write(0)
        switched = watched.wait("multipath.group-switched", name=device.name)
        assert switched.data == {"before": 1, "after": 2}


def test_a_path_that_fails_again_and_again(
    bench: Any, loop: Loop, dm: DeviceMapper, need_target: Need, watching: Watching
) -> None:
    need_target("multipath")
    path = bench.linear("path", loop(1), MIB)
    table = f"0 {MIB} multipath 2 queue_mode bio 0 1 1 round-robin 0 1 1 {path.path} 1"
    device = bench.make("multipath", table)
    node = device.look().status.paths[0].device
    with watching() as watched:
        for count in range(1, 6):
            assert watched.all("multipath.path-flapping") == []
            dm.message(device.name, FailPath(node).format())
            watched.raised("multipath.path-failed", device.name, count=count)
            dm.message(device.name, ReinstatePath(node).format())
            watched.cleared("multipath.path-failed", device.name, count=count)
        told = watched.raised("multipath.path-flapping", device.name)
        assert (told.severity, told.key, told.data) == ("warning", str(node), {"failures": 5})
        bench.drop(device)
        watched.cleared("multipath.path-flapping", device.name, reason="device-removed")


def test_a_snapshot_becomes_invalid(
    bench: Any, loop: Loop, need_target: Need, watching: Watching, barrier: Barrier
) -> None:
    need_target("snapshot")
    below = loop(4)
    # an origin learns the size of its snapshots' chunks when it is resumed
    snapshot = bench.make("snapshot", f"0 {4 * MIB} snapshot {below} {loop(1)} N 16")
    origin = bench.make("origin", f"0 {4 * MIB} snapshot-origin {below}")
    with watching() as watched:
        origin.write(0, 10)
        barrier(watched)
        assert watched.story(snapshot.name) == []
        origin.write(10, 10)
        told = watched.raised("snapshot.invalid", snapshot.name)
        assert (told.severity, told.target) == ("critical", "snapshot")
        barrier(watched)
        assert watched.standing() == {(snapshot.name, "snapshot.invalid", None, "critical")}


def test_a_leg_of_a_striped_device_fails_until_its_table_is_loaded_anew(
    bench: Any, loop: Loop, watching: Watching, barrier: Barrier
) -> None:
    legs = [bench.linear(f"leg{i}", loop(1), MIB) for i in range(2)]
    places = " ".join(f"{leg.path} 0" for leg in legs)
    device = bench.make("striped", f"0 {2 * MIB} striped 2 128 {places}")
    with watching() as watched:
        below = legs[1].text("table")
        legs[1].fail()
        with pytest.raises(OSError, match="Input/output"):
            device.write(1)
        told = watched.raised("striped.leg-failed", device.name)
        assert (told.severity, told.key) == ("critical", "1")
        # another error of the same leg is an event that changes nothing
        with suppress(OSError):
            device.write(1)
        watched.wait("device.event", name=device.name)
        legs[1].replace(f"0 {MIB} linear {below}", "--noflush", "--nolockfs")
        barrier(watched)
        assert (device.name, "striped.leg-failed", "1", "critical") in watched.standing()
        device.replace(f"0 {2 * MIB} striped 2 128 {places}")
        watched.cleared("striped.leg-failed", device.name, key="1", reason="healthy")
        barrier(watched)
        assert len(watched.all("striped.leg-failed")) == 2


def test_a_leg_of_a_mirror_fails(
    bench: Any, loop: Loop, need_target: Need, watching: Watching, barrier: Barrier
) -> None:
    need_target("mirror")
    legs = [bench.linear(f"leg{i}", loop(2), 2 * MIB) for i in range(2)]
    places = " ".join(f"{leg.path} 0" for leg in legs)
    words = f"core 2 64 nosync 2 {places} 2 handle_errors keep_log"
    device = bench.make("mirror", f"0 {2 * MIB} mirror {words}")
    with watching() as watched:
        legs[1].fail_writes()
        device.write(0)
        told = watched.raised("mirror.leg-failed", device.name)
        assert (told.severity, told.key, told.data["health"]) == ("error", "1", "D")
        barrier(watched)
        # it is told after 30 s: LVM's routine work brings it about too
        assert watched.all("mirror.out-of-sync") == []
