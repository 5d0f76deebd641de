"""Nothing is imported on the event path: the daemon may watch the disk that it runs from."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).with_name("importing.py")


def test_no_event_causes_an_import(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    (line,) = (line for line in ran.stdout.splitlines() if line.startswith("events "))
    _, told, _, *imported = line.split()
    assert int(told) >= 8, ran.stdout + ran.stderr
    assert imported == []
