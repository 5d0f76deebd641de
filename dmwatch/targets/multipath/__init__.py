"""multipath: several paths to one device, in groups (drivers/md/dm-mpath.c).

Table   `<#features> ... <#handler> ... <#groups> <first group>
        (<selector> <#arguments> ... <#paths> <#path arguments> (<device> <path arguments>)*)*`
Status  `2 <queues> <pg_init count> 0 <#groups> <current group>
        ((A|D|E) <#info> ... <#paths> <#path info> (<device> (A|F) <failures> <path info>)*)*`

Raising an event (and a uevent): a path that fails or comes back, a group that is disabled or
enabled, switch_group. Silent: a switch that the kernel makes by itself, and whether I/O waits where
no path is left (queue_if_no_path), which stands in the table alone and is not printed there while
the device is suspended.
"""

from dmwatch.targets.base import Notice, Target
from dmwatch.targets.multipath.messages import (
    MESSAGES,
    DisableGroup,
    EnableGroup,
    FailIfNoPath,
    FailPath,
    QueueIfNoPath,
    ReinstatePath,
    SwitchGroup,
)
from dmwatch.targets.multipath.status import (
    GroupState,
    MultipathGroupStatus,
    MultipathPathStatus,
    MultipathStatus,
    PathState,
    parse_status,
)
from dmwatch.targets.multipath.table import MultipathGroup, MultipathPath, MultipathTable
from dmwatch.targets.multipath.watch import CONDITIONS, MOMENTS, moments, observe, parts

__all__ = [
    "TARGET",
    "DisableGroup",
    "EnableGroup",
    "FailIfNoPath",
    "FailPath",
    "GroupState",
    "MultipathGroup",
    "MultipathGroupStatus",
    "MultipathPath",
    "MultipathPathStatus",
    "MultipathStatus",
    "MultipathTable",
    "PathState",
    "QueueIfNoPath",
    "ReinstatePath",
    "SwitchGroup",
]

TARGET = Target(
    type="multipath",
    module="dm-multipath",
    since="5.10",
    summary="several paths to one device, in groups",
    table=MultipathTable.parse,
    status=parse_status,
    tables=(MultipathTable,),
    statuses=(MultipathStatus,),
    messages=MESSAGES,
    observe=observe,
    moments=moments,
    parts=parts,
    conditions=CONDITIONS,
    moment_types=MOMENTS,
    notice=Notice.EVENT,
    wants_table=True,
)
