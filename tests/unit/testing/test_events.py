"""Events that are made up, and a handler run as the daemon would."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dmwatch.errors import InvalidValueError
from dmwatch.events import Event
from dmwatch.handlers import Drop, Handler, HandlerSettings, Retry
from dmwatch.monitor.catalogue import EventType, event_types
from dmwatch.testing import Came, make_device, make_event, run_handler


@pytest.mark.parametrize("row", event_types().values(), ids=lambda row: row.type)
def test_an_event_of_every_type_can_be_made(row: EventType) -> None:
    event = make_event(row.type)
    assert Event.model_validate_json(event.json_line()) == event
    assert (event.state is not None) == row.stands
    assert (event.device is None) == row.type.startswith("dmwatch.")


def test_every_field_can_be_chosen_and_no_two_events_are_one() -> None:
    device = make_device("scratch", None)
    event = make_event("device.added", device=device, summary="hello", severity="info")
    assert (event.device, event.summary, event.severity) == (device, "hello", "info")
    assert make_event().id != make_event().id
    first, second = make_event(), make_event()
    first.data["percent"] = 7
    assert second.data["percent"] != 7


def test_a_type_that_there_is_not_is_a_sentence() -> None:
    with pytest.raises(InvalidValueError, match=r"no event of type 'raid.nonsense'"):
        make_event("raid.nonsense")


class Picky(Handler[HandlerSettings]):
    async def handle(self, event: Event) -> None:
        self.log.info("got", type=event.type)
        match event.key:
            case "retry":
                raise Retry(3, "later")
            case "drop":
                raise Drop("never")
            case "fault":
                raise ZeroDivisionError
            case "hang":
                await asyncio.sleep(60)


async def test_run_handler_says_what_came_of_each_event() -> None:
    keys = (None, "retry", "drop", "fault", "hang")
    told = await run_handler(Picky, None, *(make_event(key=key) for key in keys), limit=0.2)
    words = [outcome.came for outcome in told.events]
    assert words == [Came.DONE, Came.RETRY, Came.DROP, Came.FAULT, Came.LATE]
    assert told.events[1].after == 3
    assert told.closed.done
    assert told.log[0] == {"level": "info", "event": "got", "type": "thin-pool.data-usage"}


async def test_run_handler_tries_no_event_where_open_fails() -> None:
    class Closed(Picky):
        async def open(self) -> None:
            raise OSError("no such host")

    told = await run_handler(Closed, {}, make_event())
    assert (told.opened.problem, told.events) == ("OSError: no such host", [])


async def test_run_handler_refuses_settings_with_faults() -> None:
    settings: dict[str, Any] = {"nonsense": 1}
    with pytest.raises(ValueError, match="nonsense"):
        await run_handler(Picky, settings)
