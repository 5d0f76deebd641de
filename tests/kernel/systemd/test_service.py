"""The daemon as an operator has it: installed by make install, run by a real systemd, sandboxed.

The tests stand in the order of one life of the daemon and share it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

Dmsetup = Callable[..., str]
Loop = Callable[[float], str]
Name = Callable[[str], str]

DOCS = Path(__file__).parents[3] / "docs" / "daemon.md"
UNIT = "dmwatch.service"
CONFIG = "/etc/dmwatch/config.toml"
DROP_INS = f"/etc/systemd/system/{UNIT}.d"
SHIPPED = "/opt/dmwatch/share/dmwatch/systemd/dmwatch.service.d"
PRIORITIES = {"debug": 7, "info": 6, "notice": 5, "warning": 4, "error": 3, "critical": 2}
CAP_SYS_ADMIN = 1 << 21
READY_SECONDS = 20.0


def status_of(pid: int, machine: Any) -> dict[str, str]:
    lines = machine.run("cat", f"/proc/{pid}/status").splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def test_it_is_ready_when_it_is_watching(machine: Any) -> None:
    machine.systemctl("start", UNIT)
    assert machine.show("ActiveState") == "active"
    assert machine.show("StatusText").startswith("watching ")
    assert any("is watching" in line["message"] for line in machine.said())


def test_the_sandbox_holds(machine: Any) -> None:
    pid = machine.started()
    status = status_of(pid, machine)
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == CAP_SYS_ADMIN
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    interfaces = machine.run("cat", f"/proc/{pid}/net/dev").splitlines()[2:]
    assert [line.split(":")[0].strip() for line in interfaces] == ["lo"]
    said = machine.run("systemd-analyze", "security", "--no-pager", UNIT)
    figure = re.search(r"Overall exposure level for \S+: ([0-9.]+)", said)
    assert figure, said
    assert f"| none | {figure[1]} |" in DOCS.read_text()


def test_its_memory_is_locked_where_that_is_configured(machine: Any) -> None:
    status = status_of(machine.started(), machine)
    print(f"resident: {status['VmRSS']}, locked: {status['VmLck']}")
    assert int(status["VmLck"].split()[0]) > 20_000, "kilobytes"


def test_events_reach_the_journal_with_their_priority(
    machine: Any, dmsetup: Dmsetup, device_name: Name
) -> None:
    machine.mark()
    name = device_name("priority")
    dmsetup("create", name, "--table", "0 8 error")
    try:
        line = machine.wait_for(f"{name}: ")
        machine.wait("warning", lambda: [x for x in machine.said() if x["level"] == "warning"])
    finally:
        dmsetup("remove", name)
    machine.wait_for("was removed")
    said = machine.said()
    assert {line["PRIORITY"] for line in said} >= {6, 4}
    assert [line["PRIORITY"] for line in said] == [PRIORITIES[line["level"]] for line in said]
    assert line["logger"]


@pytest.fixture
def broken_verity(
    loop: Loop, dmsetup: Dmsetup, device_name: Name, need_target: Callable[[str], None]
) -> Iterator[str]:
    """The path of a verity device whose second block is not what it was."""
    need_target("verity")
    data, hashes, name = loop(1), loop(1), device_name("verity")
    said = subprocess.run(
        ["veritysetup", "format", data, hashes], capture_output=True, text=True, check=True
    ).stdout
    words = dict(line.split(":", 1) for line in said.splitlines() if ":" in line)
    root, salt = words["Root hash"].strip(), words["Salt"].strip()
    subprocess.run(
        ["dd", "if=/dev/urandom", f"of={data}", "bs=4096", "seek=1", "count=1"], check=True
    )
    table = f"0 2048 verity 1 {data} {hashes} 4096 4096 256 1 sha256 {root} {salt}"
    dmsetup("create", name, "--readonly", "--table", table)
    yield f"/dev/mapper/{name}"
    dmsetup("remove", name)


def test_uevents_arrive_although_it_has_no_network(machine: Any, broken_verity: str) -> None:
    machine.started()
    machine.mark()
    # nothing but its uevent tells which block it was
    subprocess.run(["dd", f"if={broken_verity}", "of=/dev/null", "bs=4096", "skip=1"], check=False)
    machine.wait("verity.block-corrupted", lambda: "verity.block-corrupted" in machine.types())
    told = [line for line in machine.said() if line.get("type") == "verity.block-corrupted"]
    assert told[0]["PRIORITY"] == 2
    assert told[0]["data"] == {"kind": "data", "block": 1}


def test_a_good_configuration_is_reloaded(machine: Any) -> None:
    pid = machine.started()
    text = machine.run("cat", CONFIG)
    machine.write(CONFIG, text.replace('severity = "info"', 'severity = "notice"'))
    machine.mark()
    machine.systemctl("reload", UNIT)
    machine.wait_for("reloaded")
    assert machine.wait_until_active() == pid


def test_a_faulty_configuration_is_refused_and_told_and_the_old_one_stays(
    machine: Any, dmsetup: Dmsetup, device_name: Name
) -> None:
    pid = machine.started()
    text = machine.run("cat", CONFIG)
    machine.write(CONFIG, f'{text}\n[jornal]\n[log]\nlevel = "loud"\n')
    machine.mark()
    machine.systemctl("reload", UNIT, check=False)
    machine.wait("refusal", lambda: len([x for x in machine.said() if x["level"] == "error"]) >= 2)
    told = "\n".join(str(line) for line in machine.said())
    assert "jornal: there is no such key, did you mean journal?" in told
    assert 'log.level: expected "debug", "info"' in told
    assert {line["PRIORITY"] for line in machine.said() if line["level"] == "error"} == {3}
    name = device_name("still")
    dmsetup("create", name, "--table", "0 8 error")
    machine.wait_for(f"{name}: ")
    dmsetup("remove", name)
    machine.write(CONFIG, text)
    assert machine.wait_until_active() == pid


def test_a_daemon_that_is_killed_comes_back(machine: Any) -> None:
    pid = machine.started()
    restarts = int(machine.show("NRestarts"))
    machine.systemctl("kill", "-s", "KILL", UNIT)
    assert machine.wait_until_active(but=pid) != pid
    assert int(machine.show("NRestarts")) == restarts + 1


def test_a_frozen_loop_is_killed_by_the_watchdog(machine: Any) -> None:
    pid = machine.started()
    machine.mark()
    machine.run("kill", "-s", "STOP", str(pid))
    assert machine.wait_until_active(but=pid) != pid
    told = [str(entry["MESSAGE"]) for entry in machine.journal()]
    assert any("Watchdog timeout" in line for line in told)


# A call that hangs in the kernel


@pytest.fixture
def hung_pool(dmsetup: Dmsetup, loop: Loop, device_name: Name) -> Iterator[Callable[[], None]]:
    """A pool, and what makes each status call of it hang: a commit that waits for its metadata."""
    meta, pool = device_name("meta"), device_name("pool")
    dmsetup("create", meta, "--table", f"0 8192 linear {loop(4)} 0")
    data = loop(8)
    table = f"0 16384 thin-pool /dev/mapper/{meta} {data} 128 0 1 skip_block_zeroing"
    dmsetup("mknodes")
    dmsetup("create", pool, "--table", table)
    dmsetup("message", pool, "0", "create_thin 0")
    commits: list[subprocess.Popen[bytes]] = []

    def hang() -> None:
        dmsetup("suspend", "--noflush", "--nolockfs", meta)
        commits.append(subprocess.Popen(["dmsetup", "message", pool, "0", "create_thin 1"]))

    yield hang
    dmsetup("resume", meta)
    for commit in commits:
        commit.wait(60)
    dmsetup("remove", pool)
    dmsetup("remove", meta)


@pytest.mark.skipif(os.environ.get("DMWATCH_LONG") != "1", reason="minutes: make test-long")
def test_with_a_status_call_hung_a_restart_is_ready_within_20_s(
    machine: Any, hung_pool: Callable[[], None]
) -> None:
    old = machine.started()
    machine.mark()
    hung_pool()
    machine.wait("device.status-stuck", lambda: "device.status-stuck" in machine.types())
    deputy = machine.wait("a deputy", lambda: machine.pid() != old and machine.pid())
    machine.mark()
    machine.systemctl("restart", UNIT)
    assert machine.wait_until_active() not in {old, deputy}
    away, starting = times(machine.journal())
    print(f"waited {away:.1f} s for the old one; the new one was ready {starting:.1f} s later")
    assert machine.run("cat", f"/proc/{old}/stat").split()[2] == "Z", "it still hangs"
    # a start takes a second where nothing is emulated; beside other guests this may fail
    assert away + starting < READY_SECONDS


def times(journal: list[dict[str, Any]]) -> tuple[float, float]:
    """From "Stopping" to "Starting", and from there to "Started"."""
    when: dict[str, float] = {}
    for entry in journal:
        word = str(entry["MESSAGE"]).split(" ")[0]
        when.setdefault(word, int(entry["__MONOTONIC_TIMESTAMP"]) / 1e6)
    return when["Starting"] - when["Stopping"], when["Started"] - when["Starting"]


# With what the drop-ins open


HANDLERS = """
[handlers.who]
use = "exec"
command = ["/usr/bin/id", "-un"]
user = "nobody"
[handlers.unit]
use = "exec"
command = ["/bin/systemctl", "start", "--no-block", "marker.service"]
"""
HOOK = """
[handlers.hook]
use = "webhook"
url = "http://127.0.0.1:{port}/hook"
"""
MARKER = "[Service]\nType=oneshot\nExecStart=/bin/touch /run/marker\n"


class Receiver(ThreadingHTTPServer):
    """Keeps what was posted."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Posted)
        self.events: list[dict[str, Any]] = []


