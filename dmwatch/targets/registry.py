"""Which module knows which target type. A new target is one new file and one line here."""

from __future__ import annotations

from importlib import import_module

from dmwatch.targets.base import Target
from dmwatch.targets.unknown import unknown

_MODULES = {
    "cache": "cache",
    "clone": "clone",
    "crypt": "crypt",
    "delay": "delay",
    "dust": "dust",
    "ebs": "ebs",
    "era": "era",
    "error": "error",
    "flakey": "flakey",
    "inlinecrypt": "inlinecrypt",
    "integrity": "integrity",
    "linear": "linear",
    "log-writes": "log_writes",
    "mirror": "mirror",
    "multipath": "multipath",
    "pcache": "pcache",
    "raid": "raid",
    "snapshot": "snapshot",
    "snapshot-merge": "snapshot_merge",
    "snapshot-origin": "snapshot_origin",
    "striped": "striped",
    "switch": "switch",
    "thin": "thin",
    "thin-pool": "thin_pool",
    "unstriped": "unstriped",
    "vdo": "vdo",
    "verity": "verity",
    "writecache": "writecache",
    "zero": "zero",
    "zoned": "zoned",
}

TYPES = tuple(_MODULES)
"""Every target type that dmwatch knows, in alphabetical order."""

_loaded: dict[str, Target] = {}


def find(target_type: str) -> Target:
    """The Target of a type; for an unknown type one that carries everything raw.

    The module is imported on first use; `load_all` does that beforehand.
    """
    found = _loaded.get(target_type)
    if found is None:
        name = _MODULES.get(target_type)
        if name is None:
            return unknown(target_type)
        found = import_module(f"dmwatch.targets.{name}").TARGET
        _loaded[target_type] = found
    return found


def load_all() -> tuple[Target, ...]:
    """Import every target module, so that none is imported later, and give their Targets."""
    return tuple(find(target_type) for target_type in TYPES)
