"""multipath: paths fail and come back, groups change, I/O waits or fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from dmwatch.severity import Severity
from dmwatch.targets import Seen, find
from dmwatch.targets.multipath import (
    DisableGroup,
    EnableGroup,
    FailIfNoPath,
    FailPath,
    GroupState,
    MultipathStatus,
    MultipathTable,
    PathState,
    QueueIfNoPath,
    ReinstatePath,
    SwitchGroup,
)

pytestmark = pytest.mark.timeout(300)

Loop = Callable[[float], str]
SECTORS = 2048
ARGUMENTS = {"round-robin": "1", "queue-length": "1", "service-time": "1 7"}
FEATURES = "3 queue_if_no_path queue_mode bio"


@pytest.fixture(autouse=True)
def target(need_target: Callable[[str], None]) -> None:
    need_target("multipath")


def build(
    bench: Any, loop: Loop, selector: str = "round-robin", features: str = FEATURES
) -> tuple[Any, list[Any]]:
    below = loop(1)
    paths = [bench.linear(f"path{index}", below, SECTORS) for index in range(4)]
    words = ARGUMENTS[selector]
    each = len(words.split())
    groups = [
        f"{selector} 0 2 {each} {a.path} {words} {b.path} {words}"
        for a, b in ((paths[0], paths[1]), (paths[2], paths[3]))
    ]
    line = f"0 {SECTORS} multipath {features} 0 2 1 {' '.join(groups)}"
    return bench.make("multipath", line), paths


def status_of(seen: Seen) -> MultipathStatus:
    assert isinstance(seen.status, MultipathStatus)
    return seen.status


def states(device: Any) -> tuple[str, str]:
    status = status_of(device.look())
    groups = "".join(group.state for group in status.groups)
    return groups, "".join(path.state for path in status.paths)


@pytest.mark.parametrize("selector", ARGUMENTS)
def test_selectors(bench: Any, loop: Loop, selector: str) -> None:
    device, _ = build(bench, loop, selector)
    device = bench.again(device)
    table = device.table()
    assert isinstance(table, MultipathTable)
    assert {group.selector for group in table.groups} == {selector}
    device.write(0)
    status = status_of(device.look())
    assert {path.state for path in status.paths} == {PathState.ACTIVE}
    sizes = {"round-robin": 0, "queue-length": 1, "service-time": 2}
    assert {len(path.info) for path in status.paths} == {sizes[selector]}
    assert device.standing() == {}


def test_features_are_written_again(bench: Any, loop: Loop) -> None:
    features = "6 pg_init_retries 50 pg_init_delay_msecs 100 queue_mode bio"
    device, _ = build(bench, loop, features=features)
    assert set(features.split()[1:]) <= set(bench.again(device).table().features)


def test_no_groups(bench: Any) -> None:
    device = bench.again(bench.make("multipath", f"0 {SECTORS} multipath 2 queue_mode bio 0 0 0"))
    assert status_of(device.look()).current_group == 0
    assert device.standing() == {"multipath.no-paths": Severity.CRITICAL}


def test_paths_fail_and_come_back(bench: Any, loop: Loop) -> None:
    device, _ = build(bench, loop)
    names = [path.device for path in status_of(device.look()).paths]
    device.message(FailPath(names[1]))
    assert states(device)[1] == "AFAA"
    (found,) = find("multipath").observe(device.look()).findings
    assert (found.type, found.key) == ("multipath.path-failed", str(names[1]))
    device.message(ReinstatePath(names[1]))
    assert states(device)[1] == "AAAA"
    device.message(FailPath(names[1]))
    counters = find("multipath").observe(device.look()).counters
    assert {c.key: c.value for c in counters}[str(names[1])] == 2


def test_io_goes_over_to_the_other_group(bench: Any, loop: Loop) -> None:
    device, paths = build(bench, loop)
    device.write(0)
    before = device.seen()  # that I/O has chosen the first group raises no event
    for path in paths[:2]:
        path.fail()
    device.write(1)
    assert states(device) == ("EA", "FFAA")
    assert device.since(before) == ["multipath.group-switched"]
    before = device.look()
    device.message(SwitchGroup(1))
    assert device.since(before) == ["multipath.group-switched"]


def test_groups(bench: Any, loop: Loop) -> None:
    device, _ = build(bench, loop)
    device.message(DisableGroup(2))
    assert status_of(device.look()).groups[1].state is GroupState.DISABLED
    (found,) = find("multipath").observe(device.look()).findings
    assert (found.type, found.key, found.severity) == (
        "multipath.group-disabled",
        "2",
        Severity.NOTICE,
    )
    device.message(EnableGroup(2))
    assert device.standing() == {}


def test_no_path_is_left(bench: Any, loop: Loop) -> None:
    device, _ = build(bench, loop)
    for path in status_of(device.look()).paths:
        device.message(FailPath(path.device))
    assert states(device)[1] == "FFFF"
    waits = {"multipath.path-failed": Severity.WARNING, "multipath.no-paths": Severity.ERROR}
    fails = waits | {"multipath.no-paths": Severity.CRITICAL}
    assert device.standing() == waits
    device.message(FailIfNoPath())
    assert device.standing() == fails
    with pytest.raises(OSError, match="Input/output"):
        device.write(0)
    device.message(QueueIfNoPath())
    assert device.standing() == waits


def test_a_suspended_device_does_not_print_that_it_queues(bench: Any, loop: Loop) -> None:
    device, _ = build(bench, loop)
    for path in status_of(device.look()).paths:
        device.message(FailPath(path.device))
    device.witness("suspend", device.name)
    seen = replace(device.look(), suspended=True)
    device.witness("resume", device.name)
    assert isinstance(seen.table, MultipathTable)
    assert not seen.table.queues
    found = find("multipath").observe(seen).findings[-1]
    assert (found.severity, found.data.queueing) == (Severity.CRITICAL, None)
    assert device.table().queues
