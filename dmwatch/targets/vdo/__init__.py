"""vdo: deduplication, compression and thin provisioning (drivers/md/dm-vdo, since 6.9).

Table   `V4 <device> <physical blocks> <512|4096> <cache blocks> <era length> [<key> <value>]...`;
        older layouts V0 to V3 are read too. The kernel repeats the text that it was given
Status  `<device> <mode> <recovering|-> <index state> <compression> <used> <total>`, in 4 KiB

It raises no events at all. Entering read-only mode shows in the kernel log and here.
"""

from dmwatch.targets.base import Notice, Target
from dmwatch.targets.vdo.messages import (
    MESSAGES,
    Compression,
    Config,
    Dump,
    DumpOnShutdown,
    IndexClose,
    IndexCreate,
    IndexDisable,
    IndexEnable,
    Stats,
)
from dmwatch.targets.vdo.text import (
    VdoCompression,
    VdoIndex,
    VdoMode,
    VdoStatus,
    VdoTable,
    parse_status,
)
from dmwatch.targets.vdo.watch import CONDITIONS, IndexData, observe

__all__ = [
    "TARGET",
    "Compression",
    "Config",
    "Dump",
    "DumpOnShutdown",
    "IndexClose",
    "IndexCreate",
    "IndexData",
    "IndexDisable",
    "IndexEnable",
    "Stats",
    "VdoCompression",
    "VdoIndex",
    "VdoMode",
    "VdoStatus",
    "VdoTable",
]

TARGET = Target(
    type="vdo",
    module="dm-vdo",
    since="6.12",
    summary="deduplication, compression and thin provisioning",
    table=VdoTable.parse,
    status=parse_status,
    tables=(VdoTable,),
    statuses=(VdoStatus,),
    messages=MESSAGES,
    observe=observe,
    conditions=CONDITIONS,
    notice=Notice.POLL,
    wants_table=True,
)
