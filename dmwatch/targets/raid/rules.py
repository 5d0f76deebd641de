"""What raid_ctr refuses (drivers/md/dm-raid.c, parse_raid_params, parse_dev_params)."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from dmwatch.names import DeviceNumber
from dmwatch.targets.raid.options import (
    FORMATS,
    INT_MAX,
    JOURNAL_MODES,
    SPECS,
    RaidOption,
    Spec,
    Takes,
)
from dmwatch.targets.words import check_range, check_word, power_of_two, require

if TYPE_CHECKING:
    from dmwatch.targets.raid.table import RaidTable

TYPE = "raid"
MEMBERS_MAX = 253
CHUNK_MIN = 8
OFFSET_MIN, OFFSET_STEP = 32, 8
REGIONS_MAX = 1 << 21


def check_table(table: RaidTable) -> None:
    """Hold the rules against a table. Raises InvalidTableError."""
    _check_chunk(table)
    _check_members(table)
    for option in table.options:
        _check_option(table, option)
    _check_once(table)
    _check_sync(table)
    _check_rates(table)
    _check_region(table)
    _check_raid10(table)
    _check_journal(table)


def check_length(table: RaidTable, length: int) -> None:
    """Hold the rules on a line's length against a table. Raises InvalidTableError."""
    if (size := _number(table, "region_size")) and table.raid_type.level:
        least = length // REGIONS_MAX
        check_range(TYPE, "region_size", size, least, length)
    level, members = table.raid_type.level, len(table.members)
    if level == 1:
        return
    if level == 10:
        shares, whole = members, length * (table.copies or 2)
    else:
        shares, whole = members - table.raid_type.parity, length
    require(whole % shares == 0, TYPE, "length", f"must be shared out evenly to {shares} members")


def _check_chunk(table: RaidTable) -> None:
    size = check_range(TYPE, "chunk", table.chunk, 0, INT_MAX)
    if table.raid_type.level != 1:
        require(power_of_two(size), TYPE, "chunk", "must be a power of two")
        require(size >= CHUNK_MIN, TYPE, "chunk", f"must be {CHUNK_MIN} sectors or more")


def _check_members(table: RaidTable) -> None:
    fewest = table.raid_type.parity + 1
    check_range(TYPE, "#members", len(table.members), fewest, MEMBERS_MAX)
    rebuilt = {option.value for option in table.options if option.name == "rebuild"}
    for index, member in enumerate(table.members):
        alone = member.data is None and member.metadata is not None
        require(not alone, TYPE, f"member {index}", "has metadata without data")
        absent = member.data is None and index in rebuilt
        require(not absent, TYPE, f"member {index}", "cannot be rebuilt: it has no device")
        for device in (member.metadata, member.data):
            if device is not None:
                require(check_word(TYPE, "device", device) != "-", TYPE, "device", "cannot be '-'")


def _check_option(table: RaidTable, option: RaidOption) -> None:
    spec = SPECS.get(option.name)
    if spec is None:
        require(False, TYPE, "options", f"cannot be {option.name!r}")
        return
    level = table.raid_type.level
    require(level in spec.levels, TYPE, option.name, f"is not for raid{level}")
    _check_value(option, spec)
    _check_limits(table, option)


def _check_value(option: RaidOption, spec: Spec) -> None:
    value, name = option.value, option.name
    match spec.takes:
        case Takes.NOTHING:
            require(value is None, TYPE, name, "takes no value")
        case Takes.NUMBER | Takes.SIGNED:
            least = 0 if spec.takes is Takes.NUMBER else -INT_MAX
            require(type(value) is int, TYPE, name, "takes a number")
            check_range(TYPE, name, value, least, spec.maximum)
        case Takes.WORD:
            words = FORMATS if name == "raid10_format" else JOURNAL_MODES
            require(value in words, TYPE, name, f"must be one of: {', '.join(words)}")
        case Takes.DEVICE:
            require(isinstance(value, DeviceNumber | str), TYPE, name, "takes a device")
            check_word(TYPE, name, value)


def _check_limits(table: RaidTable, option: RaidOption) -> None:
    value, name, members = option.value, option.name, len(table.members)
    if not isinstance(value, int):
        return
    match name:
        case "rebuild" | "write_mostly":
            check_range(TYPE, name, value, 0, members - 1)
        case "raid10_copies":
            check_range(TYPE, name, value, 2, members)
        case "delta_disks":
            check_range(TYPE, name, abs(value), 1, MEMBERS_MAX - table.raid_type.fewest)
            grows = table.raid_type.level != 10 or value > 0
            require(grows, TYPE, name, "cannot be negative for raid10")
        case "data_offset":
            fits = not value or (value >= OFFSET_MIN and value % OFFSET_STEP == 0)
            rule = f"must be 0 or {OFFSET_MIN} and more, a multiple of {OFFSET_STEP}"
            require(fits, TYPE, name, rule)


def _check_once(table: RaidTable) -> None:
    names = Counter(option.name for option in table.options if not SPECS[option.name].often)
    for name, number in names.items():
        require(number == 1, TYPE, name, "can be given once only")
    rebuilt = [option.value for option in table.options if option.name == "rebuild"]
    require(len(set(rebuilt)) == len(rebuilt), TYPE, "rebuild", "can name a member once only")


def _check_sync(table: RaidTable) -> None:
    names = [option.name for option in table.options]
    words = {"sync", "nosync", "rebuild"} & set(names)
    require(len(words) < 2, TYPE, "options", "can have one only of: sync, nosync, rebuild")
    some = names.count("write_mostly") < len(table.members)
    require(some, TYPE, "write_mostly", "cannot be said of every member")


def _check_rates(table: RaidTable) -> None:
    low, high = _number(table, "min_recovery_rate"), _number(table, "max_recovery_rate")
    ordered = not high or low <= high
    require(ordered, TYPE, "min_recovery_rate", "cannot be above max_recovery_rate")


def _check_region(table: RaidTable) -> None:
    if size := _number(table, "region_size"):
        require(power_of_two(size), TYPE, "region_size", "must be a power of two")
        chunk = 0 if table.raid_type.level == 1 else int(table.chunk)
        require(size >= chunk, TYPE, "region_size", "cannot be less than the chunk")


def _check_raid10(table: RaidTable) -> None:
    if table.raid_type.level != 10:
        return
    enough = (table.copies or 2) <= len(table.members)
    require(enough, TYPE, "#members", "must be as many as there are copies")
    near = table.option("raid10_format") in {None, "near"}
    said = any(option.name == "raid10_use_near_sets" for option in table.options)
    require(not (near and said), TYPE, "raid10_use_near_sets", "is not for the format near")


def _check_journal(table: RaidTable) -> None:
    names = [option.name for option in table.options]
    if "journal_mode" in names:
        led = "journal_dev" in names[: names.index("journal_mode")]
        require(led, TYPE, "journal_mode", "needs journal_dev before it")


def _number(table: RaidTable, name: str) -> int:
    value = table.option(name)
    return value if isinstance(value, int) else 0
