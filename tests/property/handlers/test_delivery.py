"""What holds for every order of events, every template and every text."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dmwatch.handlers.answers import retry_after
from dmwatch.handlers.exec import variables
from dmwatch.handlers.program import Output
from dmwatch.handlers.templates import fill
from dmwatch.service.delivery.backoff import Backoff
from dmwatch.service.delivery.inbox import Inbox
from dmwatch.service.entry import Entry
from dmwatch.testing import make_event

FITS, MISSES = make_event(key="fits"), make_event(key="misses")
DATA = st.dictionaries(
    st.text(max_size=5),
    st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.lists(st.integers()),
    max_size=4,
)


@given(st.lists(st.sampled_from(["fits", "misses", "take"]), max_size=60), st.integers(1, 5))
def test_an_inbox_keeps_order_and_its_cursor_never_passes_what_waits(
    steps: list[str], limit: int
) -> None:
    asyncio.run(_play(steps, limit))


async def _play(steps: list[str], limit: int) -> None:
    passed: list[int] = []
    lost = 0

    def overflow() -> None:
        nonlocal lost
        lost += 1

    inbox = Inbox(limit, lambda event: event is FITS, passed.append, overflow)
    waiting: list[int] = []
    for position, step in enumerate(steps, 1):
        if step == "take" and waiting:
            entry = await inbox.next()
            assert entry is not None
            assert entry.position == waiting.pop(0), "the oldest first"
            inbox.done()
        elif step != "take":
            inbox.put(Entry(position, FITS if step == "fits" else MISSES))
            waiting += [position] if step == "fits" else []
            gone = len(waiting) - limit
            waiting = waiting[-limit:]
            assert lost >= max(0, gone)
        assert passed == sorted(passed)
        assert len(inbox) == len(waiting) <= limit
        assert not (passed and waiting) or passed[-1] < waiting[0]
    told = [place for place, step in enumerate(steps, 1) if step != "take"]
    if told and not waiting:
        assert passed[-1] >= told[-1] or lost


@given(DATA, st.text(max_size=50))
def test_a_json_template_stays_json_whatever_an_event_says(data: dict[str, Any], said: str) -> None:
    event = make_event(data=data, summary=said)
    template = '{"summary": "$summary", "data": "${data_x}", "device": "$device"}'
    assert json.loads(fill(template, event, as_json=True))["summary"] == said


@given(DATA)
def test_variables_of_a_program_can_always_be_passed(data: dict[str, Any]) -> None:
    for name, text in variables(make_event(data=data)).items():
        assert name.startswith("DMWATCH_")
        assert "=" not in name
        assert "\0" not in name + text


@given(st.text(max_size=60))
def test_retry_after_is_a_pause_or_nothing(text: str) -> None:
    pause = retry_after(text)
    assert pause is None or pause >= 0


@given(st.floats(0.1, 1e6), st.floats(0.1, 1e6), st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_pauses_grow_and_stay_below_the_longest(
    first: float, longest: float, chances: list[float]
) -> None:
    backoff = Backoff(first, longest, iter([*chances, 0.5, 0.5]).__next__)
    pauses = [backoff.pause() for _ in chances]
    assert all(0 < pause <= longest * 1.2500001 for pause in pauses)
    backoff.reset()
    assert backoff.pause() == min(first, longest)


@given(st.lists(st.binary(max_size=40), max_size=10), st.integers(0, 50))
def test_kept_output_is_bounded_and_whole_where_it_fits(chunks: list[bytes], keep: int) -> None:
    output = Output(keep=keep)
    for chunk in chunks:
        output.add(chunk)
    said = b"".join(chunks)
    if len(said) <= keep // 2 * 2:
        assert output.text() == said.decode("utf-8", "replace").rstrip("\n")
    else:
        assert "bytes left out]" in output.text()
        assert len(output._head) + len(output._tail) <= keep
