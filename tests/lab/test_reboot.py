"""The guest is booted twice with one journal: what stands over the reboot is told once in all.

Two boots take a while: only with DMWATCH_LONG=1.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

LAB = Path(__file__).with_name("lab.py")
COMMAND = shlex.split(os.environ.get("DMWATCH_LAB_COMMAND", f"{sys.executable} {LAB}"))
JOB = "tests/lab/rebooted.py"


def boot(journal: str | None) -> dict[str, Any]:
    done = subprocess.run(
        [*COMMAND, "--timeout", "600", "--", "python", JOB],
        env=os.environ | ({"DMWATCH_JOURNAL": journal} if journal else {}),
        capture_output=True,
        text=True,
        timeout=2700,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("REBOOTED ")]
    found: dict[str, Any] = json.loads(line.removeprefix("REBOOTED "))
    return found


@pytest.mark.timeout(3000)
@pytest.mark.skipif(os.environ.get("DMWATCH_LONG") != "1", reason="two boots: DMWATCH_LONG=1")
def test_what_stands_over_a_reboot_is_told_once_in_all() -> None:
    first = boot(None)
    second = boot(first["journal"])
    assert first["boot"] != second["boot"]
    steps = [
        (event["device"]["name"], event["state"], event["reason"], event["initial"])
        for event in unrepeated(first["told"] + second["told"])
        if event["type"] == "device.error-target"
    ]
    assert sorted(steps[:3]) == [
        ("by-name", "raised", None, True),
        ("by-uuid", "raised", None, True),
        ("gone", "raised", None, True),
    ]
    assert steps[3:] == [("gone", "cleared", "device-removed", True)]
    # one order over both boots
    sequences = [event["sequence"] for event in unrepeated(first["told"] + second["told"])]
    assert sequences == list(range(1, len(sequences) + 1))


def unrepeated(told: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """At least once: what a killed daemon had no time to note may come again."""
    return list({event["id"]: event for event in told}.values())
