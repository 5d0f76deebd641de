"""A status call that hangs in the kernel: it costs its device alone, and nobody's leaving."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from dmwatch import DeviceMapper, TargetLine
from dmwatch.ioctl.abi import Flags
from dmwatch.targets.multipath import FailPath, ReinstatePath
from dmwatch.targets.thin_pool import CreateThin

Loop = Callable[[float], str]
Need = Callable[[str], None]
Watching = Any
MIB = 2048
QUICK: dict[str, Any] = {"poll_interval": 0.5, "status_timeout": 3.0}
STUCK = "device.status-stuck"

pytestmark = pytest.mark.timeout(300)


class Pool:
    """A pool that commits to a metadata device that can be suspended: its status hangs then."""

    def __init__(self, bench: Any, loop: Loop) -> None:
        self.meta = bench.linear("meta", loop(4), 4 * MIB)
        data = loop(4)
        words = f"{self.meta.path} {data} 128 0 1 skip_block_zeroing"
        self.pool = bench.make("pool", f"0 {4 * MIB} thin-pool {words}")
        self.pool.message(CreateThin(0))
        self.thin = bench.make("thin", f"0 {4 * MIB} thin {self.pool.path} 0")
        self._writer = threading.Thread(target=self._write)

    def hang(self) -> None:
        self.meta.witness("suspend", "--noflush", self.meta.name)
        self._writer.start()

    def release(self) -> None:
        self.meta.witness("resume", self.meta.name)
        self._writer.join(60)
        assert not self._writer.is_alive()

    def _write(self) -> None:
        with suppress(OSError):
            self.thin.write_and_flush(0)


@pytest.fixture
def made(bench: Any, loop: Loop, need_target: Need) -> Pool:
    need_target("thin-pool")
    return Pool(bench, loop)


@pytest.fixture
def paths(bench: Any, loop: Loop, need_target: Need) -> Any:
    """A multipath with one path, beside the device that hangs."""
    need_target("multipath")
    path = bench.linear("path", loop(1), MIB)
    return bench.make(
        "multipath", f"0 {MIB} multipath 2 queue_mode bio 0 1 1 round-robin 0 1 1 {path.path} 1"
    )


def workers() -> int:
    """The threads of watchers whose calls may hang."""
    return sum(t.name.startswith("dmwatch-worker") for t in threading.enumerate())


def test_a_pool_whose_metadata_device_is_suspended_is_stuck_until_it_is_resumed(
    made: Pool, paths: Any, watching: Watching
) -> None:
    node = paths.look().status.paths[0].device
    with watching(**QUICK) as watched:
        made.hang()
        told = watched.raised(STUCK, made.pool.name)
        assert (told.severity, told.key, bool(told.advice)) == ("error", None, True)
        before = workers()
        for count in range(1, 4):
            sent = time.monotonic()
            paths.message(FailPath(node))
            watched.raised("multipath.path-failed", paths.name, count=count)
            paths.message(ReinstatePath(node))
            watched.cleared("multipath.path-failed", paths.name, count=count)
            print(f"told beside a hung call within {time.monotonic() - sent:.2f} s")
        # the calls that hang do not become more: one for the pool, one for the volume in it
        assert workers() <= before + 1
        stuck = {step[0] for step in watched.standing() if step[1] == STUCK}
        assert made.pool.name in stuck
        assert stuck <= {made.pool.name, made.thin.name}
        made.release()
        for name in stuck:
            watched.cleared(STUCK, name, reason="healthy")
        assert len(watched.all(STUCK, name=made.pool.name)) == 2


def test_a_watcher_with_calls_that_hang_is_left_at_once(made: Pool, watching: Watching) -> None:
    with watching(**QUICK) as watched:
        made.hang()
        watched.raised(STUCK, made.pool.name)
        took = watched.close()
        made.release()
    assert took < 10
    print(f"left after {took:.2f} s")


def test_a_watcher_that_starts_while_calls_hang_tells_so_and_watches_the_rest(
    made: Pool, paths: Any, watching: Watching
) -> None:
    node = paths.look().status.paths[0].device
    made.hang()
    time.sleep(1)
    with watching(**QUICK) as watched:
        told = watched.raised(STUCK, made.pool.name)
        assert told.initial
        paths.message(FailPath(node))
        assert not watched.raised("multipath.path-failed", paths.name).initial
        made.release()
        watched.cleared(STUCK, made.pool.name, reason="healthy")


def test_a_suspended_era_device_is_not_asked(
    bench: Any, loop: Loop, need_target: Need, watching: Watching
) -> None:
    need_target("era")
    era = bench.make("era", f"0 {4 * MIB} era {loop(4)} {loop(4)} 128")
    at_once = {"device.suspended": {"after": 0}}
    with watching(conditions=at_once, heartbeat=0.5, **QUICK) as w:
        era.witness("suspend", era.name)
        w.raised("device.suspended", era.name)
        time.sleep(1.5)
        assert w.all(STUCK) == []
        era.witness("resume", era.name)
        w.cleared("device.suspended", era.name)
        assert w.all(STUCK) == []


@pytest.mark.skipif(os.environ.get("DMWATCH_LONG") != "1", reason="18 devices: make test-long")
def test_many_calls_that_hang_pin_a_bounded_number_of_threads(
    dm: DeviceMapper, watching: Watching, loop: Loop, need_target: Need, bench: Any
) -> None:
    """Era devices that are suspended between the record's reading and the status: all hang."""
    need_target("era")
    eras = [bench.make("era", f"0 {MIB} era {loop(1)} {loop(1)} 128") for _ in range(18)]
    zero = bench.make("zero", f"0 {MIB} zero")
    before = workers()
    with watching(poll_interval=1.0, status_timeout=2.0) as watched:
        really = watched.watcher._dm.info
        go_blind(watched.watcher._dm)
        try:
            for era in eras:
                dm.suspend(era.name)
            for era in eras[:16]:
                watched.raised(STUCK, era.name)
            # 16 for the devices, 2 for the list
            assert workers() <= before + 18
            dm.load(zero.name, [TargetLine(0, MIB, "error")])
            dm.resume(zero.name)
        finally:
            watched.watcher._dm.info = really
            for era in eras:
                dm.resume(era.name)
        for era in eras:
            if watched.all(STUCK, name=era.name):
                watched.cleared(STUCK, era.name, reason="healthy")
        watched.raised("device.error-target", zero.name)


def go_blind(watching: Any) -> None:
    """Let a watcher's DeviceMapper not see that a device is suspended."""
    well = watching.info

    def info(*arguments: Any, **options: Any) -> Any:
        found = well(*arguments, **options)
        return replace(found, flags=found.flags & ~Flags.SUSPEND)

    watching.info = info
