"""The guide's examples run as they stand there, and print what it shows."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

import pytest

import dmwatch
from dmwatch.dm import DeviceMapper
from dmwatch.testing import FakeKernel

GUIDE = Path(__file__).parents[3] / "docs" / "devices.md"


def blocks() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", GUIDE.read_text(), re.MULTILINE | re.DOTALL)


def shown() -> str:
    """The indented lines after the example of a plan."""
    after = GUIDE.read_text().partition("print(step)")[2]
    found = re.search(r"(?:^    .*\n)+", after, re.MULTILINE)
    assert found
    return textwrap.dedent(found[0])


def test_the_examples_run_and_print_what_is_shown(
    kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(dmwatch, "DeviceMapper", lambda: DeviceMapper(kernel.open()), raising=False)
    # the disks and mounts of this machine are none of its business
    monkeypatch.setattr("dmwatch.devices.survey.read_blocks", lambda _: [])
    monkeypatch.setattr("dmwatch.devices.survey.read_mounts", lambda _: [])
    names: dict[str, Any] = {}
    for block in blocks():
        exec(block, names)
    assert len(blocks()) == 5
    assert names["upper"] == ["volume", "copy"]
    assert [step.device for step in names["steps"]] == ["volume", "copy", "pool"]
    assert capsys.readouterr().out == shown()
    assert kernel.devices == []
