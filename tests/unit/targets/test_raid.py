from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dmwatch.errors import InvalidTableError, StatusParseError, TableParseError
from dmwatch.names import DeviceNumber
from dmwatch.severity import Severity
from dmwatch.targets import EmptyStatus, Seen, TargetMessage, TargetTable, find
from dmwatch.targets.raid import (
    Check,
    Frozen,
    Idle,
    RaidBlank,
    RaidJournal,
    RaidLeg,
    RaidMember,
    RaidOption,
    RaidTable,
    RaidType,
    RaidWorking,
    Recover,
    Repair,
    Resync,
    SyncAction,
    redundancy,
)
from dmwatch.units import Sectors

RAID = find("raid")


def member(minor: int) -> RaidMember:
    return RaidMember(DeviceNumber(254, minor), DeviceNumber(254, minor + 1))


def members(number: int) -> tuple[RaidMember, ...]:
    return tuple(member(2 * index) for index in range(number))


REGION = RaidOption("region_size", 1024)
MISSING = RaidMember(None, None)
FOUR = " 4 254:0 254:1 254:2 254:3 254:4 254:5 254:6 254:7"
TWO, THREE = FOUR[:26].replace("4", "2", 1), FOUR[:38].replace("4", "3", 1)

TABLES = [
    (
        "raid1 3 0 region_size 1024 2 254:0 254:1 254:2 254:3",
        RaidTable(RaidType.RAID1, Sectors(0), members(2), (REGION,)),
    ),
    (
        "raid5_ls 3 128 region_size 1024 3 254:0 254:1 254:2 254:3 254:4 254:5",
        RaidTable(RaidType.RAID5_LS, Sectors(128), members(3), (REGION,)),
    ),
    (
        "raid0 1 128 2 254:0 254:1 254:2 254:3",
        RaidTable(RaidType.RAID0, Sectors(128), members(2)),
    ),
    (
        "raid1 2 0 nosync 2 - 254:17 - -",
        RaidTable(
            RaidType.RAID1,
            Sectors(0),
            (RaidMember(None, DeviceNumber(254, 17)), MISSING),
            (RaidOption("nosync"),),
        ),
    ),
    (
        "raid10 8 128 nosync region_size 1024 raid10_copies 2 raid10_format near" + FOUR,
        RaidTable(
            RaidType.RAID10,
            Sectors(128),
            members(4),
            (
                RaidOption("nosync"),
                REGION,
                RaidOption("raid10_copies", 2),
                RaidOption("raid10_format", "near"),
            ),
        ),
    ),
    (
        "raid1 11 0 rebuild 0 rebuild 1 daemon_sleep 5000 write_mostly 2 max_write_behind 128"
        + FOUR,
        RaidTable(
            RaidType.RAID1,
            Sectors(0),
            members(4),
            (
                RaidOption("rebuild", 0),
                RaidOption("rebuild", 1),
                RaidOption("daemon_sleep", 5000),
                RaidOption("write_mostly", 2),
                RaidOption("max_write_behind", 128),
            ),
        ),
    ),
    (
        "raid6_zr 16 64 sync min_recovery_rate 10 max_recovery_rate 20 stripe_cache 512 "
        "delta_disks -1 data_offset 2048 journal_dev 254:9 journal_mode writeback" + FOUR,
        RaidTable(
            RaidType.RAID6_ZR,
            Sectors(64),
            members(4),
            (
                RaidOption("sync"),
                RaidOption("min_recovery_rate", 10),
                RaidOption("max_recovery_rate", 20),
                RaidOption("stripe_cache", 512),
                RaidOption("delta_disks", -1),
                RaidOption("data_offset", 2048),
                RaidOption("journal_dev", DeviceNumber(254, 9)),
                RaidOption("journal_mode", "writeback"),
            ),
        ),
    ),
]
FAR = RaidTable(
    RaidType.RAID10_FAR,
    Sectors(128),
    members(4),
    (RaidOption("raid10_format", "far"), RaidOption("raid10_use_near_sets")),
)


