"""Lanes together: order, cursors, overflow, throttle, backlog, reload, the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise

from dmwatch.events import Event
from dmwatch.service.delivery import LaneState
from dmwatch.service.entry import Entry

from .conftest import Delivery, Keeping, until


class Gated(Keeping):
    """Takes nothing until it is let."""

    gate: asyncio.Event

    async def handle(self, event: Event) -> None:
        await self.gate.wait()
        await super().handle(event)


def gated() -> type[Gated]:
    return type("Gated", (Gated,), {"gate": asyncio.Event()})


async def test_what_does_not_match_moves_the_cursor_but_never_past_what_waits(
    delivery: Delivery,
) -> None:
    kind = gated()
    match = {"types": ["raid.*"]}
    await delivery.start(a=delivery.loaded("a", kind, match))
    delivery.put(2)
    assert delivery.cursors["a"] == [1, 2]
    wanted = delivery.put(type_="raid.leg-failed")
    delivery.put(3)
    await asyncio.sleep(0.05)
    assert delivery.cursors["a"] == [1, 2]
    kind.gate.set()
    await delivery.gets("a", wanted)
    await until(lambda: delivery.cursors["a"] == [1, 2, 6])


async def test_a_full_queue_drops_the_oldest_counts_them_and_tells_when_it_is_over(
    delivery: Delivery,
) -> None:
    kind = gated()
    await delivery.start(slow=delivery.loaded("slow", kind, queue=10), good=Keeping)
    first = delivery.put()
    await until(lambda: delivery.health("slow").queued == 1)
    await asyncio.sleep(0.01)
    ids = delivery.put(100)
    await delivery.gets("good", first + ids)
    assert delivery.health("slow").dropped == 90
    assert delivery.health("slow").queued == 11
    kind.gate.set()
    await delivery.gets("slow", first + ids[-10:])
    await until(lambda: delivery.stories("slow")[-1:] == [("overflow", "cleared")])
    assert delivery.stories("slow") == [("overflow", "raised"), ("overflow", "cleared")]
    assert delivery.told[-1].data == {"handler": "slow", "dropped": 90}
    assert delivery.cursors["slow"][-1] == 101


async def test_a_throttle_keeps_two_events_apart(delivery: Delivery) -> None:
    times: list[float] = []

    class Timed(Keeping):
        async def handle(self, event: Event) -> None:
            times.append(asyncio.get_running_loop().time())
            await super().handle(event)

    await delivery.start(a=delivery.loaded("a", Timed, every=0.1))
    await delivery.gets("a", delivery.put(4))
    assert all(later - earlier >= 0.099 for earlier, later in pairwise(times))


async def test_the_backlog_comes_first_and_nothing_twice(delivery: Delivery) -> None:
    recorded = [delivery.entry() for _ in range(5)]

    async def backlog(_name: str) -> AsyncIterator[Entry]:
        for entry in recorded:
            await asyncio.sleep(0.01)
            yield entry

    await delivery.start(backlog, a=Keeping)
    # the journal's end and what is told now may overlap
    delivery.dispatcher.put(recorded[-1])
    ids = delivery.put(3)
    await delivery.gets("a", [entry.event.id for entry in recorded] + ids)
    await until(lambda: delivery.cursors["a"][-1] == 8)
    assert delivery.cursors["a"] == sorted(delivery.cursors["a"])


async def test_a_backlog_that_cannot_be_read_is_not_the_end(delivery: Delivery) -> None:
    recorded = delivery.entry()

    async def backlog(_name: str) -> AsyncIterator[Entry]:
        yield recorded
        raise OSError("the journal is gone")

    await delivery.start(backlog, a=Keeping)
    delivery.put(2)
    await until(lambda: len(delivery.taken("a")) == 3)
    # what could not be read comes after the next start: the cursor does not pass it
    assert delivery.cursors.get("a", [1])[-1] == 1


async def test_a_reload_keeps_equal_lanes_hands_queues_over_and_ends_what_is_gone(
    delivery: Delivery,
) -> None:
    kinds = {name: gated() for name in ("same", "changed", "gone")}
    await delivery.start(None, **kinds)
    ids = delivery.put(5)
    await asyncio.sleep(0.05)
    same = delivery.handlers("same")[0]
    await delivery.dispatcher.reconfigure(
        {
            "same": delivery.loaded("same", kinds["same"]),
            "changed": delivery.loaded("changed", Keeping, queue=50),
            "new": delivery.loaded("new", Keeping),
        }
    )
    ids += delivery.put(2)
    await delivery.gets("changed", ids)
    await delivery.gets("new", ids[-2:])
    kinds["same"].gate.set()
    await delivery.gets("same", ids)
    assert delivery.handlers("same") == [same]
    assert [health.name for health in delivery.dispatcher.health()] == ["same", "changed", "new"]


async def test_a_new_handler_gets_what_is_told_while_the_reload_waits_for_one_that_goes(
    delivery: Delivery,
) -> None:
    old = gated()
    await delivery.start(old=old)
    delivery.put(2)
    await until(lambda: delivery.handlers("old"))
    new = {"new": delivery.loaded("new", Keeping)}
    reloading = asyncio.create_task(delivery.dispatcher.reconfigure(new))
    await asyncio.sleep(0.01)
    ids = delivery.put(2)
    assert not reloading.done()
    await reloading
    ids += delivery.put(2)
    await delivery.gets("new", ids)


async def test_a_reload_with_a_narrower_match_forgets_what_does_not_fit_any_more(
    delivery: Delivery,
) -> None:
    await delivery.start(a=gated())
    delivery.put(3)
    wanted = delivery.put(type_="raid.leg-failed")
    await asyncio.sleep(0.05)
    changed = delivery.loaded("a", Keeping, {"types": ["raid.*"]})
    await delivery.dispatcher.reconfigure({"a": changed})
    await delivery.gets("a", wanted)
    await until(lambda: delivery.cursors["a"][-1] == 4)


async def test_what_stood_on_a_handler_that_is_gone_goes_with_it(delivery: Delivery) -> None:
    class Wrong(Keeping):
        async def handle(self, event: Event) -> None:  # noqa: ARG002
            raise OSError

    await delivery.start(bad=Wrong)
    delivery.put()
    await until(lambda: delivery.stories("bad"))
    await delivery.dispatcher.reconfigure({})
    assert delivery.stories("bad") == [("failing", "raised"), ("failing", "cleared")]
    assert delivery.told[-1].reason == "part-gone"


async def test_the_end_brings_what_waits_and_leaves_what_it_cannot_bring(
    delivery: Delivery,
) -> None:
    class Slow(Keeping):
        closed = False

        async def handle(self, event: Event) -> None:
            await asyncio.sleep(0.01)
            await super().handle(event)

        async def close(self) -> None:
            type(self).closed = True

    stuck = gated()
    await delivery.start(slow=Slow, stuck=stuck)
    ids = delivery.put(10)
    await asyncio.sleep(0.02)
    started = asyncio.get_running_loop().time()
    await delivery.dispatcher.close(1)
    assert asyncio.get_running_loop().time() - started < 10
    assert delivery.taken("slow") == ids
    assert Slow.closed
    assert delivery.taken("stuck") == []
    assert "stuck" not in delivery.cursors
    assert {health.state for health in delivery.dispatcher.health()} == {LaneState.CLOSED}


async def test_health_is_plain_json(delivery: Delivery) -> None:
    await delivery.start(a=Keeping)
    await delivery.gets("a", delivery.put(2))
    await until(lambda: delivery.health("a").delivered == 2)
    plain = delivery.health("a").plain()
    last = plain.pop("last")
    assert last.endswith("+00:00")
    assert plain == {
        "name": "a",
        "use": "Keeping",
        "state": "ok",
        "queued": 0,
        "delivered": 2,
        "dropped": 0,
        "failures": 0,
        "problem": None,
    }
