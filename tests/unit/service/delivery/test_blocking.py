"""Who blocks the loop: noticed, named, interrupted."""

from __future__ import annotations

import time
from contextlib import suppress

import pytest

from dmwatch.events import Event

from .conftest import Delivery, Keeping, until


@pytest.fixture(autouse=True)
def quick(delivery: Delivery) -> None:
    delivery.limit(blocked=0.2, interrupt=0.5)


class Sleeps(Keeping):
    """Sleeps in the loop's thread with its first event, for so many seconds."""

    seconds = 30.0
    first = True

    async def handle(self, event: Event) -> None:
        if type(self).first:
            type(self).first = False
            time.sleep(self.seconds)  # noqa: ASYNC251 - that is what is wrong
        await super().handle(event)


async def test_a_handler_that_blocks_the_loop_is_interrupted_and_named(
    delivery: Delivery, capsys: pytest.CaptureFixture[str]
) -> None:
    class Blocking(Sleeps):
        pass

    await delivery.start(bad=Blocking, good=Keeping)
    started = time.monotonic()
    ids = delivery.put(3)
    await delivery.gets("good", ids)
    await delivery.gets("bad", ids)
    assert time.monotonic() - started < 20
    assert ("failing", "raised") in delivery.stories("bad")
    assert delivery.stories("good") == []
    said = capsys.readouterr().out
    assert "the event loop stands still" in said
    assert "handler=bad" in said
    assert "test_blocking.py" in said
    assert "interrupted" in said


async def test_python_code_that_swallows_exceptions_is_interrupted(delivery: Delivery) -> None:
    class Spinning(Keeping):
        spins = True

        async def handle(self, event: Event) -> None:
            spins, type(self).spins = type(self).spins, False
            while spins:
                with suppress(Exception):
                    sum(range(10_000))
            await super().handle(event)

    await delivery.start(bad=Spinning, good=Keeping)
    ids = delivery.put(2)
    await delivery.gets("good", ids)
    await delivery.gets("bad", ids)
    assert delivery.health("bad").failures >= 1


async def test_a_short_block_is_told_and_not_interrupted(delivery: Delivery) -> None:
    class Short(Sleeps):
        seconds = 0.6

    delivery.limit(blocked=0.1, interrupt=15)
    await delivery.start(bad=Short)
    await delivery.gets("bad", delivery.put())
    await until(lambda: delivery.stories("bad") == [("failing", "raised")])
    assert "blocked the whole daemon" in (delivery.health("bad").problem or "")
    delivery.put(2)
    await until(lambda: delivery.stories("bad")[-1] == ("failing", "cleared"))


async def test_a_block_by_others_than_handlers_is_no_handlers_fault(
    delivery: Delivery, capsys: pytest.CaptureFixture[str]
) -> None:
    await delivery.start(good=Keeping)
    time.sleep(0.8)  # noqa: ASYNC251 - that is what is wrong
    await delivery.gets("good", delivery.put())
    assert delivery.stories("good") == []
    assert "handler=None" in capsys.readouterr().out
