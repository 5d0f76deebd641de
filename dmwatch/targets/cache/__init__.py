"""cache: a fast device in front of a slow one (drivers/md/dm-cache-target.c).

Table   `<metadata> <cache> <origin> <block> <#features> [writethrough] ... <policy> <#settings>
        [<name> <value>] ...`, word for word as it was given
Status  `Fail` | `Error` |
        `<metadata block> <used>/<total> <block> <used>/<total> <read hits> <read misses>
        <write hits> <write misses> <demotions> <promotions> <dirty> <#features> ... <#core> ...
        <policy> <#settings> ... rw|ro <needs_check|->`

The mode of the metadata and the end of dirty blocks raise events; growing dirty blocks and usage do
not: they are polled.
"""

from dmwatch.targets.base import Notice, Target
from dmwatch.targets.cache.messages import (
    MESSAGES,
    InvalidateCblocks,
    MigrationThreshold,
    PolicySetting,
)
from dmwatch.targets.cache.text import (
    CacheError,
    CacheFail,
    CacheMetadataMode,
    CacheMode,
    CacheStatus,
    CacheTable,
    CacheWorking,
    parse_status,
)
from dmwatch.targets.cache.watch import CONDITIONS, MOMENTS, moments, observe

__all__ = [
    "TARGET",
    "CacheError",
    "CacheFail",
    "CacheMetadataMode",
    "CacheMode",
    "CacheStatus",
    "CacheTable",
    "CacheWorking",
    "InvalidateCblocks",
    "MigrationThreshold",
    "PolicySetting",
]

TARGET = Target(
    type="cache",
    module="dm-cache",
    since="5.10",
    summary="a fast device in front of a slow one",
    table=CacheTable.parse,
    status=parse_status,
    tables=(CacheTable,),
    statuses=(CacheWorking, CacheFail, CacheError),
    messages=MESSAGES,
    observe=observe,
    moments=moments,
    conditions=CONDITIONS,
    moment_types=MOMENTS,
    notice=Notice.EVENT,
)
