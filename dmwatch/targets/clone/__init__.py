"""clone: a copy that can be used while it is being made (drivers/md/dm-clone-target.c).

Table   `<metadata> <destination> <source> <region>[ <#features>[ no_hydration]
        [ no_discard_passdown][ <#settings>[ hydration_threshold <n>][ hydration_batch_size <n>]]]`,
        word for word as it was given
Status  `Fail` | `Error` | `<metadata block> <used>/<total> <region> <hydrated>/<regions>
        <hydrating> <#features> ... <#settings> ... rw|ro|Fail`

A change of the metadata's mode raises an event, and so does the end of the copy, up to a second
after the status shows it; progress does not.
"""

from dmwatch.targets.base import Notice, Target
from dmwatch.targets.clone.messages import (
    MESSAGES,
    DisableHydration,
    EnableHydration,
    HydrationBatchSize,
    HydrationThreshold,
)
from dmwatch.targets.clone.text import (
    CloneError,
    CloneFail,
    CloneMode,
    CloneStatus,
    CloneTable,
    CloneWorking,
    parse_status,
)
from dmwatch.targets.clone.watch import CONDITIONS, MOMENTS, moments, observe

__all__ = [
    "TARGET",
    "CloneError",
    "CloneFail",
    "CloneMode",
    "CloneStatus",
    "CloneTable",
    "CloneWorking",
    "DisableHydration",
    "EnableHydration",
    "HydrationBatchSize",
    "HydrationThreshold",
]

TARGET = Target(
    type="clone",
    module="dm-clone",
    since="5.10",
    summary="a copy that can be used while it is being made",
    table=CloneTable.parse,
    status=parse_status,
    tables=(CloneTable,),
    statuses=(CloneWorking, CloneFail, CloneError),
    messages=MESSAGES,
    observe=observe,
    moments=moments,
    conditions=CONDITIONS,
    moment_types=MOMENTS,
    notice=Notice.EVENT,
)
