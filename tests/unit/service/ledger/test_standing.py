"""What stands is folded from the events, and known to the next life."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from dmwatch.events import Condition
from dmwatch.service.ledger.standing import StandingConditions

Rows = Callable[[str], list[tuple[Any, ...]]]


@pytest.fixture
def stood(live: Any) -> Callable[..., Any]:
    """stood(*events): what the next life finds, after these were told in an earlier one."""

    async def told(*events: Any) -> list[Condition]:
        async with live() as life:
            await life.tell(*events)
        async with live() as life:
            found: list[Condition] = life.ledger.standing()
        return found

    return told


async def test_what_was_raised_stands_as_it_was_told(stood: Any, say: Any) -> None:
    told = say.raised(key="2", target="raid", advice="replace it", data={"leg": 2})
    (found,) = await stood(told)
    assert found == Condition(
        type="raid.leg-failed",
        key="2",
        severity=told.severity,
        device=told.device,
        target="raid",
        since=told.time,
        summary="a: a leg failed",
        advice="replace it",
        data={"leg": 2},
    )


async def test_what_was_cleared_does_not_stand(stood: Any, say: Any) -> None:
    found = await stood(say.raised(key="1"), say.raised(key="2"), say.cleared(key="1"))
    assert [condition.key for condition in found] == ["2"]


async def test_a_change_keeps_since_when_and_a_reminder_changes_nothing(
    stood: Any, say: Any
) -> None:
    first = say.raised(summary="80 %").model_copy(update={"time": datetime(2026, 1, 2, tzinfo=UTC)})
    (found,) = await stood(first, say.changed(summary="90 %"), say.reminder(summary="still: 90 %"))
    assert (found.since, found.summary) == (first.time, "a: 90 %")


async def test_conditions_of_the_daemon_itself_stand_without_a_device(stood: Any, say: Any) -> None:
    (found,) = await stood(say.raised("dmwatch.handler-failing", on=None, key="pager"))
    assert (found.device, found.key) == (None, "pager")


async def test_moments_do_not_stand(stood: Any, say: Any) -> None:
    assert await stood(say.event(on=say.device()), say.event("x", "dmwatch.started")) == []


async def test_worst_first(stood: Any, say: Any) -> None:
    mild = say.raised("a.b", severity="warning", on=say.device("z"))
    bad = say.raised("c.d", severity="critical", on=say.device("y"))
    assert [condition.type for condition in await stood(mild, bad)] == ["c.d", "a.b"]


@pytest.mark.parametrize("uuid", [None, "LVM-x"])
async def test_a_rename_takes_along_what_stands(stood: Any, say: Any, uuid: str | None) -> None:
    (found,) = await stood(
        say.raised(on=say.device("old", uuid)),
        say.event("renamed", "device.renamed", say.device("new", uuid), data={"old_name": "old"}),
    )
    assert found.device.name == "new"
    assert found.summary.endswith("new: a leg failed")


async def test_after_a_rename_it_is_cleared_under_the_new_name(stood: Any, say: Any) -> None:
    renamed = say.event("", "device.renamed", say.device("new"), data={"old_name": "old"})
    found = await stood(
        say.raised(on=say.device("old")), renamed, say.cleared(on=say.device("new"))
    )
    assert found == []


async def test_two_devices_can_swap_their_names(stood: Any, say: Any) -> None:
    def rename(old: str, new: str) -> Any:
        return say.event("", "device.renamed", say.device(new), data={"old_name": old})

    found = await stood(
        say.raised("x.a", on=say.device("a")),
        say.raised("x.b", on=say.device("b")),
        *(rename("a", "c"), rename("b", "a"), rename("c", "b")),
    )
    assert {condition.type: condition.device.name for condition in found} == {
        "x.a": "b",
        "x.b": "a",
    }


async def test_a_uuid_that_is_set_is_the_identity_from_then_on(
    stood: Any, say: Any, rows: Rows
) -> None:
    (found,) = await stood(
        say.raised(on=say.device("a")),
        say.event("", "device.uuid-set", say.device("a", "MY-1")),
    )
    assert found.device.uuid == "MY-1"
    assert rows("select identity from standing") == [("uuid MY-1",)]


async def test_a_name_is_not_taken_for_a_uuid(stood: Any, say: Any) -> None:
    found = await stood(
        say.raised(on=say.device("x")), say.raised(on=say.device("y", "x"), key=None)
    )
    assert len(found) == 2


async def test_a_condition_that_a_later_dmwatch_has_written_is_left_out(
    live: Any, say: Any
) -> None:
    async with live() as life:
        await life.tell(say.raised(key="1"), say.raised(key="2"))
        life.disk._connection.execute("update standing set condition = '{}' where key = '1'")
    async with live() as life:
        assert [condition.key for condition in life.ledger.standing()] == ["2"]


def test_the_changes_of_a_step_are_what_the_table_needs(say: Any) -> None:
    standing = StandingConditions()
    told = [say.raised(key="1"), say.raised(key="2"), say.cleared(key="1"), say.cleared(key="9")]
    table: dict[Any, Any] = {}
    for event in told:
        for key, condition in standing.take(event).items():
            table.pop(key, None)
            if condition:
                table[key] = condition
    assert table == standing.all
