"""The examples that people are shown run as they stand there."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import pytest

from dmwatch import DeviceMapper, TargetLine, Watcher
from dmwatch.errors import DeviceNotFoundError

README = Path(__file__).parents[2] / "README.md"
Dmsetup = Callable[..., str]


@pytest.fixture
def scratch() -> Iterator[str]:
    """The name that the examples use; it is gone afterwards."""
    yield "scratch"
    with DeviceMapper() as dm, suppress(DeviceNotFoundError):
        dm.remove("scratch")


class Announced(Watcher):
    """A watcher that says when no later event can be missed."""

    ready: asyncio.Event

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self.ready.set()
        return self


@pytest.fixture
def ready() -> asyncio.Event:
    Announced.ready = asyncio.Event()
    return Announced.ready


def python_of(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


async def printed(capsys: pytest.CaptureFixture[str], text: str) -> None:
    shown = ""
    while text not in shown:
        await asyncio.sleep(0.05)
        shown += capsys.readouterr().out


async def test_the_readmes_examples_run(
    scratch: str, ready: asyncio.Event, dmsetup: Dmsetup, capsys: pytest.CaptureFixture[str]
) -> None:
    names: dict[str, Any] = {}
    for example in python_of(README):
        exec(compile(example, str(README), "exec"), names)
    assert dmsetup("table", scratch).split() == ["0", "2048", "zero"]
    names["Watcher"] = Announced
    watching = asyncio.create_task(names["watch"]())
    await ready.wait()
    with DeviceMapper() as dm:
        dm.remove(scratch)
    await asyncio.wait_for(printed(capsys, "scratch: the device was removed"), 30)
    watching.cancel()
    await asyncio.wait([watching])


async def test_the_library_in_ten_lines(
    scratch: str, ready: asyncio.Event, dmsetup: Dmsetup, capsys: pytest.CaptureFixture[str]
) -> None:
    async def watch() -> None:
        async with Announced() as watcher:
            async for event in watcher:
                print(event.summary)

    watching = asyncio.create_task(watch())
    await ready.wait()
    with DeviceMapper() as dm:
        dm.create("scratch")
        dm.load("scratch", [TargetLine(0, 2048, "zero", "")])
        dm.resume("scratch")
    assert dmsetup("table", scratch).split() == ["0", "2048", "zero"]
    await asyncio.wait_for(printed(capsys, "scratch: the device was added (zero)"), 30)
    watching.cancel()
    await asyncio.wait([watching])