def look(text: str, table: RaidTable | None = None, *, suspended: bool = False) -> Seen:
    return Seen(
        type="raid",
        start=Sectors(0),
        length=Sectors(32768),
        status=RAID.status(text),
        table=table,
        suspended=suspended,
    )


def working(
    raid_type: str, health: str, action: str = "idle", *, disks: int | None = None
) -> RaidWorking:
    number = len(health) if disks is None else disks
    status = RAID.status(f"{raid_type} {number} {health} 9/9 {action} 0 0 -")
    assert isinstance(status, RaidWorking)
    return status


# The table


@pytest.mark.parametrize(("text", "table"), TABLES)
def test_table_reads_and_writes(text: str, table: TargetTable) -> None:
    assert RAID.table(text) == table
    assert table.format() == text


def test_table_as_a_user_may_write_it() -> None:
    table = RAID.table("RAID5_LS 5 64 Delta_Disks +1 REGION_SIZE 1024" + THREE)
    assert table == RaidTable(
        RaidType.RAID5_LS, Sectors(64), members(3), (RaidOption("delta_disks", 1), REGION)
    )
    assert RAID.table("raid10_far 4 128 raid10_format FAR raid10_use_near_sets" + FOUR) == FAR


def test_the_kernel_counts_an_option_that_it_does_not_print() -> None:
    table = RAID.table("raid10_far 4 128 raid10_format far" + FOUR)
    assert table == FAR
    assert RAID.table(FAR.format()) == FAR


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("raid7 1 128" + TWO, "raid_type"),
        ("raid0 2 128" + TWO, "#words"),
        ("raid0 0 128" + TWO, "#words"),
        ("raid10 4 128 nosync" + FOUR, "#words"),
        ("raid1 2 0 quickly" + TWO, "option"),
        ("raid1 3 0 rebuild x" + TWO, "rebuild"),
        ("raid0 1 128 3 254:0 254:1", "#members"),
        ("raid0 1 128 1 254:0 254:1 more", "end"),
    ],
)
def test_table_is_refused(text: str, field: str) -> None:
    with pytest.raises(TableParseError) as caught:
        RAID.table(text)
    assert caught.value.field == field


ONE_OF = {
    1: RaidTable(RaidType.RAID1, Sectors(0), members(3)),
    0: RaidTable(RaidType.RAID0, Sectors(64), members(2)),
    5: RaidTable(RaidType.RAID5_LS, Sectors(64), members(3)),
    6: RaidTable(RaidType.RAID6_ZR, Sectors(64), members(5)),
    10: RaidTable(RaidType.RAID10, Sectors(64), members(4)),
}


def options(*words: str | tuple[str, Any]) -> dict[str, Any]:
    pairs = [(word, None) if isinstance(word, str) else word for word in words]
    return {"options": tuple(RaidOption(*pair) for pair in pairs)}


