"""What targets tell that is more than one condition, through the whole watcher."""

from __future__ import annotations

from typing import Any

import pytest

from dmwatch import TargetLine
from dmwatch.ioctl.abi import Command
from dmwatch.testing import FakeKernel

Fixture = Any

POOL = TargetLine(0, 65536, "thin-pool", "254:0 254:1 128 100 0 ")
POOL_RO = TargetLine(0, 65536, "thin-pool", "254:4 254:5 128 0 1 read_only ")
RAID = TargetLine(0, 32768, "raid", "raid1 3 0 region_size 1024 2 254:0 254:1 254:2 254:3")
MPATH_TEXT = "round-robin 0 2 1 254:0 1 254:1 1 round-robin 0 2 1 254:2 1 254:3 1 "
MPATH = TargetLine(0, 16384, "multipath", f"2 queue_mode bio 0 2 1 {MPATH_TEXT}")
MPATH_Q = TargetLine(0, 16384, "multipath", f"3 queue_if_no_path queue_mode bio 0 2 1 {MPATH_TEXT}")
SNAPSHOT = TargetLine(0, 32768, "snapshot", "254:4 254:5 PO 16")
MERGE = TargetLine(0, 32768, "snapshot-merge", "254:12 254:13 P 16")
MIRROR = TargetLine(
    0, 16384, "mirror", "disk 2 254:2 1024 2 254:4 0 254:5 0 2 handle_errors keep_log"
)
DIGEST = "43afa9a0d3ef4abd8815c0c22974afdcdfc41b20504c30d9269a4faeed57c768"
SALT = "6cb89eca6a7daa6c59e55e8101c8927fe9219851a43ad4a2df07121ff60aa2df"
VERITY = TargetLine(0, 16384, "verity", f"1 254:0 254:1 4096 4096 2048 1 sha256 {DIGEST} {SALT}")
INTEGRITY = TargetLine(0, 32328, "integrity", "254:0 0 4 J 1 internal_hash:crc32c")


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


FULL = pool(512, "116/1024", "out_of_data_space")
RAID_WELL = "raid1 2 AA 32768/32768 idle 0 0 -"


class TestThinPool:
    async def test_one_mode_follows_another(self, kernel: FakeKernel, watch: Fixture) -> None:
        kernel.add("pool", POOL, status=[FULL])
        async with watch(kernel) as watched:
            kernel.set_status("pool", 0, "Fail")
            kernel.raise_event("pool")
            await watched.wait("thin-pool.failed")
            over = watched.all("thin-pool.out-of-data-space", state="cleared")
            assert [event.reason for event in over] == ["superseded"]
            kernel.set_status("pool", 0, pool(64, mode="ro"))
            kernel.raise_event("pool")
            await watched.wait("thin-pool.read-only")
            assert watched.all("thin-pool.failed")[-1].reason == "superseded"

    async def test_the_flip_from_waiting_to_failing_is_a_moment_and_a_change(
        self, kernel: FakeKernel, watch: Fixture
    ) -> None:
        kernel.add("pool", POOL, status=[FULL])
        async with watch(kernel) as watched:
            kernel.set_status("pool", 0, pool(512, "116/1024", "out_of_data_space", "error"))
            kernel.raise_event("pool")
            moment = await watched.wait("thin-pool.no-space-timeout")
            assert (moment.severity, moment.state) == ("critical", None)
            changed = await watched.wait("thin-pool.out-of-data-space", state="changed")
            assert changed.data["no_space"] == "error_if_no_space"

    async def test_usage_that_climbs_changes_rung_by_rung(
        self, kernel: FakeKernel, watch: Fixture
    ) -> None:
        kernel.add("pool", POOL, status=[pool()])
        async with watch(kernel) as watched:
            for used in (410, 420, 461, 487, 512, 505, 500, 481, 465, 405, 398):
                kernel.set_status("pool", 0, pool(used))
                kernel.raise_event("pool")
                await watched.settle()
            told = [
                (e.state, e.severity, e.data["rung"]) for e in watched.all("thin-pool.data-usage")
            ]
            assert told == [
                ("raised", "warning", 80.0),
                ("changed", "warning", 90.0),
                ("changed", "error", 95.0),
                ("changed", "critical", 100.0),
                ("changed", "error", 95.0),
                ("changed", "warning", 90.0),
                ("changed", "warning", 80.0),
                ("cleared", "warning", 80.0),
            ]

    async def test_a_table_that_asks_for_read_only_is_no_failure(
        self, kernel: FakeKernel, watch: Fixture
    ) -> None:
        kernel.add("pool", POOL_RO, status=[pool(0, "113/1024", "ro")])
        async with watch(kernel) as watched:
            assert (await watched.wait("thin-pool.read-only")).severity == "info"

    async def test_moments(self, kernel: FakeKernel, watch: Fixture) -> None:
        kernel.add("pool", POOL, status=[pool()])
        async with watch(kernel) as watched:
            kernel.set_status("pool", 0, pool(transaction=1))
            kernel.raise_event("pool")
            told = await watched.wait("thin-pool.transaction")
            assert told.data == {"before": 0, "after": 1}
            kernel.set_status("pool", 0, pool(transaction=1).replace("/512", "/1024"))
            kernel.raise_event("pool")
            assert (await watched.wait("thin-pool.resized")).data["data_after"] == 1024

    async def test_a_change_of_the_pool_makes_its_volumes_be_read(
        self, kernel: FakeKernel, watch: Fixture
    ) -> None:
        number = kernel.add("pool", POOL, status=[pool()]).number
        inside, outside = (
            TargetLine(0, 8192, "thin", f"{number} 0"),
            TargetLine(0, 8192, "thin", "253:99 0"),
        )
        kernel.add("in", inside, status=["0 -"])
        kernel.add("out", outside, status=["0 -"])
        async with watch(kernel) as watched:
            reads = kernel.count(Command.TABLE_STATUS, "out")
            for name in ("in", "out"):
                kernel.set_status(name, 0, "Fail")
            kernel.set_status("pool", 0, "Fail")
            kernel.raise_event("pool")
            await watched.wait("thin.failed", name="in")
            assert watched.all("thin.failed", name="out") == []
            assert kernel.count(Command.TABLE_STATUS, "out") == reads

    async def test_labels_are_what_lvm_calls_them(self, kernel: FakeKernel, watch: Fixture) -> None:
        kernel.add("vg--x-pool-tpool", POOL, status=["Fail"], uuid="LVM-abc-tpool")
        async with watch(kernel) as watched:
            told = await watched.wait("thin-pool.failed")
            assert told.device is not None
            assert told.device.label.startswith("vg-x/pool")
            assert told.summary.startswith(f"{told.device.label}: ")


