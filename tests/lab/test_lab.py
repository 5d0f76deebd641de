"""The lab on the host, with a stand-in for vng that runs the job right here; one test boots."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

LAB = Path(__file__).with_name("lab.py")
CHECKOUT = LAB.parents[2]
# As vng does, it leaves the real work to a child: the lab must end that one too.
FAKE_VNG = """#!/bin/bash
for word; do case $word in --rwdir=*) shared=${word##*=} ;; esac; done
printf '%s\\n' "$@" >"$PIDS.arguments"
sleep 3600 &
echo $! >>"$PIDS"
echo $$ >>"$PIDS"
. "$shared/job.env"
bash "$shared/job.sh"
echo $? >"$shared/status"
kill %1
"""


class Lab:
    """lab.py with the stand-in."""

    def __init__(self, directory: Path) -> None:
        vng, self.kernel, self.pids = (directory / n for n in ("vng", "vmlinuz-6.1.0-fake", "pids"))
        vng.write_text(FAKE_VNG)
        vng.chmod(0o755)
        self.kernel.touch()
        self.pids.touch()
        self.environment = os.environ | {"LAB_VNG": str(vng), "PIDS": str(self.pids)}

    def start(self, *command: str, timeout: float = 60) -> subprocess.Popen[str]:
        options = ["--kernel", str(self.kernel), "--timeout", str(timeout), "--"]
        return subprocess.Popen(
            [sys.executable, str(LAB), *options, *command],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *command: str, timeout: float = 60) -> tuple[int, str, str]:
        with self.start(*command, timeout=timeout) as lab:
            out, error = lab.communicate()
            return lab.returncode, out, error

    def alive(self) -> list[int]:
        return [pid for pid in map(int, self.pids.read_text().split()) if _runs(pid)]


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


def _within(seconds: float, true: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not true() and time.monotonic() < deadline:
        time.sleep(0.02)
    return true()


def _scratch_of(lab: subprocess.Popen[str]) -> Path:
    return CHECKOUT / ".lab" / f"scratch-{lab.pid}"


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


@pytest.mark.parametrize("status", [0, 1, 7, 125, 255])
def test_the_exit_status_is_passed_through(lab: Lab, status: int) -> None:
    assert lab.run("bash", "-c", f"exit {status}")[0] == status


def test_output_is_passed_through_each_to_its_own(lab: Lab) -> None:
    _, out, error = lab.run("bash", "-c", "echo one; echo two >&2; printf three")
    assert out == "one\nthree"
    assert error.splitlines()[1:] == ["two"]


def test_a_lot_of_output_arrives_whole(lab: Lab) -> None:
    assert lab.run("seq", "100000")[1].splitlines()[-1] == "100000"


def test_arguments_arrive_as_they_were(lab: Lab) -> None:
    words = ["a b", "$HOME", "'", '"', "*", "ü", ""]
    assert lab.run("printf", "<%s>", *words)[1] == "".join(f"<{word}>" for word in words)


def test_the_environment_of_the_job(lab: Lab) -> None:
    lab.environment |= {"CI": "true", "DMWATCH_X": "a 'b'", "SECRET": "no", "PYTEST_ADDOPTS": "-x"}
    names = ["CI", "DMWATCH_X", "DMWATCH_LAB", "DMWATCH_KERNEL", "PYTEST_ADDOPTS"]
    _, out, _ = lab.run("printenv", *names)
    assert out.splitlines() == ["true", "a 'b'", "1", "6.1.0-fake", "-p no:cacheprovider -x"]


def test_out_of_time(lab: Lab) -> None:
    status, _, error = lab.run("sleep", "3600", timeout=0.5)
    assert status == 124
    assert "time limit" in error
    assert lab.alive() == []


def test_a_guest_that_dies_is_the_labs_failure(lab: Lab) -> None:
    status, _, error = lab.run("bash", "-c", "kill -9 $PPID")
    assert status == 125
    assert "ended without an exit status" in error


def test_a_guest_whose_vng_is_killed_is_ended_too(lab: Lab) -> None:
    with lab.start("bash", "-c", "echo ready; sleep 3600") as running:
        assert running.stdout is not None
        running.stdout.readline()
        os.kill(int(lab.pids.read_text().split()[1]), signal.SIGKILL)
        assert running.wait(10) == 125
    assert lab.alive() == []


def test_kvm_only_where_it_is_asked_for(lab: Lab) -> None:
    arguments = Path(f"{lab.pids}.arguments")
    lab.run("true")
    assert "--disable-kvm" in arguments.read_text().splitlines()
    lab.environment["LAB_KVM"] = "1"
    lab.run("true")
    assert "--disable-kvm" not in arguments.read_text().splitlines()


def test_an_unknown_kernel_is_one_sentence(lab: Lab) -> None:
    done = subprocess.run(
        [sys.executable, str(LAB), "--kernel", "2.6", "--", "true"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 125
    assert done.stderr.startswith("lab: no kernel '2.6': try 5.10, 6.1, 6.12, 7")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
def test_nothing_is_left_running(lab: Lab, number: signal.Signals) -> None:
    with lab.start("bash", "-c", "echo ready; sleep 3600") as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "ready\n"
        assert len(lab.alive()) == 2
        running.send_signal(number)
        running.communicate()
    assert running.returncode == (-9 if number == signal.SIGKILL else 128 + number)
    assert _within(5, lambda: lab.alive() == [])
    assert _within(5, lambda: not _scratch_of(running).exists())


def test_nothing_is_left_running_after_a_job_that_ends(lab: Lab) -> None:
    with lab.start("true") as running:
        running.communicate()
    assert lab.alive() == []
    assert not _scratch_of(running).exists()


@pytest.mark.skipif(os.environ.get("DMWATCH_LONG") != "1", reason="boots a guest: make test-long")
@pytest.mark.timeout(300)
def test_a_real_guest() -> None:
    job = "echo out; echo err >&2; pwd; uname -r; [ -c /dev/mapper/control ] && exit 3"
    done = subprocess.run(
        [sys.executable, str(LAB), "--", "bash", "-c", job],
        capture_output=True,
        text=True,
        check=False,
    )
    out = done.stdout.splitlines()
    assert (done.returncode, out[:2]) == (3, ["out", str(CHECKOUT)])
    assert done.stderr.splitlines()[-1] == "err"