@pytest.mark.parametrize(
    ("level", "change", "field"),
    [
        (0, {"chunk": Sectors(4)}, "chunk"),
        (5, {"chunk": Sectors(0)}, "chunk"),
        (5, {"chunk": Sectors(96)}, "chunk"),
        (5, {"members": members(1)}, "#members"),
        (6, {"members": members(2)}, "#members"),
        (0, {"members": ()}, "#members"),
        (1, {"members": members(254)}, "#members"),
        (1, {"members": (*members(1), RaidMember("/dev/a", None))}, "member 1"),
        (1, {"members": (*members(2), MISSING)} | options(("rebuild", 2)), "member 2"),
        (1, {"members": (RaidMember(None, "-"), *members(2))}, "device"),
        (1, options("quickly"), "options"),
        (0, options("sync"), "sync"),
        (6, options("nosync"), "nosync"),
        (5, options(("write_mostly", 0)), "write_mostly"),
        (1, options(("stripe_cache", 256)), "stripe_cache"),
        (5, options(("raid10_copies", 2)), "raid10_copies"),
        (1, options(("journal_dev", "/dev/j")), "journal_dev"),
        (1, options(("sync", 1)), "sync"),
        (1, options("rebuild"), "rebuild"),
        (1, options(("rebuild", "x")), "rebuild"),
        (1, options(("rebuild", 3)), "rebuild"),
        (1, options(("rebuild", 1), ("rebuild", 1)), "rebuild"),
        (1, options("sync", "nosync"), "options"),
        (1, options("sync", ("rebuild", 1)), "options"),
        (1, options("sync", "sync"), "sync"),
        (1, options(*[("write_mostly", index) for index in range(3)]), "write_mostly"),
        (1, options(("max_write_behind", 32768)), "max_write_behind"),
        (1, options(("daemon_sleep", 1 << 31)), "daemon_sleep"),
        (1, options(("min_recovery_rate", 2), ("max_recovery_rate", 1)), "min_recovery_rate"),
        (1, options(("region_size", 1000)), "region_size"),
        (5, options(("region_size", 32)), "region_size"),
        (10, options(("raid10_copies", 1)), "raid10_copies"),
        (10, options(("raid10_copies", 5)), "raid10_copies"),
        (10, options(("raid10_format", "wide")), "raid10_format"),
        (10, options("raid10_use_near_sets"), "raid10_use_near_sets"),
        (10, {"members": members(1)}, "#members"),
        (5, options(("delta_disks", 0)), "delta_disks"),
        (5, options(("delta_disks", 252)), "delta_disks"),
        (10, options(("delta_disks", -1)), "delta_disks"),
        (5, options(("data_offset", 24)), "data_offset"),
        (5, options(("data_offset", 33)), "data_offset"),
        (5, options(("journal_mode", "writeback"), ("journal_dev", "/dev/j")), "journal_mode"),
        (5, options(("journal_dev", 7)), "journal_dev"),
        (5, options(("journal_dev", "/dev/j"), ("journal_mode", "fast")), "journal_mode"),
    ],
)
def test_check(level: int, change: dict[str, Any], field: str) -> None:
    ONE_OF[level].check()
    with pytest.raises(InvalidTableError) as caught:
        replace(ONE_OF[level], **change).format()
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("level", "length", "fits"),
    [(1, 32767, True), (5, 32768, True), (5, 32767, False), (6, 32766, True), (6, 32767, False)],
)
def test_the_length_is_shared_out_evenly(level: int, length: int, fits: bool) -> None:
    if fits:
        assert ONE_OF[level].line(0, length).length == length
        return
    with pytest.raises(InvalidTableError, match="shared out evenly"):
        ONE_OF[level].line(0, length)


def test_the_region_size_fits_the_length() -> None:
    table = replace(ONE_OF[1], options=(REGION,))
    assert table.line(0, 1 << 30).text == table.format()
    for length in (512, 1 << 33):
        with pytest.raises(InvalidTableError, match="region_size"):
            table.line(0, length)


def test_raid10_shares_its_copies() -> None:
    odd = replace(ONE_OF[10], members=members(3))
    assert odd.line(0, 3072).length == 3072
    with pytest.raises(InvalidTableError, match="shared out evenly"):
        odd.line(0, 1024)


# The status


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (
            "raid1 2 AD 32768/32768 idle 0 0 -",
            RaidWorking(
                raid_type=RaidType.RAID1,
                disks=2,
                legs=(RaidLeg.IN_SYNC, RaidLeg.FAILED),
                done=Sectors(32768),
                total=Sectors(32768),
                action=SyncAction.IDLE,
                mismatches=0,
                data_offset=Sectors(0),
            ),
        ),
        (
            "raid5_ls 3 aA- 10280/32768 recover 0 8192 a",
            RaidWorking(
                raid_type=RaidType.RAID5_LS,
                disks=3,
                legs=(RaidLeg.OUT_OF_SYNC, RaidLeg.IN_SYNC, RaidLeg.MISSING),
                done=Sectors(10280),
                total=Sectors(32768),
                action=SyncAction.RECOVER,
                mismatches=0,
                data_offset=Sectors(8192),
                journal=RaidJournal.WRITE_BACK,
            ),
        ),
        (
            "raid4 2 AA 1/2",
            RaidWorking(
                raid_type=RaidType.RAID4,
                disks=2,
                legs=(RaidLeg.IN_SYNC, RaidLeg.IN_SYNC),
                done=Sectors(1),
                total=Sectors(2),
            ),
        ),
        ("", RaidBlank()),
    ],
)
def test_status(text: str, status: object) -> None:
    assert RAID.status(text) == status


