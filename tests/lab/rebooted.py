"""Run by test_reboot.py in the lab's guest, once for each boot; the journal comes and goes as text.

DMWATCH_JOURNAL holds the journal of the boot before, or is not there. Devices are made, in another
order each time; the daemon watches them, is killed (or not), and what it told is printed, with the
journal, as one line of JSON after `REBOOTED `.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import time
import zlib
from pathlib import Path

FOLDER = Path("/dev/shm/rebooted")
JOURNAL, TOLD = FOLDER / "events.db", FOLDER / "told"
PATIENCE = 120.0
CONFIGURATION = f"""
[handlers.out]
use = "file"
path = "{TOLD}"
match = {{ severity = "debug" }}
[journal]
path = "{JOURNAL}"
[stream]
socket = "{FOLDER}/sock"
"""
# name, uuid, type; which stand there in each boot
DEVICES = {
    1: [("by-uuid", "REBOOT-1", "error"), ("by-name", "", "error"), ("gone", "REBOOT-3", "error")],
    2: [("first", "", "zero"), ("by-name", "", "error"), ("other-name", "REBOOT-1", "error")],
}


def dmsetup(*arguments: str) -> None:
    subprocess.run(["dmsetup", *arguments], check=True, stderr=subprocess.DEVNULL, timeout=60)


def make(boot: int) -> None:
    for name, uuid, kind in DEVICES[boot]:
        dmsetup("create", name, *(["--uuid", uuid] if uuid else []), "--table", f"0 8 {kind}")


def told() -> list[dict[str, object]]:
    return [json.loads(line) for line in TOLD.read_text().split("\n")[:-1]] if TOLD.exists() else []


def live(number: signal.Signals) -> None:
    """One daemon, until it has told that it watches, and a little longer."""
    before = len([event for event in told() if event["type"] == "dmwatch.started"])
    command = [sys.executable, "-m", "dmwatch", "run", "--config", str(FOLDER / "config.toml")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as daemon:
        deadline = time.monotonic() + PATIENCE
        while len([event for event in told() if event["type"] == "dmwatch.started"]) == before:
            if time.monotonic() > deadline or daemon.poll() is not None:
                raise SystemExit("the daemon does not watch")
            time.sleep(0.2)
        time.sleep(2)
        daemon.send_signal(number)


def main() -> None:
    FOLDER.mkdir()
    (FOLDER / "config.toml").write_text(CONFIGURATION)
    before = os.environ.get("DMWATCH_JOURNAL")
    if before:
        JOURNAL.write_bytes(zlib.decompress(base64.b64decode(before)))
    make(2 if before else 1)
    for number in (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM):
        live(number)
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    journal = base64.b64encode(zlib.compress(JOURNAL.read_bytes(), 9)).decode()
    print("REBOOTED " + json.dumps({"told": told(), "journal": journal, "boot": boot}))


main()
