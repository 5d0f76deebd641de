"""raid: levels, syncs, failures, checks, journals, and what its messages do on this kernel."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from dmwatch.severity import Severity
from dmwatch.targets import Seen, find
from dmwatch.targets.raid import (
    Check,
    Frozen,
    Idle,
    RaidJournal,
    RaidLeg,
    RaidTable,
    RaidWorking,
    Repair,
    SyncAction,
)
from dmwatch.targets.raid.options import SPECS

pytestmark = pytest.mark.timeout(300)

Loop = Callable[[float], str]
MIB = 2048
SECTORS = 8 * MIB
KERNEL = tuple(int(part) for part in os.uname().release.split(".")[:2])


@pytest.fixture(autouse=True)
def target(need_target: Callable[[str], None]) -> None:
    need_target("raid")


class Members:
    """The devices of a set, each with a metadata and a data device."""

    def __init__(self, bench: Any, loop: Loop, number: int) -> None:
        space = loop(number * 9)
        self.data = [self._slice(bench, space, f"data{i}", 8 * i, 8) for i in range(number)]
        first = number * 8
        self.metadata = [self._slice(bench, space, f"meta{i}", first + i, 1) for i in range(number)]

    def _slice(self, bench: Any, space: str, stem: str, start: int, length: int) -> Any:
        return bench.make(stem, f"0 {length * MIB} linear {space} {start * MIB}")

    def words(self, number: int | None = None) -> str:
        """The first members, as in a table."""
        pairs = list(zip(self.metadata, self.data, strict=True))[:number]
        return f"{len(pairs)} " + " ".join(f"{m.path} {d.path}" for m, d in pairs)

    def wipe(self) -> None:
        """Forget the set that they were in."""
        for device in self.metadata:
            device.write(0)


@contextmanager
def held(device: Any) -> Iterator[None]:
    """Let its I/O wait meanwhile: a sync that needs it stands still."""
    device.witness("suspend", device.name)
    yield
    device.witness("resume", device.name)


def make(bench: Any, kind: str, options: str, members: str, sectors: int = SECTORS) -> Any:
    number = len(options.split())
    return bench.make("raid", f"0 {sectors} raid {kind} {number} {options} {members}")


def status_of(seen: Seen) -> RaidWorking:
    assert isinstance(seen.status, RaidWorking)
    return seen.status


def idle(seen: Seen) -> bool:
    status = status_of(seen)
    return status.action is SyncAction.IDLE and status.synced


def settled(device: Any) -> RaidWorking:
    """Its status once two looks at an idle set agree."""
    while True:
        first = status_of(device.until(idle))
        if first == device.look().status:
            return first


LEVELS = [
    ("raid0", "128", 2),
    ("raid1", "0 sync write_mostly 1 max_write_behind 256", 3),
    ("raid10", "128 nosync region_size 1024 raid10_copies 2 raid10_format near", 4),
    ("raid10_offset", "128 nosync raid10_format offset", 4),
    ("raid10_far", "128 nosync raid10_format far raid10_use_near_sets", 4),
    ("raid4", "128 nosync min_recovery_rate 100 max_recovery_rate 20000", 3),
    ("raid5_ls", "128 nosync stripe_cache 512 region_size 1024", 3),
    ("raid6_zr", "128 sync", 5),
]


def test_levels(bench: Any, loop: Loop) -> None:
    members = Members(bench, loop, 5)
    for kind, options, number in LEVELS:
        device = again(bench, make(bench, kind, options, members.words(number), 6 * MIB))
        table = device.table()
        assert isinstance(table, RaidTable)
        names = [option.name for option in table.options]
        assert (len(table.members), names) == (number, [w for w in options.split() if w in SPECS])
        status = settled(device)
        assert (status.disks, len(status.legs), status.extra) == (number, number, ())
        assert set(status.legs) == {RaidLeg.IN_SYNC}
        assert status.raid_type.level == table.raid_type.level
        assert device.standing() == {}
        bench.drop(device)
        members.wipe()


def again(bench: Any, device: Any) -> Any:
    """As Bench.again, for a kernel that halves max_write_behind each time that it prints it."""
    text = device.text("table")
    if "max_write_behind" not in text:
        return bench.again(device)
    assert "max_write_behind 128" in text
    line = device.table().line(0, int(device.look().length))
    bench.drop(device)
    made = bench.make("raid", f"0 {line.length} raid {line.text}")
    assert made.text("table") == text.replace("behind 128", "behind 64")
    return made


def test_a_resync_is_told(bench: Any, loop: Loop) -> None:
    members = Members(bench, loop, 2)
    with held(members.data[1]):
        device = make(bench, "raid1", "0", members.words())
        seen = device.until(lambda seen: status_of(seen).action is SyncAction.RESYNC)
        assert set(status_of(seen).legs) == {RaidLeg.OUT_OF_SYNC}
        (progress,) = find("raid").observe(seen).progress
        assert progress.type == "raid.sync-stalled"
        assert device.standing() == {}
        device.seen()
    settled(device)
    assert device.since(seen) == ["raid.sync-finished"]


def test_a_leg_fails_and_another(bench: Any, loop: Loop) -> None:
    members = Members(bench, loop, 3)
    device = make(bench, "raid1", "0 nosync", members.words())
    settled(device)
    for index, (severity, left) in enumerate([(Severity.ERROR, 1), (Severity.CRITICAL, 0)]):
        members.data[index].fail()
        members.metadata[index].fail()
        device.write(index)
        device.until(lambda seen, leg=index: status_of(seen).legs[leg] is RaidLeg.FAILED)
        found = find("raid").observe(device.look()).findings
        assert [f.key for f in found] == [str(leg) for leg in range(index + 1)]
        assert {(f.type, f.severity) for f in found} == {("raid.leg-failed", severity)}
        assert {f.data.redundancy_left for f in found} == {left}
        assert None not in {f.data.device for f in found}


def test_a_leg_is_missing_and_comes_back(bench: Any, loop: Loop) -> None:
    members = Members(bench, loop, 2)
    device = make(bench, "raid1", "0 nosync", members.words())
    settled(device)
    bench.drop(device)
    device = make(bench, "raid1", "0", members.words(1).replace("1 ", "2 ", 1) + " - -")
    assert device.standing() == {"raid.leg-missing": Severity.ERROR}
    device.write(0)
    bench.drop(device)
    with held(members.data[1]):
        device = make(bench, "raid1", "0 rebuild 1", members.words())
        seen = device.until(lambda seen: status_of(seen).action is SyncAction.RECOVER)
        assert status_of(seen).legs == (RaidLeg.IN_SYNC, RaidLeg.OUT_OF_SYNC)
        assert device.standing() == {}
        device.seen()
    settled(device)
    assert device.since(seen) == ["raid.sync-finished"]


def test_raid0_shows_no_failure(bench: Any, loop: Loop) -> None:
    members = Members(bench, loop, 2)
    device = make(bench, "raid0", "128", members.words())
    members.data[1].fail()
    with pytest.raises(OSError, match="Input/output"):
        device.write(0, 2)
    assert set(status_of(device.look()).legs) == {RaidLeg.IN_SYNC}
    assert device.standing() == {}


@pytest.mark.parametrize(
    ("kind", "chunk", "severity"),
    [("raid1", 0, Severity.WARNING), ("raid5_ls", 128, Severity.ERROR)],
)
def test_a_check_finds_mismatches(
    bench: Any, loop: Loop, kind: str, chunk: int, severity: Severity
) -> None:
    members = Members(bench, loop, 3)
    members.data[1].write(0, 2)
    device = make(bench, kind, f"{chunk} nosync", members.words())
    settled(device)
    assert device.standing() == {}
    before = device.seen()
    with held(members.data[1]):
        device.message(Check())
        during = device.until(lambda seen: status_of(seen).action is SyncAction.CHECK)
        assert device.since(before) == ["raid.sync-started"]
    assert settled(device).mismatches
    assert device.since(during) == ["raid.sync-finished"]
    assert device.standing() == {"raid.mismatches": severity}
    device.message(Repair())
    device.until(lambda seen: not status_of(seen).mismatches)
    settled(device)
    assert device.standing() == {}


def test_a_journal_fails(bench: Any, loop: Loop) -> None:
    journal = bench.linear("journal", loop(8), SECTORS)
    members = Members(bench, loop, 3)
    options = f"128 journal_dev {journal.path} journal_mode writethrough"
    device = make(bench, "raid5_ls", options, members.words())
    settled(device)  # to remove it while it resyncs with a journal can hang in the kernel
    device = bench.again(device)
    assert status_of(device.look()).journal is RaidJournal.WRITE_THROUGH
    assert str(device.table().journal) in device.text("table")
    settled(device)
    journal.fail()
    with pytest.raises(OSError, match="Input/output"):
        device.write(0)
    device.until(lambda seen: status_of(seen).journal is RaidJournal.FAILED)
    assert device.standing() == {"raid.journal-failed": Severity.ERROR}


def test_messages(bench: Any, loop: Loop) -> None:
    """Kernels since 6.9 answer EINVAL to frozen and idle, and do not stay frozen."""
    device = make(bench, "raid1", "0 nosync", Members(bench, loop, 2).words())
    settled(device)
    if KERNEL >= (6, 9):
        for message in (Frozen(), Idle()):
            with pytest.raises(AssertionError, match="Invalid argument"):
                device.message(message)
        assert settled(device).action is SyncAction.IDLE
    else:
        device.message(Frozen())
        assert device.standing() == {"raid.frozen": Severity.WARNING}
        device.message(Idle())
        device.until(idle)
    # no kernel knows it
    with pytest.raises(AssertionError, match="Invalid argument"):
        device.witness("message", device.name, "0", "reshape")
    assert device.standing() == {}