@pytest.mark.parametrize("action", list(SyncAction))
def test_every_action(action: SyncAction) -> None:
    assert working("raid1", "AA", action).action is action
    assert action.runs is (action.value not in {"idle", "frozen", "undef"})


@pytest.mark.parametrize(("disks", "health"), [(3, "AAAA"), (4, "AAA")])
def test_a_reshape_counts_disks_and_letters_differently(disks: int, health: str) -> None:
    status = working("raid5_ls", health, "reshape", disks=disks)
    assert (status.disks, len(status.legs)) == (disks, len(health))


@pytest.mark.parametrize(
    ("text", "field", "position"),
    [
        ("raid7 2 AA 1/1 idle 0 0 -", "raid_type", 1),
        ("raid1 2 AX 1/1 idle 0 0 -", "health", 3),
        ("raid1 2 AA 1 idle 0 0 -", "sync ratio", 4),
        ("raid1 2 AA 1/1 dance 0 0 -", "action", 5),
        ("raid1 2 AA 1/1 idle 0 0 x", "journal", 8),
        ("raid1 2", "health", 3),
    ],
)
def test_status_errors(text: str, field: str, position: int) -> None:
    with pytest.raises(StatusParseError) as caught:
        RAID.status(text)
    assert (caught.value.field, caught.value.position) == (field, position)


# What it bears


@pytest.mark.parametrize(
    ("raid_type", "health", "copies", "expected"),
    [
        ("raid0", "AA", None, 0),
        ("raid0", "AD", None, -1),
        ("raid1", "AA", None, 1),
        ("raid1", "AAAA", None, 3),
        ("raid1", "AD-A", None, 1),
        ("raid1", "D-", None, -1),
        ("raid4", "AAA", None, 1),
        ("raid5_ls", "ADA", None, 0),
        ("raid5_ls", "DDA", None, -1),
        ("raid6_zr", "AAAA", None, 2),
        ("raid6_zr", "ADAA", None, 1),
        ("raid6_zr", "AD-A", None, 0),
        # a member that is being rebuilt holds no copy yet, in a resync of all it does
        ("raid1", "Aa", None, 0),
        ("raid1", "AaD", None, 0),
        ("raid6_zr", "AaDA", None, 0),
        ("raid1", "aa", None, 1),
        ("raid5_ls", "aaa", None, 1),
        ("raid5_ls", "aDa", None, 0),
        # near: neighbours mirror each other
        ("raid10", "AAAA", 2, 1),
        ("raid10", "ADAA", 2, 0),
        ("raid10", "ADDA", 2, 0),
        ("raid10", "DDAA", 2, -1),
        ("raid10", "DADA", 2, 0),
        ("raid10", "DAADAA", 3, 1),
        ("raid10", "DDAAAA", 3, 0),
        # near, and the number of copies does not divide that of the members: groups overlap
        ("raid10", "AAAAA", 2, 1),
        ("raid10", "ADDAA", 2, -1),
        ("raid10", "DAAAD", 2, -1),
        ("raid10", "DADAA", 2, 0),
        ("raid10_near", "ADDA", 2, 0),
        # the copies are not known: two
        ("raid10", "AAAAAA", None, 1),
        ("raid10", "ADAAAA", None, 0),
        ("raid10_far", "AAAA", 2, 1),
        ("raid10_far", "DAAA", 2, 0),
        ("raid10_offset", "DDAA", 2, -1),
        ("raid10_offset", "AAAAAA", 3, 2),
        ("raid10_offset", "DAADAA", 3, 1),
    ],
)
def test_redundancy(raid_type: str, health: str, copies: int | None, expected: int) -> None:
    table = None
    if copies is not None:
        chosen = (RaidOption("raid10_copies", copies),)
        table = RaidTable(RaidType.RAID10, Sectors(64), members(len(health)), chosen)
    assert redundancy(working(raid_type, health), table) == expected


