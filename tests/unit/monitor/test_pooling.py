from __future__ import annotations

import pytest

from dmwatch.monitor.pooling import Pooling
from dmwatch.monitor.settings import Settings
from dmwatch.monitor.tracked import Tracked
from dmwatch.names import DeviceName, DeviceNumber

POOL, OTHER = DeviceNumber(253, 0), DeviceNumber(253, 1)


def device(minor: int, *pools: DeviceNumber) -> Tracked:
    made = Tracked(DeviceNumber(253, minor), DeviceName(f"d{minor}"), 0, Settings())
    made.pools = frozenset(pools)
    return made


@pytest.fixture
def pooling() -> Pooling:
    return Pooling()


def living(pooling: Pooling, pool: DeviceNumber) -> list[int]:
    return [found.number.minor for found in pooling.living_in(device(pool.minor))]


def test_what_lives_in_a_pool_and_no_other(pooling: Pooling) -> None:
    for made in (device(5, POOL), device(6, POOL, OTHER), device(7)):
        pooling.learn(made)
        pooling.learn(made)
    assert living(pooling, POOL) == [5, 6]
    assert living(pooling, OTHER) == [6]
    assert living(pooling, DeviceNumber(253, 7)) == []


def test_another_table_takes_it_elsewhere(pooling: Pooling) -> None:
    thin = device(5, POOL)
    pooling.learn(thin)
    thin.pools = frozenset({OTHER})
    pooling.learn(thin)
    assert living(pooling, POOL) == []
    assert living(pooling, OTHER) == [5]


def test_what_is_gone_is_forgotten_and_what_took_its_number_is_not(pooling: Pooling) -> None:
    old, new = device(5, POOL), device(5, POOL)
    pooling.learn(old)
    pooling.learn(new)
    pooling.forget(old)
    assert pooling.living_in(device(0)) == [new]
    pooling.forget(new)
    assert living(pooling, POOL) == []


def test_of_a_pool_that_is_gone_nothing_is_kept(pooling: Pooling) -> None:
    pooling.learn(device(5, POOL))
    pooling.forget(device(0))
    assert living(pooling, POOL) == []
