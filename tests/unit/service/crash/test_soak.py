"""A minute of 1,000 events a second through two handlers, the journal and ten clients.

With DMWATCH_LONG=1; else a few seconds at a gentler pace, in which memory says little.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

LONG = os.environ.get("DMWATCH_LONG") == "1"
SECONDS, RATE = (60, 1000) if LONG else (3, 300)
CLIENTS = 10
MIB = 2**20


class Client(threading.Thread):
    """Counts what it is told."""

    def __init__(self, path: Path) -> None:
        super().__init__(daemon=True)
        self.sequences: list[int] = []
        self.error: str | None = None
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))
        self._socket.sendall(b"{}\n")

    def run(self) -> None:
        with self._socket, self._socket.makefile("rb") as lines:
            for line in lines:
                said = json.loads(line)
                if "error" in said:
                    self.error = said["error"]
                else:
                    self.sequences.append(said["sequence"])


@pytest.mark.timeout(300)
def test_memory_does_not_grow_and_everybody_gets_everything(tmp_path: Path) -> None:
    script = Path(__file__).with_name("soaking.py")
    command = [sys.executable, str(script), str(tmp_path), str(SECONDS), str(RATE)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "ready\n"
        clients = [Client(tmp_path / "sock") for _ in range(CLIENTS)]
        for client in clients:
            client.start()
        process.stdin.write("go\n")
        process.stdin.flush()
        found: dict[str, Any] = json.loads(process.stdout.readline())
    for client in clients:
        client.join(30)
    show(found)
    everything = list(range(1, SECONDS * RATE + 1))
    for client in clients:
        assert client.error is None
        assert client.sequences == everything
    assert found["events"] == len(everything)
    assert found["own"] == 0
    assert found["dropped"] == {"one": 0, "two": 0}
    assert found["delivered"] == {"one": len(everything), "two": len(everything)}
    grown = found["rss_at_the_end"] - found["rss_at_10_percent"]
    assert not LONG or grown <= 2 * MIB


def show(found: dict[str, Any]) -> None:
    seconds = found["seconds"]
    rate = found["events"] / seconds
    print(f"\n{found['events']} events, {rate:.0f} a second, {CLIENTS} clients, 2 handlers")
    for name in ("rss_at_10_percent", "rss_at_the_end"):
        print(f"  {name.replace('_', ' ')}: {found[name] / MIB:.2f} MiB")
    print(f"  processor: {found['cpu_seconds'] / seconds:.0%} of one")
    for name in ("late_median", "late_99", "late_longest"):
        print(
            f"  published {name.replace('_', ' ')}: {found[name] * 1000:.2f} ms after it was seen"
        )
