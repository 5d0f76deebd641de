"""How many more members of a raid may fail, in the worst case, before data is lost.

raid0 bears none, raid1 all but one, raid4 and raid5 one, raid6 two.

raid10 loses data once all copies of any chunk are gone, so what counts is which members hold
copies of the same chunks (drivers/md/raid10.c, __raid10_find_phys), for n members and c copies:

near    Chunk k stands on the members k*c to k*c+c-1, modulo n. Where c divides n these are groups
        of neighbours; else the groups wrap around and overlap:

            0  1  2  3  4       n=5, c=2: {0 1} {2 3} {4 0} {1 2} {3 4}
            A  A  B  B  C
            C  D  D  E  E

far,    The copies of member d stand on the next c-1 members, within a set of members. How large
offset  the sets are depends on the age of the array's metadata and on raid10_use_near_sets, which
        no status shows: c, n//c or n. The sets of all three are looked at, so that the number
        told is never too high.

A member that is being rebuilt holds no full copy yet and counts as gone; where no member is in
sync the whole set is being resynced and all hold their data. While a reshape runs both layouts
are in use: then all failures are counted into one group.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import gcd

from dmwatch.targets.raid.level import RaidType
from dmwatch.targets.raid.rules import MEMBERS_MAX
from dmwatch.targets.raid.status import RaidLeg, RaidWorking, SyncAction
from dmwatch.targets.raid.table import RaidTable

DEFAULT_COPIES = 2


def redundancy(status: RaidWorking, table: RaidTable | None = None) -> int:
    """Say how many more members may fail; less than 0 where more have failed than it can bear.

    Args:
        status: how it stands now.
        table: its table, for the number of copies of a raid10. Without it two are assumed, the
            fewest that there can be.
    """
    usable = _usable(status.legs)
    gone = usable.count(False)
    match status.raid_type.level:
        case 1:
            return len(usable) - gone - 1
        case 10:
            return _raid10(status, table, usable)
    return status.raid_type.parity - gone


def _usable(legs: tuple[RaidLeg, ...]) -> list[bool]:
    rebuilding = RaidLeg.IN_SYNC in legs
    good = {RaidLeg.IN_SYNC} if rebuilding else {RaidLeg.IN_SYNC, RaidLeg.OUT_OF_SYNC}
    return [leg in good for leg in legs]


def _raid10(status: RaidWorking, table: RaidTable | None, usable: list[bool]) -> int:
    copies = (table.copies if table else None) or DEFAULT_COPIES
    size = len(usable)
    if (
        status.action is SyncAction.RESHAPE
        or status.disks != size
        or copies > size
        or size > MEMBERS_MAX
    ):
        return copies - usable.count(False) - 1
    far = status.raid_type in {RaidType.RAID10_FAR, RaidType.RAID10_OFFSET}
    groups = _far_groups(size, copies) if far else _near_groups(size, copies)
    return min(sum(usable[leg] for leg in group) for group in groups) - 1


def _near_groups(size: int, copies: int) -> Iterator[list[int]]:
    for first in range(0, size, gcd(size, copies)):
        yield [(first + copy) % size for copy in range(copies)]


def _far_groups(size: int, copies: int) -> Iterator[list[int]]:
    for set_size in {copies, max(copies, size // copies), size}:
        for start, length in _far_sets(size, set_size):
            for first in range(length):
                yield [start + (first + copy) % length for copy in range(copies)]


def _far_sets(size: int, set_size: int) -> Iterator[tuple[int, int]]:
    # the last set takes what is left over
    last = (size // set_size - 1) * set_size
    for start in range(0, last, set_size):
        yield start, set_size
    yield last, size - last
