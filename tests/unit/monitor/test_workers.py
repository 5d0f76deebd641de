from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from typing import Any

import pytest

from dmwatch.monitor.workers import NoThreadError, StuckError, Workers


class Gate:
    """A call that hangs until it is opened."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.entered = threading.Event()
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        self.entered.set()
        self.opened.wait()
        return "late"


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate()
    yield made
    made.opened.set()


_others: set[threading.Thread] = set()


def mine() -> list[threading.Thread]:
    """The workers of this test; those of another may still hang in its fake kernel."""
    workers = (t for t in threading.enumerate() if t.name.startswith("dmwatch-worker"))
    return [thread for thread in workers if thread not in _others]


@pytest.fixture(autouse=True)
def no_threads_left() -> Iterator[None]:
    _others.clear()
    _others.update(mine())
    yield
    deadline = time.monotonic() + 10
    while mine():
        assert time.monotonic() < deadline, mine()
        time.sleep(0.01)


async def until(true: Callable[[], object]) -> None:
    while not true():  # noqa: ASYNC110 - what is waited for happens on other threads
        await asyncio.sleep(0.005)


async def test_a_call_gives_what_it_gives_on_another_thread() -> None:
    workers = Workers()
    assert await workers.run("a", threading.get_ident, 5) != threading.get_ident()
    workers.close()


async def test_an_exception_is_raised_where_the_call_was_asked_for() -> None:
    workers = Workers()

    def fail() -> None:
        raise OverflowError("evidence")

    with pytest.raises(OverflowError, match="evidence"):
        await workers.run("a", fail, 5)
    assert workers.pinned == 0
    workers.close()


async def test_an_exit_of_the_interpreter_is_passed_on_too() -> None:
    workers = Workers()

    def leave() -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        await workers.run("a", leave, 5)
    workers.close()


async def test_past_its_deadline_a_call_is_left_behind(gate: Gate) -> None:
    workers = Workers()
    with pytest.raises(StuckError, match=r"a has not answered within 0\.05 s"):
        await workers.run("a", gate, 0.05)
    assert workers.pinned == 1
    gate.opened.set()
    await until(lambda: workers.pinned == 0)
    assert await workers.run("a", lambda: "again", 5) == "again"
    workers.close()


async def test_a_second_call_on_a_device_that_hangs_fails_at_once(gate: Gate) -> None:
    workers = Workers()
    with pytest.raises(StuckError):
        await workers.run("a", gate, 0.05)
    with pytest.raises(StuckError, match="a has not answered an earlier call yet"):
        await workers.run("a", gate, 60)
    assert gate.calls == 1
    gate.opened.set()
    workers.close()


async def test_other_devices_go_on_meanwhile(gate: Gate) -> None:
    workers = Workers()
    hanging = asyncio.create_task(workers.run("a", gate, 60))
    await until(gate.entered.is_set)
    assert [await workers.run(n, lambda n=n: n, 5) for n in range(20)] == list(range(20))  # type: ignore[misc]
    assert len(mine()) == 2
    gate.opened.set()
    assert await hanging == "late"
    workers.close()


async def test_threads_are_bounded_and_what_finds_none_fails_by_its_deadline(gate: Gate) -> None:
    workers = Workers(limit=3)
    calls = [asyncio.create_task(workers.run(n, gate, 0.1)) for n in range(10)]
    done = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(each) for each in done] == [StuckError] * 3 + [NoThreadError] * 7
    assert len(mine()) == 3
    with pytest.raises(StuckError):
        await workers.run("one more", gate, 0.05)
    assert len(mine()) == 3
    gate.opened.set()
    await until(lambda: workers.pinned == 0)
    # nobody waited for what was queued behind: it was never carried out
    assert gate.calls == 3
    workers.close()


async def test_a_thread_is_used_again_before_another_one_is_made() -> None:
    workers = Workers()
    for number in range(50):
        await workers.run(number, lambda: None, 5)
    assert len(mine()) == 1
    workers.close()


async def test_a_late_return_is_told_with_its_key(gate: Gate) -> None:
    late: list[Hashable] = []
    workers = Workers(on_late=late.append)
    with pytest.raises(StuckError):
        await workers.run("a", gate, 0.05)
    assert late == []
    gate.opened.set()
    await until(lambda: late)
    assert late == ["a"]
    assert await workers.run("b", lambda: 1, 5) == 1
    assert late == ["a"]
    workers.close()


async def test_an_error_that_comes_late_is_told_as_a_return(gate: Gate) -> None:
    late: list[Hashable] = []
    workers = Workers(on_late=late.append)

    def fail() -> None:
        gate()
        raise OverflowError

    with pytest.raises(StuckError):
        await workers.run("a", fail, 0.05)
    gate.opened.set()
    await until(lambda: late)
    workers.close()


async def test_cancelling_who_waits_leaves_the_call_behind(gate: Gate) -> None:
    late: list[Hashable] = []
    workers = Workers(on_late=late.append)
    waiting = asyncio.create_task(workers.run("a", gate, 60))
    await until(gate.entered.is_set)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert workers.pinned == 1
    gate.opened.set()
    await until(lambda: late == ["a"])
    workers.close()


async def test_a_call_that_was_cancelled_before_it_began_is_not_made(gate: Gate) -> None:
    workers = Workers(limit=1)
    first = asyncio.create_task(workers.run("a", gate, 60))
    await until(gate.entered.is_set)
    made: list[int] = []
    second = asyncio.create_task(workers.run("b", lambda: made.append(1), 60))
    await asyncio.sleep(0.02)
    second.cancel()
    await asyncio.wait([second])
    gate.opened.set()
    assert await first == "late"
    await until(lambda: workers.pinned == 0)
    assert made == []
    workers.close()


def test_a_call_may_come_back_after_its_loop_was_closed(gate: Gate) -> None:
    async def leave_behind() -> None:
        workers = Workers()
        with pytest.raises(StuckError):
            await workers.run("a", gate, 0.05)
        workers.close()

    asyncio.run(leave_behind())
    gate.opened.set()


async def test_threads_do_not_keep_the_process_alive(gate: Gate) -> None:
    workers = Workers()
    with pytest.raises(StuckError):
        await workers.run("a", gate, 0.05)
    assert all(thread.daemon for thread in mine())
    gate.opened.set()
    workers.close()


async def test_closing_ends_the_threads_once_their_calls_come_back(gate: Gate) -> None:
    workers = Workers()
    hanging = asyncio.create_task(workers.run("a", gate, 60))
    await until(gate.entered.is_set)
    workers.close()
    assert len(mine()) == 1
    gate.opened.set()
    assert await hanging == "late"
    await until(lambda: not mine())


async def test_waiting_for_a_thread_is_not_the_calls_own_time() -> None:
    workers = Workers(limit=2)

    def slow() -> str:
        time.sleep(0.1)
        return "well"

    # far more than a deadline's worth of them, and each answers within it
    calls = [workers.run(number, slow, 1) for number in range(40)]
    assert await asyncio.gather(*calls) == ["well"] * 40
    assert len(mine()) == 2
    workers.close()


async def test_one_thread_that_is_left_serves_all_the_others(gate: Gate) -> None:
    workers = Workers(limit=2)
    with pytest.raises(StuckError):
        await workers.run("a", gate, 0.05)

    def slow() -> str:
        time.sleep(0.1)
        return "well"

    calls = [workers.run(number, slow, 1) for number in range(15)]
    assert await asyncio.gather(*calls) == ["well"] * 15
    gate.opened.set()
    await until(lambda: workers.pinned == 0)
    workers.close()


async def test_once_all_threads_have_hung_for_long_nobody_waits_for_one(gate: Gate) -> None:
    late: list[Hashable] = []
    workers = Workers(limit=2, on_late=late.append)
    calls = [asyncio.create_task(workers.run(n, gate, 0.2)) for n in range(3)]
    await asyncio.wait(calls)
    began = time.monotonic()
    for number in range(3, 53):
        with pytest.raises(StuckError, match="was not asked: all 2 threads hang"):
            await workers.run(number, gate, 0.2)
    # were each to wait for its deadline, this would take 10 s
    assert time.monotonic() - began < 5
    assert late == []
    gate.opened.set()
    await until(lambda: set(late) == set(range(53)))
    assert await workers.run("b", lambda: 1, 5) == 1
    assert gate.calls == 2
    workers.close()


class TestThreadsThatCannotBeHad:
    @pytest.fixture
    def allowed(self, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        """How many threads may still be started."""
        left, start = [0], threading.Thread.start

        def started(thread: threading.Thread) -> None:
            if not left[0]:
                raise RuntimeError("can't start new thread")
            left[0] -= 1
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", started)
        return left

    async def test_a_call_that_found_none_can_be_made_again(self, allowed: list[int]) -> None:
        workers = Workers()
        with pytest.raises(RuntimeError):
            await workers.run("a", lambda: 1, 5)
        assert workers.pinned == 0
        allowed[0] = 1
        assert await workers.run("a", lambda: 1, 5) == 1
        workers.close()

    async def test_those_that_there_are_must_do(self, allowed: list[int]) -> None:
        allowed[0] = 1
        workers = Workers()
        calls = [workers.run(number, lambda: 1, 5) for number in range(50)]
        assert await asyncio.gather(*calls) == [1] * 50
        assert len(mine()) == 1
        workers.close()


async def test_an_error_that_comes_as_its_caller_is_cancelled_is_nobodys(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    complaints: list[str] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: complaints.append(context["message"]))
    workers, tasks = Workers(), list[asyncio.Task[Any]]()
    deliver = workers._deliver

    def delivered_and_cancelled(*answer: Any) -> None:
        deliver(*answer)
        tasks[0].cancel()

    def fails() -> None:
        raise OSError(6, "gone")

    monkeypatch.setattr(workers, "_deliver", delivered_and_cancelled)
    tasks.append(asyncio.create_task(workers.run("a", fails, 30)))
    await asyncio.wait(tasks)
    assert tasks.pop().cancelled()
    workers.close()
    for thread in mine():
        await asyncio.to_thread(thread.join)
    gc.collect()
    assert complaints == []
