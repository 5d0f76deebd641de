from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dmwatch.errors import (
    InvalidMessageError,
    InvalidTableError,
    StatusParseError,
    TableParseError,
)
from dmwatch.names import DeviceNumber
from dmwatch.severity import Severity
from dmwatch.targets import EmptyStatus, Seen, TargetMessage, TargetTable, find
from dmwatch.targets.catalogue import FlapType
from dmwatch.targets.multipath import (
    DisableGroup,
    EnableGroup,
    FailIfNoPath,
    FailPath,
    GroupState,
    MultipathGroup,
    MultipathGroupStatus,
    MultipathPath,
    MultipathPathStatus,
    MultipathStatus,
    MultipathTable,
    PathState,
    QueueIfNoPath,
    ReinstatePath,
    SwitchGroup,
)
from dmwatch.units import Sectors

MULTIPATH = find("multipath")
D = [DeviceNumber(254, minor) for minor in range(4)]


def group(selector: str, *paths: MultipathPath, arguments: tuple[str, ...] = ()) -> MultipathGroup:
    return MultipathGroup(selector, paths, arguments)


ROUND_ROBIN = tuple(
    group("round-robin", MultipathPath(a, ("1",)), MultipathPath(b, ("1",)))
    for a, b in ((D[0], D[1]), (D[2], D[3]))
)
# As 7.3 and 6.1 print it: 7 has no retain_attached_hw_handler any more
NEW = (
    "3 queue_if_no_path queue_mode bio 0 2 1 "
    "round-robin 0 2 1 254:0 1 254:1 1 round-robin 0 2 1 254:2 1 254:3 1 "
)
OLD = NEW.replace("3 queue_if_no_path", "4 queue_if_no_path retain_attached_hw_handler")
FAILS = NEW.replace("3 queue_if_no_path", "2")
QUEUES = ("queue_if_no_path", "queue_mode", "bio")
SERVICE = group(
    "service-time", MultipathPath(D[0], ("1", "1")), MultipathPath("/dev/sdb", ("1", "100"))
)

TABLES = [
    (NEW, MultipathTable(ROUND_ROBIN, 1, QUEUES)),
    (
        OLD,
        MultipathTable(
            ROUND_ROBIN,
            1,
            ("queue_if_no_path", "retain_attached_hw_handler", "queue_mode", "bio"),
        ),
    ),
    (
        "0 1 alua 1 1 service-time 0 2 2 254:0 1 1 /dev/sdb 1 100",
        MultipathTable((SERVICE,), 1, (), ("alua",)),
    ),
    ("0 0 0 0", MultipathTable((), 0)),
    (
        (
            "4 pg_init_retries 50 pg_init_delay_msecs 0 0 1 1 "
            "historical-service-time 2 973 0 1 1 254:0 0"
        ),
        MultipathTable(
            (
                group(
                    "historical-service-time",
                    MultipathPath(D[0], ("0",)),
                    arguments=("973", "0"),
                ),
            ),
            1,
            ("pg_init_retries", "50", "pg_init_delay_msecs", "0"),
        ),
    ),
    (
        "0 0 1 1 io-affinity 0 1 1 254:0 ff,00000000",
        MultipathTable((group("io-affinity", MultipathPath(D[0], ("ff,00000000",))),)),
    ),
    (
        "0 0 1 1 of-tomorrow 1 x 1 3 254:0 a b c",
        MultipathTable(
            (group("of-tomorrow", MultipathPath(D[0], ("a", "b", "c")), arguments=("x",)),)
        ),
    ),
    (
        "0 0 1 1 queue-length 0 1 0 254:0",
        MultipathTable((group("queue-length", MultipathPath(D[0])),)),
    ),
]

FRESH = "2 0 0 0 2 1 A 0 2 0 254:0 A 0 254:1 A 0 E 0 2 0 254:2 A 0 254:3 A 0 "
FAILED = "2 0 0 0 2 1 E 0 2 0 254:0 F 2 254:1 F 1 E 0 2 0 254:2 F 1 254:3 F 1 "
ONE = MultipathTable((group("queue-length", MultipathPath(D[0])),))


def look(text: str, table: str | None = None, *, suspended: bool = False) -> Seen:
    return Seen(
        type="multipath",
        start=Sectors(0),
        length=Sectors(16384),
        status=MULTIPATH.status(text),
        table=None if table is None else MULTIPATH.table(table),
        suspended=suspended,
    )


def found(seen: Seen) -> dict[str, Severity]:
    findings = MULTIPATH.observe(seen).findings
    return {
        f"{f.type} {f.key or ''}".strip().removeprefix("multipath."): f.severity for f in findings
    }


