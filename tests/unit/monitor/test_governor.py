from __future__ import annotations

import asyncio

import pytest

from dmwatch.monitor.governor import BURST, LONGEST, Governor


class Clock:
    """Time and processor time, as a test lets them pass."""

    def __init__(self, share: float) -> None:
        self.now = 100.0
        self.cpu = 7.0
        self.governor = Governor(share, cpu=lambda: self.cpu, clock=lambda: self.now)

    def spend(self, cpu: float, within: float) -> float:
        """Use processor time; how long is to be paused then."""
        self.cpu += cpu
        self.now += within
        return self.governor.owed()


def test_a_quiet_system_is_served_at_once() -> None:
    clock = Clock(0.25)
    assert clock.governor.owed() == 0.0
    assert all(clock.spend(0.001, 1.0) == 0.0 for _ in range(100))


def test_a_burst_is_free() -> None:
    assert Clock(0.25).spend(BURST, 0.0) == 0.0


def test_what_was_spent_beyond_its_share_is_paused_for() -> None:
    assert Clock(0.25).spend(BURST + 0.1, 0.0) == pytest.approx(0.4)
    assert Clock(1.0).spend(BURST + 0.1, 0.0) == pytest.approx(0.1)


def test_no_pause_is_longer_than_the_longest() -> None:
    assert Clock(0.1).spend(50.0, 0.0) == LONGEST


def test_what_a_start_has_cost_is_not_paused_for() -> None:
    clock = Clock(0.25)
    clock.cpu += 60.0
    clock.governor.begin()
    assert clock.spend(BURST, 0.0) == 0.0
    assert clock.spend(0.1, 0.0) == pytest.approx(0.4)


def test_what_had_nothing_to_do_with_events_is_not_paused_for() -> None:
    clock = Clock(0.25)
    for _ in range(10):
        clock.cpu += 0.3
        clock.governor.forgive(0.3)
        assert clock.governor.owed() == 0.0
    assert clock.spend(BURST + 0.1, 0.0) == pytest.approx(0.4)


def test_what_is_not_used_is_saved_up_to_a_burst() -> None:
    clock = Clock(0.25)
    clock.spend(0.0, 1e6)
    assert clock.spend(BURST, 0.0) == 0.0
    assert clock.spend(0.1, 0.0) == pytest.approx(0.4)


@pytest.mark.parametrize("share", [0.1, 0.25, 1.0])
def test_under_load_the_share_is_kept_in_the_long_run(share: float) -> None:
    clock = Clock(share)
    began, used = clock.now, clock.cpu
    for _ in range(2000):
        clock.now += clock.spend(0.05, 0.05)
    assert (clock.cpu - used - BURST) / (clock.now - began) <= share * 1.01


async def test_breathing_pauses_for_what_is_owed(monkeypatch: pytest.MonkeyPatch) -> None:
    paused: list[float] = []

    async def sleep(seconds: float) -> None:
        paused.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    clock = Clock(0.5)
    await clock.governor.breathe()
    clock.cpu += BURST + 0.1
    await clock.governor.breathe()
    assert paused == [pytest.approx(0.2)]
