"""Metadata that cannot be read shows once the kernel has to read it: its cache is taken away."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dmwatch.targets.thin_pool import CreateThin

Loop = Callable[[float], str]
Need = Callable[[str], None]
Parameter = Callable[[str, str, str], None]
Watching = Any
MIB = 2048
INTERVAL = 1.0
PATIENCE = 60.0

pytestmark = pytest.mark.timeout(300)


def evict(until: Callable[[], object]) -> None:
    """Have dm-bufio forget what it has read, again and again until something holds."""
    end = time.monotonic() + PATIENCE
    while not until():
        assert time.monotonic() < end, "the kernel keeps what it has read"
        Path("/proc/sys/vm/drop_caches").write_text("2")
        time.sleep(0.2)


def test_a_volume_whose_mappings_cannot_be_read(
    bench: Any, loop: Loop, need_target: Need, parameter: Parameter, watching: Watching
) -> None:
    need_target("thin-pool")
    meta = bench.linear("meta", loop(4), 4 * MIB)
    words = f"{meta.path} {loop(8)} 128 0 1 skip_block_zeroing"
    pool = bench.make("pool", f"0 {8 * MIB} thin-pool {words}")
    pool.message(CreateThin(0))
    thin = bench.make("thin", f"0 {8 * MIB} thin {pool.path} 0")
    thin.write(0)
    pool.witness("status", pool.name)  # without --noflush: it commits
    below = meta.text("table")
    parameter("dm_bufio", "retain_bytes", "0")
    with watching(poll_interval=INTERVAL) as watched:
        meta.fail()
        evict(lambda: watched.all("thin.unreadable", name=thin.name))
        told = watched.raised("thin.unreadable", thin.name)
        assert (told.severity, told.key, bool(told.advice)) == ("error", None, True)
        assert thin.text("status") == "Error"
        meta.replace(f"0 {4 * MIB} linear {below}", "--noflush", "--nolockfs")
        watched.cleared("thin.unreadable", thin.name, reason="healthy")
        print(watched.story(pool.name), watched.story(thin.name))
