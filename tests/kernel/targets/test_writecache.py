"""writecache: working, full, and failed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from dmwatch.severity import Severity
from dmwatch.targets.writecache import (
    Cleaner,
    ClearStats,
    Flush,
    FlushOnSuspend,
    WritecacheStatus,
    WritecacheTable,
)

Loop = Callable[[float], str]
MIB = 2048
SECTORS = 8 * MIB


@pytest.fixture(autouse=True)
def target(need_target: Callable[[str], None]) -> None:
    need_target("writecache")


def cache_on(bench: Any, loop: Loop, words: str = "0") -> Any:
    """A write cache of 1 MiB, and the devices below it, which can fail."""
    origin = bench.linear("origin", loop(8), SECTORS)
    fast = bench.linear("fast", loop(1), MIB)
    line = f"0 {SECTORS} writecache s {origin.path} {fast.path} 4096 {words}"
    return bench.make("cache", line), origin, fast


LATER = "max_age 100000 cleaner pause_writeback 10"


@pytest.mark.parametrize(
    "words",
    [
        "0",
        "4 high_watermark 60 low_watermark 50",
        f"13 start_sector 8 writeback_jobs 3 autocommit_blocks 9 autocommit_time 7 {LATER}",
    ],
)
def test_working(bench: Any, loop: Loop, words: str) -> None:
    if LATER in words and not has_later_options(bench, loop):
        pytest.skip("this kernel has neither max_age nor pause_writeback")
    cache, _, _ = cache_on(bench, loop, words)
    seen = cache.look()
    assert isinstance(seen.table, WritecacheTable)
    assert isinstance(seen.status, WritecacheStatus)
    assert (seen.status.error, seen.status.extra) == (0, ())
    assert seen.status.blocks == seen.status.free
    assert cache.standing() == {}
    bench.again(cache)


def has_later_options(bench: Any, loop: Loop) -> bool:
    cache, _, _ = cache_on(bench, loop)
    return cache.look().status.reads is not None


def test_messages(bench: Any, loop: Loop) -> None:
    cache, _, _ = cache_on(bench, loop)
    cache.write(0, 4)
    held = cache.look().status
    assert held.free < held.blocks
    cache.message(Flush())
    assert cache.look().status.free == held.blocks
    if held.reads is not None:
        assert cache.look().status.writes > 0
        cache.message(ClearStats())
        assert cache.look().status.writes == 0
    cache.message(FlushOnSuspend())
    cache.message(Cleaner())


def test_full(bench: Any, loop: Loop) -> None:
    cache, origin, _ = cache_on(bench, loop, "4 high_watermark 100 low_watermark 100")
    origin.witness("suspend", "--nolockfs", origin.name)
    try:
        free = int(cache.look().status.free)
        cache.write(0, free // 16)
        cache.write(1024, free % 16, size=4096)
        assert int(cache.look().status.free) == 0
        assert cache.standing() == {"writecache.full": Severity.WARNING}
    finally:
        origin.witness("resume", origin.name)
    cache.until(lambda seen: int(seen.status.free) > 0)
    assert cache.standing() == {}


def test_failed(bench: Any, loop: Loop) -> None:
    cache, _, fast = cache_on(bench, loop)
    cache.write(0)
    fast.fail()
    # data that the fast device refuses is an error of that write alone, the index is the cache's
    with suppress(OSError):
        cache.write(1)
    with pytest.raises(OSError, match="Input/output"):
        cache.flush()
    assert cache.standing() == {"writecache.failed": Severity.CRITICAL}
