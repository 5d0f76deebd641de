"""raid, mirror, striped, multipath: round trips, and what a raid10 bears against a model of md."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from dmwatch.names import DeviceNumber
from dmwatch.targets import find
from dmwatch.targets.mirror import (
    CoreLog,
    DiskLog,
    MirrorLeg,
    MirrorLog,
    MirrorSync,
    MirrorTable,
    UserspaceLog,
)
from dmwatch.targets.multipath import MultipathGroup, MultipathPath, MultipathTable
from dmwatch.targets.raid import (
    RaidLeg,
    RaidMember,
    RaidOption,
    RaidTable,
    RaidType,
    RaidWorking,
    SyncAction,
    redundancy,
)
from dmwatch.targets.striped import StripedLeg, StripedTable
from dmwatch.targets.words import U32_MAX, U64_MAX
from dmwatch.units import Sectors

sectors = st.integers(0, U64_MAX).map(Sectors)
paths = st.from_regex(r"/dev/[a-zA-Z0-9_.:+-]{1,20}", fullmatch=True)
numbers = st.builds(DeviceNumber, st.integers(0, 4095), st.integers(0, (1 << 20) - 1))
devices = st.one_of(numbers, paths)
words = st.from_regex(r"[a-z0-9_=:-]{1,12}", fullmatch=True)

striped = st.builds(
    StripedTable,
    st.integers(1, U32_MAX).map(Sectors),
    st.lists(st.builds(StripedLeg, devices, sectors), min_size=1, max_size=9).map(tuple),
)

regions = st.integers(1, 31).map(lambda exponent: Sectors(1 << exponent))
syncs = st.none() | st.sampled_from(MirrorSync)
logs: st.SearchStrategy[MirrorLog] = st.one_of(
    st.builds(CoreLog, regions, syncs),
    st.builds(DiskLog, devices, regions, syncs),
    st.builds(UserspaceLog, words, st.lists(words, min_size=2, max_size=5).map(tuple)),
)
mirrors = st.builds(
    MirrorTable,
    logs,
    st.lists(st.builds(MirrorLeg, devices, sectors), min_size=2, max_size=9).map(tuple),
    st.sampled_from([(), ("handle_errors",), ("handle_errors", "keep_log")]),
)

SELECTORS = {"round-robin": 1, "queue-length": 1, "historical-service-time": 1, "of-tomorrow": 3}


@st.composite
def groups(draw: st.DrawFn) -> MultipathGroup:
    selector = draw(st.sampled_from(list(SELECTORS)))
    each = draw(st.integers(0, SELECTORS[selector]))
    arguments = st.lists(st.integers(0, U32_MAX).map(str), min_size=each, max_size=each).map(tuple)
    members = st.lists(st.builds(MultipathPath, devices, arguments), min_size=1, max_size=4)
    return MultipathGroup(selector, draw(members.map(tuple)))


@st.composite
def multipaths(draw: st.DrawFn) -> MultipathTable:
    found = draw(st.lists(groups(), max_size=4).map(tuple))
    features = [
        draw(st.sampled_from([(), ("queue_if_no_path",)])),
        draw(st.sampled_from([(), ("pg_init_retries", "50")])),
        draw(st.sampled_from([(), ("queue_mode", "bio"), ("QUEUE_MODE", "rq")])),
    ]
    ordered = draw(st.permutations(features))
    first = draw(st.integers(1, 1024)) if found else 0
    handler = draw(st.lists(words, max_size=3).map(tuple))
    return MultipathTable(found, first, tuple(w for part in ordered for w in part), handler)


OPTIONS: dict[int, list[RaidOption]] = {
    0: [RaidOption("data_offset", 2048)],
    1: [RaidOption("write_mostly", 1), RaidOption("max_write_behind", 256)],
    4: [RaidOption("journal_dev", "/dev/journal")],
    5: [RaidOption("stripe_cache", 512), RaidOption("delta_disks", -2)],
    6: [RaidOption("min_recovery_rate", 1), RaidOption("data_offset", 0)],
    10: [RaidOption("raid10_copies", 2), RaidOption("raid10_format", "near")],
}


@st.composite
def raids(draw: st.DrawFn) -> RaidTable:
    kind = draw(st.sampled_from(RaidType))
    chunk = 0 if kind is RaidType.RAID1 else 1 << draw(st.integers(3, 20))
    members = st.builds(RaidMember, st.none() | devices, devices) | st.just(RaidMember(None, None))
    some = draw(st.lists(members, min_size=max(2, kind.parity + 1), max_size=9).map(tuple))
    chosen = draw(st.permutations(OPTIONS[kind.level]))
    return RaidTable(kind, Sectors(chunk), some, tuple(chosen[: draw(st.integers(0, 2))]))


@given(st.one_of(striped, mirrors, multipaths(), raids()))
def test_round_trip(
    table: StripedTable | MirrorTable | MultipathTable | RaidTable,
) -> None:
    assert find(table.type).table(table.format()) == table


# What a raid10 bears


def near_copies(members: int, copies: int) -> set[frozenset[int]]:
    """For each chunk the members that hold it, as md lays them out."""
    chunks = range(members * copies)
    return {
        frozenset((chunk * copies + copy) % members for copy in range(copies)) for chunk in chunks
    }


def far_copies(members: int, copies: int, set_size: int) -> set[frozenset[int]]:
    """The same for far and offset, whose copies turn round within sets of members."""
    last = (members // set_size - 1) * set_size
    found = set()
    for first in range(members):
        start, length = (last, members - last) if first >= last else (first, set_size)
        start -= 0 if first >= last else first % set_size
        found.add(frozenset(start + (first - start + c) % length for c in range(copies)))
    return found


def bears(layout: set[frozenset[int]], members: int, failed: set[int]) -> int:
    """How many more may fail whichever they are: by trying all; -1 where data is gone already."""
    if any(holders <= failed for holders in layout):
        return -1
    left = [leg for leg in range(members) if leg not in failed]
    for more in range(1, len(left) + 1):
        for choice in combinations(left, more):
            if any(holders <= failed | set(choice) for holders in layout):
                return more - 1
    return len(left)


@st.composite
def arrays(draw: st.DrawFn) -> tuple[int, int, set[int]]:
    members = draw(st.integers(2, 8))
    copies = draw(st.integers(2, members))
    return members, copies, draw(st.sets(st.integers(0, members - 1)))


def told(kind: RaidType, members: int, copies: int, failed: set[int]) -> int:
    legs = tuple(RaidLeg.FAILED if leg in failed else RaidLeg.IN_SYNC for leg in range(members))
    nothing = Sectors(0)
    status = RaidWorking(kind, members, legs, nothing, nothing, SyncAction.IDLE)
    options = (RaidOption("raid10_copies", copies),)
    return redundancy(status, RaidTable(kind, Sectors(64), (), options))


@given(arrays())
def test_near_is_exact(array: tuple[int, int, set[int]]) -> None:
    members, copies, failed = array
    expected = bears(near_copies(members, copies), members, failed)
    assert told(RaidType.RAID10, members, copies, failed) == expected


@given(arrays(), st.sampled_from([RaidType.RAID10_FAR, RaidType.RAID10_OFFSET]))
def test_far_is_never_too_high(array: tuple[int, int, set[int]], kind: RaidType) -> None:
    members, copies, failed = array
    sizes = {copies, members, max(copies, members // copies)}
    expected = [bears(far_copies(members, copies, size), members, failed) for size in sizes]
    assert told(kind, members, copies, failed) == min(expected)