@pytest.mark.parametrize(
    ("health", "action", "disks", "expected"),
    [("ADAA", "reshape", 4, 0), ("ADAA", "idle", 5, 0), ("ADDA", "reshape", 4, -1)],
)
def test_a_raid10_in_two_layouts_counts_all_failures_together(
    health: str, action: str, disks: int, expected: int
) -> None:
    assert redundancy(working("raid10", health, action, disks=disks)) == expected


# What stands


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("raid1 2 AA 9/9 idle 0 0 -", {}),
        ("raid1 2 aa 0/9 resync 0 0 -", {}),
        ("raid1 2 AD 9/9 idle 0 0 -", {"leg-failed 1": Severity.CRITICAL}),
        ("raid1 3 ADA 9/9 idle 0 0 -", {"leg-failed 1": Severity.ERROR}),
        ("raid6_zr 4 DAAA 9/9 idle 0 0 -", {"leg-failed 0": Severity.ERROR}),
        (
            "raid6_zr 4 D-AA 9/9 idle 0 0 -",
            {"leg-failed 0": Severity.CRITICAL, "leg-missing 1": Severity.ERROR},
        ),
        ("raid1 2 A- 9/9 idle 0 0 -", {"leg-missing 1": Severity.ERROR}),
        ("raid0 2 AD 9/9 idle 0 0 -", {"leg-failed 1": Severity.CRITICAL}),
        ("raid1 2 AA 9/9 idle 0 0 A", {}),
        ("raid5_ls 3 AAA 9/9 idle 0 0 D", {"journal-failed": Severity.ERROR}),
        ("raid1 2 AA 9/9 idle 128 0 -", {"mismatches": Severity.WARNING}),
        ("raid10 4 AAAA 9/9 idle 128 0 -", {"mismatches": Severity.WARNING}),
        ("raid4 3 AAA 9/9 idle 8 0 -", {"mismatches": Severity.ERROR}),
        ("raid5_ls 3 AAA 9/9 idle 8 0 -", {"mismatches": Severity.ERROR}),
        ("raid6_zr 4 AAAA 9/9 idle 8 0 -", {"mismatches": Severity.ERROR}),
        ("raid1 2 AA 3/9 frozen 0 0 -", {"frozen": Severity.WARNING}),
        ("raid1 2 AA 9/9", {}),
        ("", {}),
    ],
)
def test_what_stands(text: str, expected: dict[str, Severity]) -> None:
    findings = RAID.observe(look(text)).findings
    assert {
        f"{f.type} {f.key or ''}".strip().removeprefix("raid."): f.severity for f in findings
    } == expected


def test_what_is_said_of_a_leg() -> None:
    (found,) = RAID.observe(look("raid1 3 ADA 9/9 idle 0 0 -", ONE_OF[1])).findings
    assert found.summary == "leg 1 (254:3) has failed: 1 more may fail"
    assert (found.key, found.data.device, found.data.redundancy_left) == ("1", "254:3", 1)
    (found,) = RAID.observe(look("raid5_ls 3 A-A 9/9 idle 0 0 -")).findings
    assert found.summary == "leg 1 is missing: no redundancy is left"
    assert (found.data.device, found.data.redundancy_left) == (None, 0)
    found, _ = RAID.observe(look("raid5_ls 3 DDA 9/9 idle 0 0 -")).findings
    assert found.summary == "leg 0 has failed: more have failed than the set can bear"
    assert found.data.redundancy_left == 0


