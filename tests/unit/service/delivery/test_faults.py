"""What handlers do wrong, each while another handler keeps its pace."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from dmwatch.events import Event
from dmwatch.handlers import Drop, Handler, HandlerSettings, Retry
from dmwatch.service.delivery import LaneState
from dmwatch.service.delivery.pools import MOST_THREADS

from .conftest import Delivery, Keeping, until


class Bad(Keeping):
    """Does `wrong` with the first event, as often as `times` says, and takes the rest."""

    times = 3

    async def open(self) -> None:
        await super().open()
        self.left = type(self).times

    async def handle(self, event: Event) -> None:
        if type(self).times > 0:
            type(self).times -= 1
            await self.wrong()
        await super().handle(event)

    async def wrong(self) -> None:
        raise NotImplementedError


async def hang() -> None:
    await asyncio.sleep(3600)


async def swallow() -> None:
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            if _Released.now:
                raise


class _Released:
    now = False


@pytest.fixture(autouse=True)
def released(delivery: Delivery) -> Iterator[None]:
    """What cannot be cancelled can, once the test is over."""
    _Released.now = False
    yield
    _Released.now = True


async def crash() -> None:
    raise ZeroDivisionError("it cannot count")


async def leave() -> None:
    sys.exit(3)


async def interrupt() -> None:
    raise KeyboardInterrupt


async def retry() -> None:
    raise Retry(0.01, "not now")


async def cancel_itself() -> None:
    raise asyncio.CancelledError


async def cancel_own_task() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)


async def leave_in_a_task() -> None:
    await asyncio.create_task(leave())


async def give_up() -> None:
    raise ExceptionGroup("several", [ValueError("one"), OSError("two")])


WRONG = [
    hang,
    crash,
    leave,
    interrupt,
    retry,
    cancel_itself,
    cancel_own_task,
    leave_in_a_task,
    give_up,
]


@pytest.mark.parametrize("what", WRONG, ids=lambda what: what.__name__)
async def test_a_fault_is_tried_again_in_order_and_no_other_lane_waits(
    delivery: Delivery, what: Any
) -> None:
    class Wrong(Bad):
        times = 3

        async def wrong(self) -> None:
            await what()

    await delivery.start(
        bad=delivery.loaded("bad", Wrong, timeout=0.1), good=delivery.loaded("good", Keeping)
    )
    ids = delivery.put(20)
    await delivery.gets("good", ids)
    await delivery.gets("bad", ids)
    assert delivery.health("bad").failures == 3
    assert delivery.health("good").failures == 0
    await until(lambda: delivery.stories("bad")[-1:] == [("failing", "cleared")])
    assert delivery.stories("bad") == [("failing", "raised"), ("failing", "cleared")]
    assert delivery.cursors["bad"][-1] == 20


async def test_a_handler_that_never_recovers_is_told_once_and_delays_nobody(
    delivery: Delivery,
) -> None:
    class Wrong(Handler[HandlerSettings]):
        async def handle(self, event: Event) -> None:  # noqa: ARG002
            raise OSError("no route")

    await delivery.start(bad=delivery.loaded("bad", Wrong, max_attempts=5), good=Keeping)
    ids = delivery.put(3)
    await delivery.gets("good", ids)
    await until(lambda: delivery.health("bad").dropped == 3)
    health = delivery.health("bad")
    assert (health.delivered, health.failures, health.state) == (0, 15, LaneState.FAILING)
    assert health.problem == "OSError: no route"
    assert delivery.stories("bad") == [("failing", "raised")]
    assert delivery.told[0].summary == "handler bad fails: OSError: no route"
    assert delivery.told[0].advice
    assert delivery.told[0].severity == "error"
    # given up is done with: the cursor goes on
    assert delivery.cursors["bad"] == [1, 2, 3]


async def test_a_handler_that_cannot_be_cancelled_is_left_behind_and_made_anew(
    delivery: Delivery,
) -> None:
    class Wrong(Bad):
        times = 2

        async def wrong(self) -> None:
            await swallow()

    delivery.limit(abandoned=3)
    await delivery.start(bad=delivery.loaded("bad", Wrong, timeout=0.1), good=Keeping)
    ids = delivery.put(3)
    await delivery.gets("good", ids)
    await delivery.gets("bad", ids)
    # no instance has two calls in it at once
    assert len(delivery.handlers("bad")) == 3
    assert delivery.stories("bad") == [("failing", "raised"), ("failing", "cleared")]


async def test_only_so_many_calls_that_cannot_be_stopped_pile_up(delivery: Delivery) -> None:
    class Wrong(Bad):
        times = 100

        async def wrong(self) -> None:
            await swallow()

    await delivery.start(bad=delivery.loaded("bad", Wrong, timeout=0.1), good=Keeping)
    delivery.put()
    await until(lambda: "2 of its calls hang" in (delivery.health("bad").problem or ""))
    assert len(delivery.handlers("bad")) == delivery.limits.abandoned
    delivery.put()
    await until(lambda: len(delivery.taken("good")) == 2)
    _Released.now = True
    Wrong.times = 0
    for task in asyncio.all_tasks():
        if task.get_name() == "handler bad":
            task.cancel()
    await until(lambda: len(delivery.taken("bad")) == 2)


async def test_a_handler_that_hangs_at_open_is_tried_again(delivery: Delivery) -> None:
    class Wrong(Keeping):
        times = 2

        async def open(self) -> None:
            if type(self).times > 0:
                type(self).times -= 1
                await hang()
            await super().open()

    await delivery.start(bad=delivery.loaded("bad", Wrong, timeout=0.1), good=Keeping)
    ids = delivery.put(3)
    await delivery.gets("good", ids)
    assert delivery.health("bad").state in {LaneState.STARTING, LaneState.RETRYING}
    await delivery.gets("bad", ids)


async def test_a_handler_that_fails_at_open_is_told_and_over_when_it_opens(
    delivery: Delivery,
) -> None:
    class Wrong(Keeping):
        times = 4
        closed = 0

        async def open(self) -> None:
            if type(self).times > 0:
                type(self).times -= 1
                raise OSError("no such host")
            await super().open()

        async def close(self) -> None:
            type(self).closed += 1

    await delivery.start(bad=Wrong)
    await until(lambda: delivery.stories("bad")[-1:] == [("failing", "cleared")])
    assert delivery.health("bad").state == LaneState.OK
    assert delivery.health("bad").problem is None
    assert Wrong.closed == 4, "what a failed open took is let go of"


async def test_a_constructor_that_raises_is_a_fault_like_any_other(delivery: Delivery) -> None:
    class Wrong(Keeping):
        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            raise SystemExit("no settings")

    await delivery.start(bad=Wrong, good=Keeping)
    await delivery.gets("good", delivery.put())
    await until(lambda: delivery.stories("bad") == [("failing", "raised")])
    assert "SystemExit" in (delivery.health("bad").problem or "")


async def test_a_handle_that_is_no_coroutine_is_a_fault(delivery: Delivery) -> None:
    class Wrong(Handler[HandlerSettings]):
        def handle(self, event: Event) -> None:  # type: ignore[override]
            pass

    await delivery.start(bad=delivery.loaded("bad", Wrong, max_attempts=1))
    delivery.put()
    await until(lambda: delivery.health("bad").dropped == 1)
    assert "TypeError" in (delivery.health("bad").problem or "")


async def test_dropped_events_are_not_brought_again_and_three_in_a_row_are_told(
    delivery: Delivery,
) -> None:
    class Refusing(Keeping):
        async def handle(self, event: Event) -> None:
            if event.severity != "critical":
                raise Drop("not mine")
            await super().handle(event)

    await delivery.start(bad=Refusing)
    delivery.put(2)
    kept = delivery.put(severity="critical")
    await delivery.gets("bad", kept)
    assert delivery.stories("bad") == []
    delivery.put(3)
    await until(lambda: delivery.stories("bad") == [("failing", "raised")])
    assert delivery.health("bad").dropped == 5
    delivery.put(severity="critical")
    await until(lambda: delivery.stories("bad")[-1] == ("failing", "cleared"))


async def test_a_handler_that_leaks_tasks_has_only_so_many(
    delivery: Delivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dmwatch.service.delivery.owner.MOST_TASKS", 10)

    class Leaking(Keeping):
        async def handle(self, event: Event) -> None:
            self.kept = asyncio.create_task(hang(), name="leaked")
            await super().handle(event)

    await delivery.start(bad=Leaking, good=Keeping)
    ids = delivery.put(50)
    await delivery.gets("good", ids)
    await delivery.gets("bad", ids)

    def leaked() -> int:
        return sum(task.get_name() == "leaked" for task in asyncio.all_tasks())

    await until(lambda: leaked() <= 10)
    await delivery.dispatcher.close(0.1)
    await until(lambda: leaked() == 0)


async def test_threads_that_hang_are_no_other_handlers_and_not_the_daemons(
    delivery: Delivery,
) -> None:
    let = threading.Event()

    class Hanging(Keeping):
        async def handle(self, event: Event) -> None:
            await asyncio.to_thread(let.wait)
            await super().handle(event)

    class Looking(Keeping):
        async def handle(self, event: Event) -> None:
            await asyncio.get_running_loop().getaddrinfo("localhost", 80)
            await super().handle(event)

    bad = delivery.loaded("bad", Hanging, timeout=0.1)
    await delivery.start(bad=bad, good=Looking)
    try:
        ids = delivery.put()
        # more than the loop has threads for everybody
        await until(lambda: delivery.health("bad").failures > (os.cpu_count() or 1) + 4)
        await delivery.gets("good", ids + delivery.put())
        assert await asyncio.wait_for(asyncio.to_thread(str, 3), 20) == "3"
        named = [t for t in threading.enumerate() if t.name.startswith("handler bad")]
        assert len(named) <= MOST_THREADS
    finally:
        let.set()


async def test_who_asks_for_little_again_and_again_does_not_use_up_the_attempts(
    delivery: Delivery,
) -> None:
    class Impatient(Keeping):
        tries = 0

        async def handle(self, event: Event) -> None:
            type(self).tries += 1
            if type(self).tries < 9:
                raise Retry(0.0)
            await super().handle(event)

    loaded = delivery.loaded(
        "a", Impatient, max_attempts=10, retry_first="0.1s", retry_longest="0.1s"
    )
    await delivery.start(a=loaded)
    began = asyncio.get_running_loop().time()
    await delivery.gets("a", delivery.put())
    # two pauses as short as it asked for, then those of anybody, up to a quarter shorter
    assert asyncio.get_running_loop().time() - began > 6 * 0.075


async def test_a_fault_in_a_task_of_the_handler_reaches_who_waits_for_it(
    delivery: Delivery,
) -> None:
    seen: list[BaseException] = []

    class Waiting(Keeping):
        async def handle(self, event: Event) -> None:
            try:
                await asyncio.create_task(crash())
            except ZeroDivisionError as error:
                seen.append(error)
            await super().handle(event)

    await delivery.start(bad=Waiting)
    await delivery.gets("bad", delivery.put())
    assert len(seen) == 1


async def test_what_is_told_about_a_handler_is_not_brought_to_it(delivery: Delivery) -> None:
    await delivery.start(a=Keeping, b=Keeping)
    about = delivery.put(type_="dmwatch.handler-failing", key="a")
    about += delivery.put(type_="dmwatch.handler-overflow", key="a")
    await delivery.gets("b", about)
    assert delivery.taken("a") == []
    assert delivery.cursors["a"][-1] == 2
