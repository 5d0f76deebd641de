"""A systemd of its own in the guest, with the daemon that `make staged` has installed.

The manager runs in namespaces of its own (container.sh); commands are run in there with nsenter.
Booting it takes about a minute under emulation, so all tests of this folder share one.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
CHECKOUT = HERE.parents[2]
STAGED = CHECKOUT / ".lab" / "staged"
UNIT = "dmwatch.service"
CONFIG = "/etc/dmwatch/config.toml"
DROP_INS = f"/etc/systemd/system/{UNIT}.d"
PATIENCE = 90.0
# emulation is slow: no call is to count as stuck, and the watchdog must not fire by itself;
# but where the long test of a hung call runs the default holds
STATUS_TIMEOUT = "5s" if os.environ.get("DMWATCH_LONG") == "1" else "10s"
CONFIGURATION = f"""
[monitor]
heartbeat = "1h"
status_timeout = "{STATUS_TIMEOUT}"
poll_interval = "2s"
lock_memory = true
[handlers.log]
use = "log"
[handlers.log.match]
severity = "info"
"""


class Machine:
    """What an operator has: files, systemctl, journalctl."""

    def __init__(self, manager: int) -> None:
        self._enter = ["nsenter", "--target", str(manager), "--mount", "--pid", "--uts"]
        self._cursor = ""

    def run(self, *command: str, check: bool = True, given: str = "") -> str:
        """Run a command beside the manager; its output."""
        done = subprocess.run(
            [*self._enter, *command],
            input=given,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        said = f"{' '.join(command)}: exit {done.returncode}: {done.stdout}{done.stderr}"
        assert not check or done.returncode == 0, f"{said}\n{self.everything()}"
        return done.stdout + ("" if check else done.stderr)

    def write(self, path: str, text: str) -> None:
        self.run("mkdir", "-p", os.path.dirname(path))  # noqa: PTH120 - a path over there
        self.run("tee", path, given=text)

    def systemctl(self, *arguments: str, check: bool = True) -> str:
        return self.run("systemctl", "--no-pager", *arguments, check=check)

    def show(self, name: str) -> str:
        return self.systemctl("show", "--value", "--property", name, UNIT).strip()

    def pid(self) -> int:
        return int(self.show("MainPID"))

    def mark(self) -> None:
        """From now on `journal` gives what comes later."""
        lines = self.run("journalctl", "--no-pager", "-n", "1", "-o", "json").splitlines()
        self._cursor = json.loads(lines[-1])["__CURSOR"] if lines else ""

    def journal(self) -> list[dict[str, Any]]:
        """What the unit has logged since the mark, and what the manager says about it."""
        after = ["--after-cursor", self._cursor] if self._cursor else []
        command = ["journalctl", "--no-pager", "-o", "json", "-u", UNIT, *after]
        return [json.loads(line) for line in self.run(*command).splitlines()]

    def said(self) -> list[dict[str, Any]]:
        """The lines of the daemon's own log since the mark, each with its `PRIORITY`."""
        return [
            json.loads(entry["MESSAGE"]) | {"PRIORITY": int(entry["PRIORITY"])}
            for entry in self.journal()
            if str(entry["MESSAGE"]).startswith("{")
        ]

    def types(self) -> list[str]:
        """The types of the events that the daemon's log has told since the mark."""
        return [line["type"] for line in self.said() if "type" in line]

    def wait(self, what: str, condition: Callable[[], Any], patience: float = PATIENCE) -> Any:
        """Wait until something holds; give what it gave."""
        end = time.monotonic() + patience
        while True:
            found = condition()
            if found:
                return found
            assert time.monotonic() < end, f"no {what} after {patience:g} s\n{self.everything()}"
            time.sleep(0.5)

    def wait_for(self, message: str, patience: float = PATIENCE) -> dict[str, Any]:
        """Wait for a line of the daemon's log that has this text in its message."""

        def found() -> dict[str, Any] | None:
            return next((line for line in self.said() if message in line["message"]), None)

        line: dict[str, Any] = self.wait(repr(message), found, patience)
        return line

    def wait_until_active(self, but: int = 0, patience: float = PATIENCE) -> int:
        """Wait until the daemon is ready, as another process than `but`; give its pid."""

        def active() -> int:
            pid = self.pid()
            return pid if pid not in {0, but} and self.show("ActiveState") == "active" else 0

        return int(self.wait("active daemon", active, patience))

    def started(self) -> int:
        """Start the daemon where it does not run; its pid."""
        self.systemctl("start", UNIT)
        return self.wait_until_active()

    def everything(self) -> str:
        """The end of the unit's journal, for whoever reads why a test failed."""
        done = subprocess.run(
            [*self._enter, "journalctl", "--no-pager", "-o", "cat", "-u", UNIT, "-n", "60"],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return done.stdout


@pytest.fixture(scope="session")
def machine() -> Iterator[Machine]:
    """The manager, with the daemon configured, not started."""
    if not STAGED.exists():
        pytest.fail("the daemon is not staged: make staged", pytrace=False)
    console = Path("/tmp/systemd-console")
    with console.open("wb") as output:
        command = ["unshare", "--pid", "--fork", "--mount", "--uts"]
        unshare = subprocess.Popen(
            [*command, str(HERE / "container.sh"), str(CHECKOUT)], stdout=output, stderr=output
        )
    made = Machine(_manager(unshare.pid))
    made.wait("manager", lambda: _running(made, unshare, console))
    made.write(CONFIG, CONFIGURATION)
    made.write("/run/systemd/system/dmwatch.service.d/lab.conf", "[Service]\nWatchdogSec=20s\n")
    made.systemctl("daemon-reload")
    yield made
    made.run("kill", "-s", "KILL", "1", check=False)
    made.systemctl("kill", "-s", "KILL", UNIT, check=False)
    subprocess.run(["pkill", "-KILL", "-P", str(unshare.pid)], check=False)
    unshare.wait(60)


def _manager(unshare: int) -> int:
    children = Path(f"/proc/{unshare}/task/{unshare}/children")
    end = time.monotonic() + 30
    while not (found := children.read_text().split()):
        assert time.monotonic() < end, "unshare has no child"
        time.sleep(0.2)
    return int(found[0])


def _running(machine: Machine, unshare: subprocess.Popen[bytes], console: Path) -> bool:
    assert unshare.poll() is None, f"the manager is gone: {console.read_text()}"
    state = machine.run("systemctl", "is-system-running", check=False)
    return state.strip() in {"running", "degraded"}