def test_more_legs_than_the_table_names() -> None:
    (found,) = RAID.observe(look("raid1 4 AAAD 9/9 idle 0 0 -", ONE_OF[1])).findings
    assert (found.key, found.data.device) == ("3", None)


def test_the_journal_is_named() -> None:
    table = replace(ONE_OF[5], options=(RaidOption("journal_dev", "/dev/j"),))
    (found,) = RAID.observe(look("raid5_ls 3 AAA 9/9 idle 0 0 D", table)).findings
    assert found.summary == "the journal (/dev/j) has failed"


@pytest.mark.parametrize(
    ("action", "moves"),
    [(action, action.runs) for action in SyncAction],
)
def test_progress_while_something_runs(action: SyncAction, moves: bool) -> None:
    progress = RAID.observe(look(f"raid1 2 AA 3/9 {action} 0 0 -")).progress
    assert [(p.type, p.value) for p in progress] == (
        [("raid.sync-stalled", (action.value, 3))] if moves else []
    )


@pytest.mark.parametrize("action", ["frozen", "resync"])
def test_a_suspended_set_stands_still_for_that_reason(action: str) -> None:
    seen = RAID.observe(look(f"raid1 2 AA 3/9 {action} 0 0 -", suspended=True))
    assert (seen.findings, seen.progress) == ((), ())


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("AA 9/9 idle", "AA 0/9 check", ["started check"]),
        ("AA 2/9 check", "AA 9/9 idle", ["finished check"]),
        ("aa 0/9 idle", "aa 3/9 resync", ["started resync"]),
        ("aa 3/9 resync", "AA 9/9 idle", ["finished resync"]),
        ("Aa 3/9 recover", "AA 9/9 idle", ["finished recover"]),
        ("Aa 3/9 recover", "AA 0/9 check", ["finished recover", "started check"]),
        # it came and went between the two looks
        ("aa 0/9 idle", "AA 9/9 idle", ["finished resync"]),
        # it was interrupted
        ("aa 3/9 resync", "aa 3/9 idle", []),
        ("AA 3/9 check", "AA 3/9 frozen", []),
        ("AA 3/9 check", "AA 9/9 frozen", []),
        ("aa 3/9 resync", "aa 5/9 resync", []),
        ("AA 9/9 idle", "AA 9/9 idle", []),
        ("AA 9/9", "AA 9/9", []),
    ],
)
def test_moments(before: str, after: str, expected: list[str]) -> None:
    def seen(text: str) -> Seen:
        return look(f"raid1 2 {text}{' 0 0 -' if text.count(' ') > 1 else ''}")

    moments = RAID.moments(seen(before), seen(after))
    told = [f"{m.type.removeprefix('raid.sync-')} {m.data.action}" for m in moments]
    assert told == expected


def test_nothing_is_said_without_a_status() -> None:
    whole = look("raid1 2 aa 3/9 resync 0 0 -")
    for status in (None, EmptyStatus(), RaidBlank()):
        seen = Seen("raid", Sectors(0), Sectors(8), status)
        assert RAID.observe(seen).findings == ()
        assert RAID.parts(seen) is None
        assert RAID.moments(seen, whole) == RAID.moments(whole, seen) == ()


def test_a_leg_that_was_taken_out_is_no_part() -> None:
    assert RAID.parts(look("raid1 3 AD- 9/9 idle 0 0 -")) == frozenset({"0", "1"})


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (Idle(), "idle"),
        (Frozen(), "frozen"),
        (Resync(), "resync"),
        (Recover(), "recover"),
        (Check(), "check"),
        (Repair(), "repair"),
    ],
)
def test_messages(message: TargetMessage, text: str) -> None:
    assert message.format() == text
    assert type(message) in RAID.messages


def test_it_is_read_until_it_settles() -> None:
    assert RAID.settles
