"""The built-in handlers and a plug-in, each at fault, and what a handler beside notices of it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from dmwatch.service.delivery import Loaded, plugins
from dmwatch.service.delivery.plugins import load_all
from dmwatch.service.settings import HandlerTable

from .conftest import Delivery, Keeping, until

EVENTS = 50
SLOWEST = 2.0
"""Seconds for an event, on a machine that is busy; without a fault beside it takes milliseconds."""


def has_taken(delivery: Delivery, number: int) -> bool:
    return delivery.health("good").delivered == number


def program(text: str) -> dict[str, Any]:
    return {"use": "exec", "command": ["/bin/sh", "-c", text]}


@pytest.fixture
def refused() -> Iterator[int]:
    """A port on which connections are refused."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.fixture(params=["endless output", "forks", "hangs", "full disk", "refused", "no import"])
def wrong(request: pytest.FixtureRequest, refused: int) -> dict[str, Any]:
    tables: dict[str, dict[str, Any]] = {
        "endless output": program("yes"),
        "forks": program(
            "trap '' TERM; i=0; while [ $i -lt 200 ]; do i=$((i+1)); sleep 60& done; wait"
        ),
        "hangs": program("sleep 60"),
        "full disk": {"use": "file", "path": "/dev/full"},
        "refused": {"use": "webhook", "url": f"http://127.0.0.1:{refused}/"},
        "no import": {"use": "missing"},
    }
    delivery = {"timeout": "500ms", "retry_first": "100ms", "retry_longest": "100ms"}
    return tables[request.param] | {"delivery": delivery}


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plug-in named `missing` whose code is not there."""
    info = tmp_path / "missing-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: missing\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[dmwatch.handlers]\nmissing = no_such_code:Made\n")
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("broken")
async def test_a_handler_beside_keeps_its_pace(delivery: Delivery, wrong: dict[str, Any]) -> None:
    bad: Loaded = load_all({"bad": HandlerTable.model_validate(wrong)})["bad"]
    assert (bad.kind is plugins.StandIn) == (wrong["use"] == "missing")
    await delivery.start(bad=bad, good=Keeping)
    loop = asyncio.get_running_loop()
    slowest = 0.0
    for number in range(1, EVENTS + 1):
        began = loop.time()
        delivery.put()
        await until(partial(has_taken, delivery, number))
        slowest = max(slowest, loop.time() - began)
        await asyncio.sleep(0.02)
    assert slowest < SLOWEST
    assert delivery.health("good").failures == 0
    await until(lambda: delivery.stories("bad")[:1] == [("failing", "raised")])
    assert delivery.health("bad").delivered == 0