@pytest.mark.parametrize(("text", "table"), TABLES)
def test_table_reads_and_writes(text: str, table: TargetTable) -> None:
    assert MULTIPATH.table(text) == table
    assert table.format() == text.rstrip()


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("", "#features"),
        ("9 queue_if_no_path 0 0 0", "#features"),
        ("0 0 2 1 round-robin 0 1 0 254:0", "selector"),
        ("0 0 1 1 round-robin 0 3 1 254:0 1 254:1 1", "#paths"),
        ("0 0 1 1 round-robin 0 1 0 254:0 more", "end"),
    ],
)
def test_table_is_refused(text: str, field: str) -> None:
    with pytest.raises(TableParseError) as caught:
        MULTIPATH.table(text)
    assert caught.value.field == field


def path(*arguments: str) -> MultipathPath:
    return MultipathPath(D[0], arguments)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"groups": ()}, "first_group"),
        ({"first_group": 0}, "first_group"),
        ({"features": ("queue_if_no_paths",)}, "features"),
        ({"features": ("pg_init_retries", "0")}, "pg_init_retries"),
        ({"features": ("pg_init_retries", "51")}, "pg_init_retries"),
        ({"features": ("pg_init_retries",)}, "pg_init_retries"),
        ({"features": ("pg_init_delay_msecs", "60001")}, "pg_init_delay_msecs"),
        ({"features": ("queue_mode", "mqs")}, "queue_mode"),
        ({"features": ("queue_if_no_path",) * 9}, "features"),
        ({"handler": ("a b",)}, "handler"),
        ({"groups": (group("round-robin"),)}, "#paths"),
        ({"groups": (group("round robin", path()),)}, "selector"),
        ({"groups": (group("round-robin", path("1"), path()),)}, "path arguments"),
        ({"groups": (group("round-robin", path("1", "1")),)}, "round-robin path arguments"),
        ({"groups": (group("queue-length", path("x")),)}, "repeat_count"),
        ({"groups": (group("service-time", path("1", "101")),)}, "relative_throughput"),
        ({"groups": (group("io-affinity", path()),)}, "io-affinity path arguments"),
        ({"groups": (group("io-affinity", path("xyz")),)}, "cpumask"),
        (
            {"groups": (group("historical-service-time", path(), arguments=("1024",)),)},
            "base_weight",
        ),
    ],
)
def test_check(change: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidTableError) as caught:
        replace(ONE, **change).format()
    assert caught.value.field == field


def test_features_do_not_care_for_capitals() -> None:
    table = replace(ONE, features=("Queue_If_No_Path", "QUEUE_MODE", "BIO"))
    assert table.queues
    assert MULTIPATH.table(table.format()) == table


def test_a_value_is_no_feature() -> None:
    assert not replace(ONE, features=("queue_mode", "queue_if_no_path")).queues


def test_status() -> None:
    active, failed = PathState.ACTIVE, PathState.FAILED
    assert MULTIPATH.status(
        "2 1 3 0 2 2 E 0 2 2 254:0 F 7 0 1 254:1 A 0 512 1 A 2 973 0 1 3 254:2 A 0 1024 2 3 "
    ) == MultipathStatus(
        queue_io=True,
        pg_init_count=3,
        current_group=2,
        groups=(
            MultipathGroupStatus(
                GroupState.ENABLED,
                (
                    MultipathPathStatus(D[0], failed, 7, ("0", "1")),
                    MultipathPathStatus(D[1], active, 0, ("512", "1")),
                ),
            ),
            MultipathGroupStatus(
                GroupState.ACTIVE,
                (MultipathPathStatus(D[2], active, 0, ("1024", "2", "3")),),
                ("973", "0"),
            ),
        ),
    )


def test_status_without_groups() -> None:
    assert MULTIPATH.status("2 0 0 0 0 0 ") == MultipathStatus(
        queue_io=False, pg_init_count=0, current_group=0, groups=()
    )


def test_status_of_a_later_kernel() -> None:
    status = MULTIPATH.status("3 0 0 new 0 0 0 more words")
    assert isinstance(status, MultipathStatus)
    assert (status.features, status.extra) == (("new",), ("more", "words"))


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("", "#features"),
        ("1 0 0 0 0", "#features"),
        ("2 0 0 0 1 1 X 0 0 0", "group state"),
        ("2 0 0 0 1 1 A 0 1 0 254:0 D 0", "path state"),
        ("2 0 0 0 1 1 A 0 2 0 254:0 A 0", "#paths"),
        ("2 0 0 0 2 1 A 0 1 0 254:0 A 0", "group state"),
    ],
)
def test_status_errors(text: str, field: str) -> None:
    with pytest.raises(StatusParseError) as caught:
        MULTIPATH.status(text)
    assert caught.value.field == field


