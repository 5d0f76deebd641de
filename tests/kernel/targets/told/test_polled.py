"""What raises no event is found by the next poll: here one a second."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from dmwatch import DeviceMapper
from dmwatch.targets.era import Checkpoint, DropMetadataSnap, TakeMetadataSnap
from dmwatch.targets.thin_pool import CreateThin

Loop = Callable[[float], str]
Need = Callable[[str], None]
Watching = Any
MIB = 2048
INTERVAL = 2.0
# Emulation is slow: the time that reading and telling may take beside the poll itself.
SLACK = 10.0

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def watch(watching: Watching) -> Any:
    """watch(type=rungs, ...): a Watched that polls, with these rungs in percent."""

    @contextmanager
    def polled(**rungs: dict[str, Any]) -> Iterator[Any]:
        with watching(poll_interval=INTERVAL, conditions=rungs) as watched:
            yield watched

    return polled


def rungs(*percents: float) -> dict[str, Any]:
    steps = [{"at": at, "severity": "warning"} for at in percents]
    return {"rungs": steps, "hysteresis": 0}


def in_time(event: Any, since: float) -> None:
    assert event.time.timestamp() - since <= INTERVAL + SLACK


def test_a_snapshot_fills_up_and_overflows(
    bench: Any, loop: Loop, need_target: Need, watching: Watching
) -> None:
    need_target("snapshot")
    below = loop(4)
    bench.make("origin", f"0 {4 * MIB} snapshot-origin {below}")
    snapshot = bench.make("snapshot", f"0 {4 * MIB} snapshot {below} {loop(1)} PO 16")
    with watching(poll_interval=INTERVAL) as watched:
        begun = time.time()
        snapshot.write(0, 15)
        told = watched.raised("snapshot.usage", snapshot.name)
        in_time(told, begun)
        assert (told.severity, told.data["total"], told.data["rung"]) == ("error", MIB, 95.0)
        assert told.data["used"] == int(snapshot.look().status.allocated)
        begun = time.time()
        with pytest.raises(OSError, match="Input/output"):
            snapshot.write(15, 10)
        over = watched.raised("snapshot.overflow", snapshot.name)
        in_time(over, begun)
        assert over.severity == "error"
        watched.cleared("snapshot.usage", snapshot.name, reason="superseded")
        # merging it away is not possible any more: it is made anew, empty
        snapshot.witness("suspend", snapshot.name)
        snapshot.witness("load", snapshot.name, "--table", f"0 {4 * MIB} linear {below} 0")
        snapshot.witness("resume", snapshot.name)
        watched.cleared("snapshot.overflow", snapshot.name, reason="part-gone")


def test_a_write_cache_whose_device_fails(
    bench: Any, loop: Loop, need_target: Need, watching: Watching
) -> None:
    need_target("writecache")
    fast = bench.linear("fast", loop(1), MIB)
    cache = bench.make("cache", f"0 {8 * MIB} writecache s {loop(8)} {fast.path} 4096 0")
    with watching(poll_interval=INTERVAL) as watched:
        cache.write(0)
        fast.fail()
        begun = time.time()
        with suppress(OSError):
            cache.write(1)
        with pytest.raises(OSError, match="Input/output"):
            cache.flush()
        told = watched.raised("writecache.failed", cache.name)
        in_time(told, begun)
        assert (told.severity, told.event_nr) == ("critical", 0)
        bench.drop(cache)
        watched.cleared("writecache.failed", cache.name, reason="device-removed")


def test_an_era_device_uses_up_its_metadata_and_cannot_read_it(
    bench: Any, loop: Loop, need_target: Need, watch: Any
) -> None:
    need_target("era")
    meta = bench.linear("meta", loop(4), 4 * MIB)
    era = bench.make("era", f"0 {4 * MIB} era {meta.path} {loop(4)} 128")
    total = int(era.look().status.metadata_total)
    used = int(era.look().status.metadata_used)
    between = 100 * (used + 0.5) / total
    with watch(**{"era.metadata-usage": rungs(between)}) as watched:
        era.message(TakeMetadataSnap())
        era.message(Checkpoint())
        told = watched.raised("era.metadata-usage", era.name)
        assert told.data["used"] > used
        assert (told.data["total"], told.severity) == (total, "warning")
        watched.wait("era.era-advanced", name=era.name)
        era.message(DropMetadataSnap())
        era.message(Checkpoint())
        watched.cleared("era.metadata-usage", era.name, reason="healthy")
        meta.fail()
        with pytest.raises(AssertionError, match="Input/output"):
            era.message(TakeMetadataSnap())
        assert watched.raised("era.unreadable", era.name).severity == "error"


def test_the_usage_of_a_thin_volume_where_it_is_asked_for(
    bench: Any, loop: Loop, need_target: Need, watch: Any
) -> None:
    need_target("thin-pool")
    places = f"{loop(4)} {loop(4)}"
    words = f"{places} 128 0 1 skip_block_zeroing"
    pool = bench.make("pool", f"0 {4 * MIB} thin-pool {words}")
    pool.message(CreateThin(0))
    thin = bench.make("thin", f"0 {MIB} thin {pool.path} 0")
    with watch(**{"thin.usage": rungs(50)}) as watched:
        thin.write(0, 8)
        told = watched.raised("thin.usage", thin.name)
        assert told.data == {"used": MIB // 2, "total": MIB, "percent": 50.0, "rung": 50.0}
        subprocess.run(["blkdiscard", "-o", "0", "-l", "65536", thin.path], check=True)
        watched.cleared("thin.usage", thin.name, reason="healthy")


def test_the_usage_of_a_pools_metadata(
    bench: Any, loop: Loop, dm: DeviceMapper, need_target: Need, watch: Any
) -> None:
    need_target("thin-pool")
    places = f"{loop(2)} {loop(4)}"
    pool = bench.make("pool", f"0 {4 * MIB} thin-pool {places} 128 0 1 skip_block_zeroing")
    before = pool.look().status
    used, total = int(before.metadata_used), int(before.metadata_total)
    with watch(**{"thin-pool.metadata-usage": rungs(100 * (used + 20.5) / total)}) as watched:
        for thin_id in range(30):
            dm.message(pool.name, CreateThin(thin_id).format())
        told = watched.raised("thin-pool.metadata-usage", pool.name)
        assert (told.data["total"], told.data["used"] > used) == (total, True)
        for thin_id in range(30):
            dm.message(pool.name, f"delete {thin_id}")
        # what a transaction frees shows once it is committed
        pool.witness("suspend", pool.name)
        pool.witness("resume", pool.name)
        watched.cleared("thin-pool.metadata-usage", pool.name, reason="healthy")


def test_a_verity_device_with_a_block_that_is_corrupted(
    bench: Any, loop: Loop, need_target: Need, watching: Watching
) -> None:
    need_target("verity")
    data, hashes = loop(1), loop(1)
    line = formatted(data, hashes)
    verity = bench.make("verity", line, "--readonly")
    with watching(poll_interval=INTERVAL) as watched:
        overwrite(data, 17)
        begun = time.time()
        assert read(verity.path, 17) != 0
        block = watched.wait("verity.block-corrupted", name=verity.name)
        assert (block.severity, block.data) == ("critical", {"kind": "data", "block": 17})
        told = watched.raised("verity.corrupted", verity.name)
        in_time(told, begun)
        assert told.severity == "critical"
        bench.drop(verity)
        watched.cleared("verity.corrupted", verity.name, reason="device-removed")


def formatted(data: str, hashes: str, *arguments: str) -> str:
    """The line of a table for what veritysetup made of the data."""
    command = ["veritysetup", "format", data, hashes, *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    said = dict(re.findall(r"^([A-Za-z ]+):\s+(\S+)$", done.stdout, re.MULTILINE))
    blocks = int(said["Data blocks"])
    words = f"1 {data} {hashes} 4096 4096 {blocks} 1 {said['Hash algorithm']}"
    return f"0 {blocks * 8} verity {words} {said['Root hash']} {said['Salt']}"


def overwrite(path: str, block: int) -> None:
    command = ["dd", "if=/dev/urandom", f"of={path}", "bs=4k", f"seek={block}", "count=1"]
    subprocess.run([*command, "oflag=direct"], check=True, capture_output=True, timeout=60)


def read(path: str, block: int) -> int:
    command = ["dd", f"if={path}", "of=/dev/null", "bs=4k", f"skip={block}", "count=1"]
    done = subprocess.run([*command, "iflag=direct"], check=False, capture_output=True, timeout=60)
    return done.returncode


def test_a_verity_device_that_corrects_a_block(
    bench: Any, loop: Loop, need_target: Need, watching: Watching
) -> None:
    need_target("verity")
    data, hashes, parity = loop(1), loop(1), loop(1)
    line = formatted(data, hashes, f"--fec-device={parity}", "--fec-roots=2")
    fec = f"use_fec_from_device {parity} fec_blocks 511 fec_start 0 fec_roots 2"
    if os.uname().release.startswith("5.10."):
        # Debian built it without CONFIG_DM_VERITY_FEC
        with pytest.raises(AssertionError, match="Invalid argument"):
            bench.make("verity", f"{line} 8 {fec}", "--readonly")
        return
    verity = bench.make("verity", f"{line} 8 {fec}", "--readonly")
    counts = getattr(verity.look().status, "corrected", None) is not None
    with watching(poll_interval=INTERVAL) as watched:
        overwrite(data, 9)
        assert read(verity.path, 9) == 0
        if counts:
            told = watched.wait("verity.corrected", name=verity.name)
            assert (told.severity, told.state) == ("warning", None)
        assert watched.all("verity.corrupted") == []


def test_integrity_counts_mismatches_and_ends_its_recalculation(
    bench: Any, loop: Loop, need_target: Need, watching: Watching
) -> None:
    need_target("integrity")
    below = loop(4)
    plain = f"{below} 0 4 D 1 internal_hash:crc32c"
    words = f"{below} 0 4 D 2 recalculate internal_hash:crc32c"
    device = bench.make("integrity", f"0 8 integrity {plain}")
    size = int(device.look().status.provided)
    with watching(poll_interval=INTERVAL) as watched:
        device.replace(f"0 {size} integrity {words}")
        watched.wait("integrity.recalculated", name=device.name)
        overwrite(below, 4 * 256 - 2)
        begun = time.time()
        assert read(device.path, size // 8 - 2) != 0 or read(device.path, size // 8 - 1) != 0
        told = watched.raised("integrity.mismatches", device.name)
        in_time(told, begun)
        assert told.severity == "error"
        assert told.data["count"] >= 1
        device.replace(f"0 {size} integrity {words}")
        watched.cleared("integrity.mismatches", device.name, reason="healthy")


def test_a_log_of_writes_that_is_full(
    bench: Any, loop: Loop, need_target: Need, watching: Watching
) -> None:
    need_target("log-writes")
    device = bench.make("log", f"0 {2 * MIB} log-writes {loop(2)} {loop(1)}")
    with watching(poll_interval=INTERVAL) as watched:
        device.write(0, 30)
        device.flush()
        assert watched.raised("log-writes.logging-disabled", device.name).severity == "error"
        bench.drop(device)
        watched.cleared("log-writes.logging-disabled", device.name, reason="device-removed")


def test_a_raid_whose_sync_does_not_get_on(
    bench: Any, loop: Loop, need_target: Need, watching: Watching
) -> None:
    need_target("raid")
    space = loop(18)
    size = 8 * MIB
    data = [bench.make("data", f"0 {size} linear {space} {i * size}") for i in range(2)]
    meta = [bench.make("meta", f"0 {MIB} linear {space} {2 * size + i * MIB}") for i in range(2)]
    words = " ".join(f"{m.path} {d.path}" for m, d in zip(meta, data, strict=True))
    raid = bench.make("raid", f"0 {size} raid raid1 2 0 nosync 2 {words}")
    raid.until(lambda seen: seen.status.action == "idle")
    after = {"raid.sync-stalled": {"after": 4}}
    with watching(poll_interval=1.0, conditions=after) as watched:
        data[1].witness("suspend", data[1].name)
        begun = time.time()
        raid.witness("message", raid.name, "0", "check")
        told = watched.raised("raid.sync-stalled", raid.name)
        assert told.severity == "warning"
        assert told.time.timestamp() - begun >= 4
        data[1].witness("resume", data[1].name)
        watched.cleared("raid.sync-stalled", raid.name, reason="healthy")
        steps = [(e.type, e.data["action"]) for e in watched.events if "sync-" in e.type and e.data]
        assert steps[0] == ("raid.sync-started", "check")


def test_dirty_blocks_of_a_cache_where_they_are_asked_for(
    bench: Any, loop: Loop, need_target: Need, watch: Any
) -> None:
    need_target("cache")
    places = f"{loop(4)} {loop(2)} {loop(8)}"
    cache = bench.make("cache", f"0 {8 * MIB} cache {places} 128 1 writeback smq 0")
    usage = {"cache.dirty": rungs(1), "cache.metadata-usage": rungs(0.1)}
    with watch(**usage) as watched:
        assert watched.raised("cache.metadata-usage", cache.name).initial
        deadline = time.monotonic() + 60
        # an idle cache cleans itself: it is kept busy until the watcher has looked
        while not watched.all("cache.dirty", name=cache.name):
            assert time.monotonic() < deadline
            cache.write(0, 16)
        told = watched.raised("cache.dirty", cache.name)
        assert told.data["total"] == 32
        cache.replace(f"0 {8 * MIB} cache {places} 128 1 writeback cleaner 0")
        watched.cleared("cache.dirty", cache.name, reason="healthy")
        watched.wait("cache.clean", name=cache.name)
        bench.drop(cache)
        watched.cleared("cache.metadata-usage", cache.name, reason="device-removed")
