"""mirror: the same data on several devices, with a log of what is in sync (drivers/md/dm-raid1.c).

Table   `<log> <#log words> <log words> <#legs> (<device> <start>)* [<#features> handle_errors ...]`
Status  `<#legs> (<device>)* <in sync>/<regions> 1 <health> <#log words> <log words>`

The logs stand in drivers/md/dm-log.c and drivers/md/dm-log-userspace-base.c. With handle_errors it
raises an event for the first error of each kind on each leg, and always one when all regions are in
sync and one when the log fails; without handle_errors only reading it shows a failed leg. The event
of a finished sync comes just before the marks of the legs are cleared: it is read until it settles.
It takes no messages.
"""

from dmwatch.targets.base import Notice, Target
from dmwatch.targets.mirror.logs import (
    CoreLog,
    DiskLog,
    MirrorLog,
    MirrorSync,
    OtherLog,
    UserspaceLog,
)
from dmwatch.targets.mirror.text import (
    MirrorHealth,
    MirrorLeg,
    MirrorLegStatus,
    MirrorLogHealth,
    MirrorLogStatus,
    MirrorStatus,
    MirrorTable,
    parse_status,
)
from dmwatch.targets.mirror.watch import CONDITIONS, MOMENTS, moments, observe, parts

__all__ = [
    "TARGET",
    "CoreLog",
    "DiskLog",
    "MirrorHealth",
    "MirrorLeg",
    "MirrorLegStatus",
    "MirrorLog",
    "MirrorLogHealth",
    "MirrorLogStatus",
    "MirrorStatus",
    "MirrorSync",
    "MirrorTable",
    "OtherLog",
    "UserspaceLog",
]

TARGET = Target(
    type="mirror",
    module="dm-mirror",
    since="5.10",
    summary="the same data on several devices, with a log of what is in sync",
    table=MirrorTable.parse,
    status=parse_status,
    tables=(MirrorTable,),
    statuses=(MirrorStatus,),
    observe=observe,
    moments=moments,
    parts=parts,
    conditions=CONDITIONS,
    moment_types=MOMENTS,
    notice=Notice.EVENT,
    settles=True,
)
