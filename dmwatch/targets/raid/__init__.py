"""raid: the RAID levels of md under device-mapper (drivers/md/dm-raid.c).

Table   `<type> <#words> <chunk> [options] <#members> ((<metadata>|-) (<data>|-))*`
Status  `<type> <disks> <health> <done>/<total> <action> <mismatches> <data offset> <journal>`

Raising an event: a member that fails, and the end of any sync, finished or not. Silent: the start
of a sync, its progress, and every failure of raid0, whose status never shows one. The event comes
before md has settled: it is read again until two looks agree.
"""

from dmwatch.targets.base import Notice, Target
from dmwatch.targets.raid.level import RaidType
from dmwatch.targets.raid.messages import MESSAGES, Check, Frozen, Idle, Recover, Repair, Resync
from dmwatch.targets.raid.redundancy import redundancy
from dmwatch.targets.raid.status import (
    RaidBlank,
    RaidJournal,
    RaidLeg,
    RaidStatus,
    RaidWorking,
    SyncAction,
    parse_status,
)
from dmwatch.targets.raid.table import RaidMember, RaidOption, RaidTable
from dmwatch.targets.raid.watch import CONDITIONS, MOMENTS, moments, observe, parts

__all__ = [
    "TARGET",
    "Check",
    "Frozen",
    "Idle",
    "RaidBlank",
    "RaidJournal",
    "RaidLeg",
    "RaidMember",
    "RaidOption",
    "RaidStatus",
    "RaidTable",
    "RaidType",
    "RaidWorking",
    "Recover",
    "Repair",
    "Resync",
    "SyncAction",
    "redundancy",
]

TARGET = Target(
    type="raid",
    module="dm-raid",
    since="5.10",
    summary="the RAID levels of md",
    table=RaidTable.parse,
    status=parse_status,
    tables=(RaidTable,),
    statuses=(RaidWorking, RaidBlank),
    messages=MESSAGES,
    observe=observe,
    moments=moments,
    parts=parts,
    conditions=CONDITIONS,
    moment_types=MOMENTS,
    notice=Notice.EVENT,
    wants_table=True,
    settles=True,
)