class Posted(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        self.server.events.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    with Receiver() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_what_cannot_start_says_why_and_starts_once_that_is_mended(
    machine: Any, receiver: Receiver
) -> None:
    machine.started()
    machine.run("mkdir", "-p", DROP_INS)
    machine.run("cp", "-r", f"{SHIPPED}/.", DROP_INS)
    machine.write("/etc/systemd/system/marker.service", MARKER)
    text = machine.run("cat", CONFIG) + HANDLERS + HOOK.format(port=receiver.server_port)
    machine.write(CONFIG, f"{text}\n[jornal]\n")
    machine.systemctl("daemon-reload")
    machine.mark()
    machine.systemctl("restart", UNIT, check=False)

    def why() -> bool:
        return any(
            "jornal: there is no such key" in str(entry["MESSAGE"]) and entry["PRIORITY"] == "3"
            for entry in machine.journal()
        )

    machine.wait("reason", why)
    machine.write(CONFIG, text)
    machine.wait_until_active()


def test_programs_run_as_another_user_and_start_units_of_their_own_and_posts_get_through(
    machine: Any, dmsetup: Dmsetup, device_name: Name, receiver: Receiver
) -> None:
    machine.wait_until_active()
    machine.mark()
    name = device_name("told")
    dmsetup("create", name, "--table", "0 8 error")
    machine.wait("marker", lambda: machine.run("ls", "/run/marker", check=False) == "/run/marker\n")
    machine.wait("nobody", lambda: "nobody" in str([x for x in machine.said() if "output" in x]))
    machine.wait("post", lambda: [e for e in receiver.events if name in e["summary"]])
    dmsetup("remove", name)


# The end


def test_it_stops_within_its_limit_and_leaves_nothing_behind(machine: Any) -> None:
    machine.started()
    procs = f"/sys/fs/cgroup{machine.show('ControlGroup')}/cgroup.procs"
    join = f"echo $$ > {procs}; exec sleep 1000"
    machine.run("sh", "-c", f"setsid sh -c '{join}' >/dev/null 2>&1 </dev/null &")
    machine.wait("stray", lambda: machine.run("pgrep", "-x", "sleep", check=False))
    machine.mark()
    machine.systemctl("stop", UNIT)
    assert machine.show("Result") == "success"
    assert not any("State 'stop-" in str(entry["MESSAGE"]) for entry in machine.journal())
    assert machine.run("pgrep", "-x", "sleep", check=False) == ""