ALL = {f"path-failed 254:{minor}": Severity.WARNING for minor in range(4)}


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (look(FRESH, NEW), {}),
        (
            look(FRESH.replace("254:1 A 0", "254:1 F 1"), NEW),
            {"path-failed 254:1": Severity.WARNING},
        ),
        (look(FRESH.replace("E 0 2", "D 0 2"), NEW), {"group-disabled 2": Severity.NOTICE}),
        (look(FAILED, NEW), ALL | {"no-paths": Severity.ERROR}),
        (look(FAILED, FAILS), ALL | {"no-paths": Severity.CRITICAL}),
        (look(FAILED), ALL | {"no-paths": Severity.CRITICAL}),
        (look(FAILED, FAILS, suspended=True), ALL | {"no-paths": Severity.CRITICAL}),
        (look(FAILED, NEW, suspended=True), ALL | {"no-paths": Severity.ERROR}),
        (look("2 0 0 0 0 0 ", "0 0 0 0"), {"no-paths": Severity.CRITICAL}),
    ],
)
def test_what_stands(seen: Seen, expected: dict[str, Severity]) -> None:
    assert found(seen) == expected


def test_whether_io_waits_is_not_known_while_suspended() -> None:
    summaries = {
        suspended: MULTIPATH.observe(look(FAILED, FAILS, suspended=suspended)).findings[-1]
        for suspended in (False, True)
    }
    assert summaries[False].summary == "no path is left: I/O fails"
    assert summaries[True].data.queueing is None


def test_a_path_in_two_groups_is_told_once() -> None:
    shared = "2 0 0 0 2 1 A 0 1 0 254:0 F 2 E 0 1 0 254:0 A 1 "
    assert found(look(shared)) == {"path-failed 254:0": Severity.WARNING}
    assert [(c.key, c.value) for c in MULTIPATH.observe(look(shared)).counters] == [("254:0", 3)]


def test_counters_of_failures() -> None:
    counters = MULTIPATH.observe(look(FAILED)).counters
    assert [(c.type, c.key, c.value) for c in counters] == [
        ("multipath.path-flapping", "254:0", 2),
        ("multipath.path-flapping", "254:1", 1),
        ("multipath.path-flapping", "254:2", 1),
        ("multipath.path-flapping", "254:3", 1),
    ]
    flapping = FlapType("multipath.path-flapping", Severity.WARNING, 5, 600.0, key="path")
    assert flapping in MULTIPATH.conditions


SWITCHED = FRESH.replace("2 1 A", "2 2 E")


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (FRESH, SWITCHED, ["multipath.group-switched"]),
        (SWITCHED, FRESH, ["multipath.group-switched"]),
        (FRESH, FRESH, []),
        (FRESH, FAILED, []),
        # another table: its second group is not the one that was the second before
        (FRESH, SWITCHED.replace("254:3", "254:9"), []),
        ("2 0 0 0 0 0 ", FRESH, []),
    ],
)
def test_moments(before: str, after: str, expected: list[str]) -> None:
    moments = MULTIPATH.moments(look(before), look(after))
    assert [moment.type for moment in moments] == expected


def test_nothing_is_said_without_a_status() -> None:
    for status in (None, EmptyStatus()):
        seen = Seen("multipath", Sectors(0), Sectors(8), status)
        assert MULTIPATH.observe(seen).findings == ()
        assert MULTIPATH.parts(seen) is None
        assert MULTIPATH.moments(seen, look(FRESH)) == MULTIPATH.moments(look(FRESH), seen) == ()


def test_parts() -> None:
    assert MULTIPATH.parts(look(FRESH)) == frozenset({"1", "2", "254:0", "254:1", "254:2", "254:3"})


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (FailPath(DeviceNumber(8, 16)), "fail_path 8:16"),
        (ReinstatePath("/dev/my disk"), "reinstate_path /dev/my\\ disk"),
        (SwitchGroup(2), "switch_group 2"),
        (DisableGroup(1), "disable_group 1"),
        (EnableGroup(1024), "enable_group 1024"),
        (QueueIfNoPath(), "queue_if_no_path"),
        (FailIfNoPath(), "fail_if_no_path"),
    ],
)
def test_messages(message: TargetMessage, text: str) -> None:
    assert message.format() == text
    assert type(message) in MULTIPATH.messages


@pytest.mark.parametrize("message", [FailPath(""), SwitchGroup(0), EnableGroup(1025)])
def test_messages_are_refused(message: TargetMessage) -> None:
    with pytest.raises(InvalidMessageError):
        message.format()
