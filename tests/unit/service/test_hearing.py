"""Which handlers would hear of a device."""

from __future__ import annotations

from typing import Any

import pytest

from dmwatch.monitor.coverage import Coverage
from dmwatch.service.answers import hearing
from dmwatch.service.settings import HandlerTable


def covered(*targets: str) -> Coverage:
    return Coverage(
        device="vg-pool",
        label="vg/pool",
        number="254:3",
        uuid="LVM-abc",
        targets=targets,
        how=("event",),
        poll=None,
        conditions=(),
        unprotected=(),
    )


def table(**match: Any) -> HandlerTable:
    return HandlerTable.model_validate({"use": "log", "match": match})


@pytest.mark.parametrize(
    "match",
    [
        {},
        {"device": "vg/*"},
        {"device": "254:3"},
        {"uuid": "LVM-*"},
        {"types": ["thin-pool.*"], "severity": "critical"},
        {"target": "thin-pool"},
        {"types": ["device.status-stuck"], "severity": "error"},
    ],
)
def test_a_handler_hears_of_a_device_when_one_of_its_conditions_would_fit(
    match: dict[str, Any],
) -> None:
    assert hearing(covered("thin-pool"), {"h": table(**match)}) == ["h"]


@pytest.mark.parametrize(
    "match",
    [
        {"device": "other"},
        {"uuid": "CRYPT-*"},
        {"types": ["raid.*"]},
        {"target": "raid"},
        {"types": ["device.*"], "severity": "critical"},
    ],
)
def test_a_handler_that_none_of_its_conditions_fits_does_not(match: dict[str, Any]) -> None:
    assert hearing(covered("thin-pool"), {"h": table(**match)}) == []


def test_a_target_without_conditions_leaves_those_of_every_device() -> None:
    tables = {
        "all": table(),
        "targets": table(target="linear"),
        "worst": table(severity="critical"),
    }
    assert hearing(covered("linear", "unheard-of"), tables) == ["all"]
