"""Conditions of targets, raised and cleared through the whole watcher with recorded lines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from dmwatch import TargetLine
from dmwatch.testing import FakeKernel

Fixture = Any

POOL = TargetLine(0, 65536, "thin-pool", "254:0 254:1 128 100 0 ")
THIN = TargetLine(0, 262144, "thin", "254:2 0")
RAID = TargetLine(0, 32768, "raid", "raid1 3 0 region_size 1024 2 254:0 254:1 254:2 254:3")
RAID5 = TargetLine(
    0,
    65536,
    "raid",
    "raid5_ls 3 128 region_size 1024 3 254:5 254:6 254:7 254:8 254:9 254:10",
)
MPATH_TEXT = "round-robin 0 2 1 254:0 1 254:1 1 round-robin 0 2 1 254:2 1 254:3 1 "
MPATH = TargetLine(0, 16384, "multipath", f"2 queue_mode bio 0 2 1 {MPATH_TEXT}")
MPATH_Q = TargetLine(0, 16384, "multipath", f"3 queue_if_no_path queue_mode bio 0 2 1 {MPATH_TEXT}")
SNAPSHOT = TargetLine(0, 32768, "snapshot", "254:4 254:5 PO 16")
MERGE = TargetLine(0, 32768, "snapshot-merge", "254:12 254:13 P 16")
MIRROR = TargetLine(
    0, 16384, "mirror", "disk 2 254:2 1024 2 254:4 0 254:5 0 2 handle_errors keep_log"
)
STRIPED = TargetLine(0, 4096, "striped", "2 128 254:0 0 254:1 0")
DIGEST = "43afa9a0d3ef4abd8815c0c22974afdcdfc41b20504c30d9269a4faeed57c768"
SALT = "6cb89eca6a7daa6c59e55e8101c8927fe9219851a43ad4a2df07121ff60aa2df"
VERITY = TargetLine(0, 16384, "verity", f"1 254:0 254:1 4096 4096 2048 1 sha256 {DIGEST} {SALT}")
INTEGRITY = TargetLine(0, 32328, "integrity", "254:0 0 4 J 1 internal_hash:crc32c")
VDO = TargetLine(0, 65536, "vdo", "V4 254:0 1572864 4096 32768 16380")


def pool(  # noqa: PLR0917 - a status has as many fields as it has
    data: int = 64,
    metadata: str = "117/1024",
    mode: str = "rw",
    fate: str = "queue",
    check: str = "-",
    transaction: int = 0,
) -> str:
    what = f"{mode} discard_passdown {fate}_if_no_space {check} 256 "
    return f"{transaction} {metadata} {data}/512 - {what}"


def mpath(states: str, counts: tuple[int, ...] = (0, 0, 0, 0), current: int = 1) -> str:
    one = " ".join(f"254:{n} {states[n]} {counts[n]}" for n in (0, 1))
    two = " ".join(f"254:{n} {states[n]} {counts[n]}" for n in (2, 3))
    groups = ("A", "E") if current == 1 else ("E", "A")
    return f"2 0 0 0 2 {current} {groups[0]} 0 2 0 {one} {groups[1]} 0 2 0 {two} "


def mirror(sync: int = 16, health: str = "AA", log: str = "A") -> str:
    return f"2 254:4 254:5 {sync}/16 1 {health} 3 disk 254:2 {log}"


@dataclass(frozen=True)
class Row:
    """A condition: how it comes about, and what shows that it is over."""

    type: str
    severity: str
    table: TargetLine
    well: str
    broken: str
    key: str | None = None
    reason: str = "healthy"
    data: tuple[tuple[str, Any], ...] = ()


P, M, R = "thin-pool.", "multipath.", "raid."
FULL = pool(512, "116/1024", "out_of_data_space")
RAID_WELL = "raid1 2 AA 32768/32768 idle 0 0 -"
ROWS = [
    Row(P + "data-usage", "warning", POOL, pool(), pool(410), data=(("rung", 80.0),)),
    Row(P + "data-usage", "error", POOL, pool(), pool(487), data=(("used", 487), ("total", 512))),
    Row(P + "data-usage", "critical", POOL, pool(), FULL),
    Row(P + "metadata-usage", "warning", POOL, pool(), pool(metadata="950/1024")),
    Row(P + "low-water", "notice", POOL, pool(), pool(412), data=(("free", 100),)),
    Row(
        P + "out-of-data-space",
        "critical",
        POOL,
        pool(),
        FULL,
        data=(("no_space", "queue_if_no_space"),),
    ),
    Row(P + "out-of-metadata-space", "critical", POOL, pool(), pool(0, "1024/1024", "ro")),
    Row(P + "read-only", "critical", POOL, pool(), pool(mode="ro")),
    Row(P + "needs-check", "error", POOL, pool(), pool(mode="ro", check="needs_check")),
    Row(P + "failed", "critical", POOL, pool(), "Fail"),
    Row(P + "unreadable", "error", POOL, pool(), "Error"),
    Row("thin.failed", "critical", THIN, "8192 8191", "Fail"),
    Row("thin.unreadable", "error", THIN, "8192 8191", "Error"),
    Row(R + "leg-failed", "critical", RAID, RAID_WELL, "raid1 2 AD 32768/32768 idle 0 0 -", "1"),
    Row(R + "leg-missing", "error", RAID, RAID_WELL, "raid1 2 A- 32768/32768 idle 0 0 -", "1"),
    Row(R + "journal-failed", "error", RAID, RAID_WELL, "raid1 2 AA 32768/32768 idle 0 0 D"),
    Row(R + "mismatches", "warning", RAID, RAID_WELL, "raid1 2 AA 32768/32768 idle 128 0 -"),
    Row(
        R + "mismatches",
        "error",
        RAID5,
        "raid5_ls 3 AAA 32768/32768 idle 0 0 -",
        "raid5_ls 3 AAA 32768/32768 idle 8 0 -",
    ),
    Row(M + "path-failed", "warning", MPATH, mpath("AAAA"), mpath("FAAA", (1, 0, 0, 0)), "254:0"),
    Row(M + "no-paths", "critical", MPATH, mpath("AAAA"), mpath("FFFF", (1, 1, 1, 1))),
    Row(M + "no-paths", "error", MPATH_Q, mpath("AAAA"), mpath("FFFF", (1, 1, 1, 1))),
    Row(
        M + "group-disabled",
        "notice",
        MPATH,
        mpath("AAAA"),
        "2 0 0 0 2 1 E 0 2 0 254:0 A 1 254:1 F 1 D 0 2 0 254:2 A 0 254:3 A 0 ",
        "2",
    ),
    Row("snapshot.usage", "warning", SNAPSHOT, "160/4096 32", "3300/4096 32"),
    Row("snapshot.overflow", "error", SNAPSHOT, "160/4096 32", "Overflow"),
    Row("snapshot.invalid", "critical", SNAPSHOT, "160/4096 32", "Invalid"),
    Row("snapshot-merge.merge-failed", "critical", MERGE, "1056/16384 32", "Merge failed"),
    Row("mirror.leg-failed", "error", MIRROR, mirror(), mirror(15, "AD"), "1"),
    Row("mirror.leg-failed", "error", MIRROR, mirror(), mirror(16, "FA"), "0"),
    Row("mirror.leg-failed", "warning", MIRROR, mirror(), mirror(16, "AR"), "1"),
    Row("mirror.leg-failed", "warning", MIRROR, mirror(), mirror(16, "SA"), "0"),
    Row("mirror.all-legs-failed", "critical", MIRROR, mirror(), mirror(16, "DD")),
    Row("mirror.log-failed", "error", MIRROR, mirror(), mirror(log="D")),
    Row("striped.leg-failed", "critical", STRIPED, "2 254:0 254:1 1 AA", "2 254:0 254:1 1 AD", "1"),
    Row("verity.corrupted", "critical", VERITY, "V -", "C -"),
    Row(
        "integrity.mismatches",
        "error",
        INTEGRITY,
        "0 32328 32328",
        "1 32328 32328",
        data=(("count", 1),),
    ),
    Row(
        "vdo.read-only",
        "critical",
        VDO,
        "/dev/ram0 normal - online online 1048998 1572864",
        "/dev/ram0 read-only - online online 1048998 1572864",
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.type}-{row.severity}")
async def test_a_condition_is_raised_and_cleared_once(
    kernel: FakeKernel, watch: Fixture, row: Row
) -> None:
    kernel.add("vol", row.table, status=[row.well])
    async with watch(kernel) as watched:
        assert watched.watcher.conditions() == []
        kernel.set_status("vol", 0, row.broken)
        kernel.raise_event("vol")
        told = await watched.wait(row.type, state="raised")
        await watched.settle()
        assert (told.severity, told.key, told.target) == (row.severity, row.key, row.table.type)
        assert dict(row.data).items() <= told.data.items()
        assert not told.initial
        assert told.summary.startswith("vol: ")
        assert told.advice or told.severity not in {"error", "critical"}
        kernel.set_status("vol", 0, row.well)
        kernel.raise_event("vol")
        cleared = await watched.wait(row.type, state="cleared")
        await watched.settle()
        assert (cleared.reason, cleared.advice) == (row.reason, None)
        assert watched.watcher.conditions() == []
        about_it = [
            state for type_, key, state in watched.steps() if (type_, key) == (row.type, row.key)
        ]
        assert about_it == ["raised", "cleared"]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.type}-{row.severity}")
async def test_a_condition_that_stands_already_is_told_as_initial(
    kernel: FakeKernel, watch: Fixture, row: Row
) -> None:
    kernel.add("vol", row.table, status=[row.broken])
    async with watch(kernel) as watched:
        told = await watched.wait(row.type)
        assert (told.state, told.initial, told.severity) == ("raised", True, row.severity)


@pytest.mark.parametrize(
    "row",
    [row for row in ROWS if not row.type.startswith(("raid", "mirror"))],
    ids=lambda row: f"{row.type}-{row.severity}",
)
async def test_what_raises_no_event_is_found_by_polling(
    kernel: FakeKernel, watch: Fixture, choose: Fixture, row: Row
) -> None:
    kernel.add("vol", row.table, status=[row.well])
    async with watch(kernel, chosen=choose(poll_interval=0.1)) as watched:
        kernel.set_status("vol", 0, row.broken)
        assert (await watched.wait(row.type, state="raised")).severity == row.severity
        kernel.set_status("vol", 0, row.well)
        await watched.wait(row.type, state="cleared")


LATE = [
    Row("raid.frozen", "warning", RAID, RAID_WELL, "raid1 2 AA 32768/32768 frozen 0 0 -"),
    Row("raid.sync-stalled", "warning", RAID, RAID_WELL, "raid1 2 aa 6528/32768 resync 0 0 -"),
    Row("mirror.out-of-sync", "warning", MIRROR, mirror(), mirror(3)),
    Row(
        "vdo.index-offline",
        "warning",
        VDO,
        "/dev/ram0 normal - online online 1048998 1572864",
        "/dev/ram0 normal - offline online 1048998 1572864",
    ),
]


@pytest.mark.parametrize("row", LATE, ids=lambda row: row.type)
async def test_what_routine_work_shows_too_is_told_after_a_while(
    kernel: FakeKernel,
    watch: Fixture,
    choose: Fixture,
    row: Row,
) -> None:
    kernel.add("vol", row.table, status=[row.well])
    async with watch(kernel, chosen=choose({row.type: {"after": "300ms"}})) as watched:
        kernel.set_status("vol", 0, row.broken)
        kernel.raise_event("vol")
        told = await watched.wait(row.type, state="raised")
        assert told.severity == row.severity
        kernel.set_status("vol", 0, row.well)
        kernel.raise_event("vol")
        await watched.wait(row.type, state="cleared")
        assert len(watched.all(row.type)) == 2


@pytest.mark.parametrize("row", LATE, ids=lambda row: row.type)
async def test_what_is_over_in_time_is_not_told(
    kernel: FakeKernel,
    watch: Fixture,
    row: Row,
) -> None:
    kernel.add("vol", row.table, status=[row.well])
    async with watch(kernel) as watched:
        kernel.set_status("vol", 0, row.broken)
        kernel.raise_event("vol")
        await watched.settle()
        kernel.set_status("vol", 0, row.well)
        kernel.raise_event("vol")
        await watched.settle()
        assert watched.all(row.type) == []