class TestSettling:
    async def test_a_raid_is_read_until_it_is_stable(
        self, kernel: FakeKernel, watch: Fixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("dmwatch.monitor.attending.SETTLE_INTERVAL", 0.02)
        kernel.add("md", RAID, status=["raid1 2 aa 6528/32768 resync 0 0 -"])
        async with watch(kernel) as watched:
            kernel.set_status("md", 0, "raid1 2 aa 32768/32768 resync 0 0 -")
            later = [
                "raid1 2 AA 32768/32768 resync 0 0 -",
                "raid1 2 AA 32768/32768 idle 0 0 -",
            ]
            kernel.after(
                Command.TABLE_STATUS,
                lambda: kernel.set_status("md", 0, later.pop(0)),
                times=2,
            )
            kernel.raise_event("md")
            finished = await watched.wait("raid.sync-finished")
            await watched.settle()
            assert finished.data == {"action": "resync"}
            assert [type_ for type_, *_ in watched.steps()] == ["raid.sync-finished"]

    async def test_a_mirror_is_read_until_its_marks_are_cleared(
        self, kernel: FakeKernel, watch: Fixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("dmwatch.monitor.attending.SETTLE_INTERVAL", 0.02)
        kernel.add("m", MIRROR, status=[mirror(3)])
        async with watch(kernel) as watched:
            kernel.set_status("m", 0, mirror(16, "AS"))
            kernel.after(Command.TABLE_STATUS, lambda: kernel.set_status("m", 0, mirror()))
            kernel.raise_event("m")
            await watched.wait("mirror.sync-finished")
            await watched.settle()
            assert [type_ for type_, *_ in watched.steps()] == ["mirror.sync-finished"]

    async def test_what_never_settles_is_told_all_the_same(
        self, kernel: FakeKernel, watch: Fixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("dmwatch.monitor.attending.SETTLE_INTERVAL", 0.01)
        kernel.add("md", RAID, status=[RAID_WELL])
        flicker = ["raid1 2 aD 1/32768 resync 0 0 -", "raid1 2 AD 1/32768 resync 0 0 -"] * 50
        async with watch(kernel) as watched:
            kernel.after(
                Command.TABLE_STATUS,
                lambda: kernel.set_status("md", 0, flicker.pop()),
                times=100,
            )
            kernel.raise_event("md")
            await watched.wait("raid.leg-failed")
            kernel.calm()


class TestMultipath:
    async def test_paths_come_back_one_by_one(self, kernel: FakeKernel, watch: Fixture) -> None:
        kernel.add("mp", MPATH, status=[mpath("FFFF", (1, 1, 1, 1))])
        async with watch(kernel) as watched:
            kernel.set_status("mp", 0, mpath("FFFA", (1, 1, 1, 1)))
            kernel.raise_event("mp")
            await watched.wait("multipath.path-failed", state="cleared", key="254:3")
            assert watched.all("multipath.no-paths")[-1].reason == "healthy"
            assert sorted(key for _, key, _ in watched.standing()) == ["254:0", "254:1", "254:2"]

    async def test_a_path_that_is_taken_out_did_not_heal(
        self, kernel: FakeKernel, watch: Fixture
    ) -> None:
        kernel.add("mp", MPATH, status=[mpath("FAAA", (1, 0, 0, 0))])
        async with watch(kernel) as watched:
            less = TargetLine(
                0, 16384, "multipath", "2 queue_mode bio 0 1 1 round-robin 0 1 1 254:2 1 "
            )
            kernel.swap("mp", less, status=["2 0 0 0 1 1 A 0 1 0 254:2 A 0 "])
            cleared = await watched.wait("multipath.path-failed", state="cleared")
            assert cleared.reason == "part-gone"

    async def test_a_silent_switch_of_groups_is_found(
        self, kernel: FakeKernel, watch: Fixture, choose: Fixture
    ) -> None:
        kernel.add("mp", MPATH, status=[mpath("AAAA")])
        async with watch(kernel, chosen=choose(poll_interval=0.1)) as watched:
            kernel.set_status("mp", 0, mpath("AAAA", current=2))
            told = await watched.wait("multipath.group-switched")
            assert (told.severity, told.data) == ("notice", {"before": 1, "after": 2})

    async def test_queueing_that_is_lost_is_a_change(
        self, kernel: FakeKernel, watch: Fixture, choose: Fixture
    ) -> None:
        kernel.add("mp", MPATH_Q, status=[mpath("FFFF", (1, 1, 1, 1))])
        async with watch(kernel, chosen=choose(poll_interval=0.1)) as watched:
            assert (await watched.wait("multipath.no-paths")).severity == "error"
            live = kernel.device("mp").live
            assert live is not None
            live.lines[0].table = MPATH.text
            assert (
                await watched.wait("multipath.no-paths", state="changed")
            ).severity == "critical"
            await watched.settle()
            assert watched.all("device.table-changed") == []

    async def test_a_path_that_comes_and_goes_is_flapping(
        self, kernel: FakeKernel, watch: Fixture
    ) -> None:
        kernel.add("mp", MPATH, status=[mpath("AAAA")])
        async with watch(kernel) as watched:
            for n in range(1, 6):
                kernel.set_status("mp", 0, mpath("AAAA", (n, 0, 0, 0)))
                kernel.raise_event("mp")
                await watched.settle()
            flapping = watched.all("multipath.path-flapping")
            assert [(e.state, e.key, e.severity) for e in flapping] == [
                ("raised", "254:0", "warning")
            ]


class TestSnapshots:
    async def test_an_overflow_becomes_invalid(self, kernel: FakeKernel, watch: Fixture) -> None:
        kernel.add("snap", SNAPSHOT, status=["3900/4096 32"])
        async with watch(kernel) as watched:
            for status in ("Overflow", "Invalid"):
                kernel.set_status("snap", 0, status)
                kernel.raise_event("snap")
                await watched.settle()
            assert watched.steps() == [
                ("snapshot.usage", None, "raised"),
                ("snapshot.usage", None, "cleared"),
                ("snapshot.overflow", None, "raised"),
                ("snapshot.overflow", None, "cleared"),
                ("snapshot.invalid", None, "raised"),
            ]
            assert [e.reason for e in watched.events if e.reason] == ["superseded", "superseded"]

    async def test_a_merge_that_ends_is_told(
        self, kernel: FakeKernel, watch: Fixture, choose: Fixture
    ) -> None:
        kernel.add("snap", MERGE, status=["1056/16384 32"])
        async with watch(kernel, chosen=choose(poll_interval=0.1)) as watched:
            kernel.set_status("snap", 0, "32/16384 32")
            assert (await watched.wait("snapshot-merge.merge-finished")).severity == "notice"

    async def test_a_merge_that_is_over_before_it_was_seen_at_work_is_told(
        self, kernel: FakeKernel, watch: Fixture, uevents: Fixture
    ) -> None:
        kernel.add("snap", SNAPSHOT, status=["1056/16384 32"])
        async with watch(kernel, uevents=True) as watched:
            kernel.swap("snap", MERGE, status=["32/16384 32"])
            uevents.send(kernel, "change", "snap")
            told = await watched.wait("snapshot-merge.merge-finished")
            assert told.target == "snapshot-merge"
            await watched.settle()
            assert watched.steps() == [
                ("device.table-changed", None, None),
                ("snapshot-merge.merge-finished", None, None),
            ]


class TestVerity:
    async def test_a_corrupted_block_is_told_from_its_uevent(
        self, kernel: FakeKernel, watch: Fixture, uevents: Fixture
    ) -> None:
        kernel.add("root", VERITY, status=["V -"])
        async with watch(kernel, uevents=True) as watched:
            kernel.set_status("root", 0, "C -")
            for block in (7, 8):
                uevents.send(kernel, "change", "root", DM_VERITY_ERR_BLOCK_NR=f"0,{block}")
            await watched.wait("verity.block-corrupted", count=2)
            assert [e.data for e in watched.all("verity.block-corrupted")] == [
                {"kind": "data", "block": 7},
                {"kind": "data", "block": 8},
            ]
            await watched.settle()
            assert watched.steps()[0] == ("verity.corrupted", None, "raised")
            assert len(watched.all("verity.corrupted")) == 1

    async def test_corrected_blocks_are_a_moment(
        self, kernel: FakeKernel, watch: Fixture, choose: Fixture
    ) -> None:
        kernel.add("root", VERITY, status=["V 0"])
        async with watch(kernel, chosen=choose(poll_interval=0.1)) as watched:
            kernel.set_status("root", 0, "V 3")
            assert (await watched.wait("verity.corrected")).data == {"blocks": 3, "total": 3}


class TestIntegrity:
    async def test_its_table_is_never_asked_for(
        self, kernel: FakeKernel, watch: Fixture, choose: Fixture
    ) -> None:
        kernel.add("disk", INTEGRITY, status=["0 32328 0"])
        async with watch(kernel, chosen=choose(poll_interval=0.1)) as watched:
            kernel.set_status("disk", 0, "2 32328 32328")
            await watched.wait("integrity.recalculated")
            await watched.wait("integrity.mismatches")
            asked = [c for c in kernel.calls if c.command is Command.TABLE_STATUS]
            assert asked
            assert not any(c.flags & c.flags.STATUS_TABLE for c in asked)


class TestSeveralLines:
    TWO = (
        TargetLine(0, 4096, "striped", "2 128 254:0 0 254:1 0"),
        TargetLine(4096, 4096, "striped", "2 128 254:0 4096 254:1 4096"),
    )
    WELL, BROKEN = "2 254:0 254:1 1 AA", "2 254:0 254:1 1 AD"

    async def test_each_line_has_its_own_conditions_and_they_heal(
        self, kernel: FakeKernel, watch: Fixture
    ) -> None:
        kernel.add("vol", *self.TWO, status=[self.BROKEN, self.BROKEN])
        async with watch(kernel) as watched:
            assert [key for _, key, _ in watched.standing()] == ["0:1", "4096:1"]
            kernel.set_status("vol", 1, self.WELL)
            kernel.raise_event("vol")
            cleared = await watched.wait("striped.leg-failed", state="cleared")
            assert (cleared.key, cleared.reason) == ("4096:1", "healthy")

    async def test_an_unreadable_line_leaves_the_others_readable(
        self, kernel: FakeKernel, watch: Fixture
    ) -> None:
        kernel.add("vol", *self.TWO, status=["gibberish", self.WELL])
        async with watch(kernel) as watched:
            assert watched.standing() == [("device.status-unreadable", "0", "error")]
            kernel.set_status("vol", 1, self.BROKEN)
            kernel.raise_event("vol")
            assert (await watched.wait("striped.leg-failed")).key == "4096:1"


async def test_one_failure_gives_the_fewest_events_that_tell_it(
    kernel: FakeKernel, watch: Fixture
) -> None:
    number = kernel.add("pool", POOL, status=[pool(487)]).number
    for n in range(3):
        kernel.add(f"vol{n}", TargetLine(0, 8192, "thin", f"{number} {n}"), status=["0 -"])
    async with watch(kernel) as watched:
        first = len(watched.events)
        for n in range(3):
            kernel.set_status(f"vol{n}", 0, "Fail")
        kernel.set_status("pool", 0, "Fail")
        kernel.raise_event("pool", 4)
        await watched.wait("thin.failed", count=3)
        await watched.settle()
        told = watched.steps()[first:] if first else watched.steps()[2:]
        assert sorted(step for step in told if step[2] == "raised") == [
            ("thin-pool.failed", None, "raised"),
            ("thin.failed", None, "raised"),
            ("thin.failed", None, "raised"),
            ("thin.failed", None, "raised"),
        ]
        assert {step for step in told if step[2] != "raised"} == {
            ("thin-pool.data-usage", None, "cleared"),
            ("thin-pool.low-water", None, "cleared"),
        }
        assert watched.all("device.event") == []
