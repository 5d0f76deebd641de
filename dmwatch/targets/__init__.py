"""Every kernel target, typed: its table, status, messages, conditions and moments.

One module for one target: `dmwatch.targets.thin_pool`, `dmwatch.targets.raid`, ... `find` gives
the `Target` of a type; a type that dmwatch does not know is carried raw.

Pure text and values: nothing here opens, reads or calls anything.
"""

from dmwatch.targets.base import (
    EmptyStatus,
    Finding,
    Gauge,
    Moment,
    Observation,
    Seen,
    Target,
    TargetMessage,
    TargetStatus,
    TargetTable,
    plain,
)
from dmwatch.targets.registry import TYPES, find, load_all
from dmwatch.targets.secret import Secret

__all__ = [
    "TYPES",
    "EmptyStatus",
    "Finding",
    "Gauge",
    "Moment",
    "Observation",
    "Secret",
    "Seen",
    "Target",
    "TargetMessage",
    "TargetStatus",
    "TargetTable",
    "find",
    "load_all",
    "plain",
]
