"""thin-pool and thin in each of their states."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from dmwatch.dm import DeviceMapper
from dmwatch.severity import Severity
from dmwatch.targets import Seen, find
from dmwatch.targets.thin import ThinFail, ThinTable, ThinTableUnavailable, ThinWorking
from dmwatch.targets.thin_pool import (
    CreateSnap,
    CreateThin,
    DeleteThin,
    PoolMode,
    ReleaseMetadataSnap,
    ReserveMetadataSnap,
    SetTransactionId,
    ThinPoolFail,
    ThinPoolTable,
    ThinPoolWorking,
)
from dmwatch.units import Sectors

Loop = Callable[[float], str]
MIB = 2048
BLOCKS = 16


@pytest.fixture(autouse=True)
def target(need_target: Callable[[str], None]) -> None:
    need_target("thin-pool")


def pool_on(bench: Any, loop: Loop, features: str = "0", metadata_mib: float = 4) -> Any:
    """A pool of 16 blocks of 64 KiB with a low water mark of 4, over devices that can fail."""
    meta = bench.linear("meta", loop(metadata_mib), int(metadata_mib * MIB))
    data = bench.linear("data", loop(2), MIB)
    pool = bench.make("pool", f"0 {MIB} thin-pool {meta.path} {data.path} 128 4 {features}")
    return pool, meta, data


def thin_on(bench: Any, pool: Any, thin_id: int = 0) -> Any:
    pool.message(CreateThin(thin_id))
    return bench.make("thin", f"0 {4 * MIB} thin {pool.path} {thin_id}")


def mode(seen: Seen) -> PoolMode | None:
    return seen.status.mode if isinstance(seen.status, ThinPoolWorking) else None


def test_a_new_pool(bench: Any, loop: Loop) -> None:
    pool, _, _ = pool_on(bench, loop, "2 skip_block_zeroing error_if_no_space")
    seen = pool.look()
    assert isinstance(seen.status, ThinPoolWorking)
    assert (int(seen.status.data_used), int(seen.status.data_total)) == (0, BLOCKS)
    assert seen.status.metadata_low_water is not None
    assert seen.status.extra == ()
    assert mode(seen) is PoolMode.READ_WRITE
    assert isinstance(seen.table, ThinPoolTable)
    assert seen.table.features == ("skip_block_zeroing", "error_if_no_space")
    assert pool.standing() == {}
    bench.again(pool)


def test_thin_volumes(bench: Any, loop: Loop) -> None:
    pool, _, _ = pool_on(bench, loop)
    thin = thin_on(bench, pool)
    assert thin.look().status == ThinWorking(Sectors(0), None)
    thin.write(3, 2)
    assert thin.look().status == ThinWorking(Sectors(256), Sectors(5 * 128 - 1))
    (gauge,) = find("thin").observe(thin.look()).gauges
    assert (gauge.used, gauge.total) == (256, 4 * MIB)
    thin = bench.again(thin)
    bench.drop(thin)
    outside = loop(4)
    other = bench.make("thin", f"0 {4 * MIB} thin {pool.path} 0 {outside}")
    table = other.table()
    assert isinstance(table, ThinTable)
    assert table.origin is not None
    bench.again(other)


def test_messages(bench: Any, loop: Loop) -> None:
    pool, _, _ = pool_on(bench, loop)
    before = pool.seen()
    for message in (CreateThin(0), CreateSnap(1, 0), DeleteThin(0), SetTransactionId(0, 7)):
        pool.message(message)
    assert pool.since(before) == ["thin-pool.transaction"]
    before = pool.look()
    pool.message(ReserveMetadataSnap())
    assert pool.since(before) == ["thin-pool.metadata-snapshot"]
    pool.message(ReleaseMetadataSnap())
    assert pool.since(before) == []


def test_data_space_runs_out_and_comes_back(
    bench: Any,
    loop: Loop,
    parameter: Callable[[str, str, str], None],
    writing: Callable[[Any, int], subprocess.Popen[bytes]],
) -> None:
    pool, _, data = pool_on(bench, loop)
    thin = thin_on(bench, pool)
    thin.write(0, BLOCKS - 4)
    assert pool.standing() == {"thin-pool.low-water": Severity.NOTICE}
    thin.write(BLOCKS - 4, 4)
    parameter("dm_thin_pool", "no_space_timeout", "10")
    writing(thin, BLOCKS)
    waits = pool.until(lambda seen: mode(seen) is PoolMode.OUT_OF_DATA_SPACE)
    full = {
        "thin-pool.out-of-data-space": Severity.CRITICAL,
        "thin-pool.low-water": Severity.NOTICE,
    }
    assert pool.standing() == full
    pool.until(lambda seen: find("thin-pool").moments(waits, seen) != ())
    assert pool.since(waits) == ["thin-pool.no-space-timeout"]
    assert pool.standing() == full

    before = pool.look()
    data.replace(f"0 {2 * MIB} linear {data.text('table')}")
    table = pool.table().format()
    pool.replace(f"0 {2 * MIB} thin-pool {table}")
    assert mode(pool.look()) is PoolMode.READ_WRITE
    assert pool.since(before) == ["thin-pool.resized"]
    assert pool.standing() == {}


def test_a_table_that_asks_for_read_only(bench: Any, loop: Loop) -> None:
    pool, _, _ = pool_on(bench, loop)
    words = pool.table().format().removesuffix(" 0")
    pool.replace(f"0 {MIB} thin-pool {words} 1 read_only")
    assert mode(pool.look()) is PoolMode.READ_ONLY
    assert pool.standing() == {"thin-pool.read-only": Severity.INFO}


def test_metadata_space_runs_out(bench: Any, loop: Loop) -> None:
    pool, _, _ = pool_on(bench, loop, metadata_mib=2)
    with DeviceMapper() as mapper:
        for thin_id in range(1000):
            try:
                mapper.message(pool.name, CreateThin(thin_id).format())
            except OSError:
                break
    seen = pool.look()
    assert mode(seen) is PoolMode.READ_ONLY
    assert seen.status.metadata_used == seen.status.metadata_total
    assert pool.standing() == {"thin-pool.out-of-metadata-space": Severity.CRITICAL}


def test_a_failed_commit_needs_a_check(bench: Any, loop: Loop) -> None:
    pool, meta, _ = pool_on(bench, loop)
    thin = thin_on(bench, pool)
    meta.fail_writes()
    with pytest.raises(OSError, match="Input/output"):
        thin.write_and_flush(0)
    pool.until(lambda seen: mode(seen) is PoolMode.READ_ONLY)
    assert pool.standing() == {
        "thin-pool.read-only": Severity.CRITICAL,
        "thin-pool.needs-check": Severity.ERROR,
    }


def test_a_pool_without_its_metadata_fails(bench: Any, loop: Loop) -> None:
    pool, meta, _ = pool_on(bench, loop)
    thin = thin_on(bench, pool)
    meta.fail()
    with pytest.raises(OSError, match="Input/output"):
        thin.write_and_flush(0)
    seen = pool.until(lambda seen: isinstance(seen.status, ThinPoolFail))
    assert isinstance(seen.table, ThinPoolTable)
    assert pool.standing() == {"thin-pool.failed": Severity.CRITICAL}
    assert thin.look().status == ThinFail()
    assert thin.table() == ThinTableUnavailable("Fail")
    assert thin.standing() == {"thin.failed": Severity.CRITICAL}
