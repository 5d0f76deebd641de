"""The service manager is told of life only where the watcher makes progress."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dmwatch.service.watchdog import PATIENCE, Watchdog


class FakeNotifier:
    present = False

    def __init__(self, interval: float | None = None) -> None:
        self.watchdog_seconds = interval
        self.said: list[str] = []

    def watchdog(self) -> None:
        self.said.append("alive")

    def status(self, status: str) -> None:
        self.said.append(status)


class FakeWatcher:
    busy_for = 0.0


def made(notifier: Any, watcher: Any) -> Watchdog:
    return Watchdog(notifier, watcher, lambda: "figures")


def test_it_tells_of_life_and_figures() -> None:
    notifier = FakeNotifier()
    made(notifier, FakeWatcher()).tick()
    assert notifier.said == ["alive", "figures"]


def test_a_watcher_that_is_stuck_is_no_sign_of_life_and_one_that_goes_on_again_is() -> None:
    notifier, watcher = FakeNotifier(), FakeWatcher()
    dog = made(notifier, watcher)
    watcher.busy_for = PATIENCE + 1
    dog.tick()
    dog.tick()
    assert notifier.said == ["figures", "figures"]
    watcher.busy_for = 0.0
    dog.tick()
    assert notifier.said[2:] == ["alive", "figures"]


async def test_it_tells_well_within_the_interval_that_the_manager_wants(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            raise asyncio.CancelledError

    monkeypatch.setattr("dmwatch.service.watchdog.asyncio.sleep", sleep)
    notifier = FakeNotifier(interval=15.0)
    with pytest.raises(asyncio.CancelledError):
        await made(notifier, FakeWatcher()).run()
    assert slept == [5.0, 5.0, 5.0]
    assert notifier.said.count("alive") == 3
