"""thin-pool: a pool of data blocks that thin volumes share (drivers/md/dm-thin.c).

Table   `<meta> <data> <block> <low water> <#features> [skip_block_zeroing] ...`
Status  `Fail` | `Error` |
        `<transaction> <metadata used>/<total> <data used>/<total> <held root|-> <mode>
        <discard> <no space> <needs_check|-> <metadata low water>`

Mode changes and the low water mark raise events; usage does not, and with metadata of 40 MiB and
more the pool goes read-only before its metadata low-water event comes: so usage is polled. `ro`
stands for two modes: out of metadata space (all of it used, no check needed) and read-only.
"""

from dmwatch.targets.base import Notice, Target
from dmwatch.targets.thin_pool.messages import (
    MESSAGES,
    CreateSnap,
    CreateThin,
    DeleteThin,
    ReleaseMetadataSnap,
    ReserveMetadataSnap,
    SetTransactionId,
)
from dmwatch.targets.thin_pool.text import (
    Discard,
    NoSpace,
    PoolMode,
    ThinPoolError,
    ThinPoolFail,
    ThinPoolStatus,
    ThinPoolTable,
    ThinPoolWorking,
    parse_status,
)
from dmwatch.targets.thin_pool.watch import CONDITIONS, MOMENTS, moments, observe

__all__ = [
    "TARGET",
    "CreateSnap",
    "CreateThin",
    "DeleteThin",
    "Discard",
    "NoSpace",
    "PoolMode",
    "ReleaseMetadataSnap",
    "ReserveMetadataSnap",
    "SetTransactionId",
    "ThinPoolError",
    "ThinPoolFail",
    "ThinPoolStatus",
    "ThinPoolTable",
    "ThinPoolWorking",
]

TARGET = Target(
    type="thin-pool",
    module="dm-thin-pool",
    since="5.10",
    summary="a pool of data blocks that thin volumes share",
    table=ThinPoolTable.parse,
    status=parse_status,
    tables=(ThinPoolTable,),
    statuses=(ThinPoolWorking, ThinPoolFail, ThinPoolError),
    messages=MESSAGES,
    observe=observe,
    moments=moments,
    conditions=CONDITIONS,
    moment_types=MOMENTS,
    notice=Notice.EVENT,
    wants_table=True,
)
