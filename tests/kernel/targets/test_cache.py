"""cache in each of its states."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dmwatch.severity import Severity
from dmwatch.targets import Seen, find
from dmwatch.targets.cache import (
    CacheFail,
    CacheMetadataMode,
    CacheMode,
    CacheTable,
    CacheWorking,
    InvalidateCblocks,
    MigrationThreshold,
    PolicySetting,
)
from dmwatch.units import DataBlocks, Sectors

Loop = Callable[[float], str]
MIB = 2048
SECTORS = 8 * MIB


@pytest.fixture(autouse=True)
def target(need_target: Callable[[str], None]) -> None:
    need_target("cache")


def cache_on(bench: Any, loop: Loop, words: str) -> Any:
    """A cache of 32 blocks of 64 KiB, and its metadata device, which can fail."""
    meta = bench.linear("meta", loop(4), 4 * MIB)
    cache = bench.make("cache", f"0 {SECTORS} cache {meta.path} {loop(2)} {loop(8)} 128 {words}")
    return cache, meta


def dirty(seen: Seen) -> int:
    return int(seen.status.dirty) if isinstance(seen.status, CacheWorking) else -1


def make_dirty(cache: Any) -> Seen:
    """Write until blocks have been promoted: smq takes those that are written again and again."""

    def written(seen: Seen) -> bool:
        if dirty(seen) == 0:
            cache.write(0, 16)
        return dirty(seen) > 0

    seen: Seen = cache.until(written)
    return seen


@pytest.mark.parity("B5")
@pytest.mark.parity(79)
@pytest.mark.parametrize(
    ("words", "mode", "policy"),
    [
        ("0 default 0", CacheMode.WRITEBACK, "smq"),
        ("1 writeback default 2 migration_threshold 4096", CacheMode.WRITEBACK, "smq"),
        ("2 metadata2 writethrough smq 0", CacheMode.WRITETHROUGH, "smq"),
        ("1 passthrough cleaner 0", CacheMode.PASSTHROUGH, "cleaner"),
        ("1 no_discard_passdown mq 2 sequential_threshold 0", CacheMode.WRITEBACK, "mq"),
        ("0 smq 0 and words that the kernel ignores", CacheMode.WRITEBACK, "smq"),
    ],
)
def test_working(bench: Any, loop: Loop, words: str, mode: CacheMode, policy: str) -> None:
    cache, _ = cache_on(bench, loop, words)
    seen = cache.look()
    assert isinstance(seen.table, CacheTable)
    assert isinstance(seen.status, CacheWorking)
    assert seen.table.mode is seen.status.mode is mode
    assert (seen.status.policy, seen.status.extra) == (policy, ())
    assert seen.status.cache_total == DataBlocks(32)
    assert cache.standing() == {}
    bench.again(cache)


def test_messages(bench: Any, loop: Loop) -> None:
    cache, _ = cache_on(bench, loop, "1 passthrough mq 0")
    cache.message(MigrationThreshold(Sectors(100)))
    cache.message(PolicySetting("sequential_threshold", 3))
    cache.message(
        InvalidateCblocks(((DataBlocks(0), DataBlocks(1)), (DataBlocks(4), DataBlocks(9))))
    )
    status = cache.look().status
    assert isinstance(status, CacheWorking)
    assert status.core_settings == (("migration_threshold", "100"),)


def test_dirty_then_clean(bench: Any, loop: Loop) -> None:
    cache, _ = cache_on(bench, loop, "1 writeback smq 0")
    before = make_dirty(cache)
    table = cache.table()
    words = f"{table.metadata} {table.cache} {table.origin} 128"
    cache.replace(f"0 {SECTORS} cache {words} 1 writeback cleaner 0")
    cache.until(lambda seen: dirty(seen) == 0)
    # whether a watcher saw it dirty is chance: what it tells then has its own test
    assert [moment.type for moment in find("cache").moments(before, cache.look())] == [
        "cache.clean"
    ]
    clean = cache.seen()
    cache.replace(f"0 {SECTORS} cache {words} 1 writethrough smq 0")
    assert cache.since(clean) == ["cache.mode-changed"]
    assert cache.standing() == {}


def test_a_failed_commit_needs_a_check(bench: Any, loop: Loop) -> None:
    cache, meta = cache_on(bench, loop, "1 writeback smq 0")
    make_dirty(cache)
    meta.fail_writes()
    with pytest.raises(OSError, match=r"Input/output|Invalid argument"):
        cache.flush()
    seen = cache.until(
        lambda seen: getattr(seen.status, "metadata_mode", None) is CacheMetadataMode.READ_ONLY
    )
    assert seen.status.needs_check
    assert cache.standing() == {
        "cache.read-only": Severity.ERROR,
        "cache.needs-check": Severity.ERROR,
    }


def test_a_cache_without_its_metadata_fails(bench: Any, loop: Loop) -> None:
    cache, meta = cache_on(bench, loop, "1 writeback smq 0")
    make_dirty(cache)
    meta.fail()
    with pytest.raises(OSError, match="Input/output"):
        cache.flush()
    cache.until(lambda seen: isinstance(seen.status, CacheFail))
    assert cache.standing() == {"cache.failed": Severity.CRITICAL}
