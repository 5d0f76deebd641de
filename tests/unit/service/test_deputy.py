"""The deputy: another main process for the service manager while a thread hangs in the kernel."""

from __future__ import annotations

import itertools
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dmwatch.service import deputy as module
from dmwatch.service.deputy import Deputy, sleeps
from dmwatch.service.notify import Notifier

DAEMON = """
import signal, sys, time
from dmwatch.service import deputy as module
from dmwatch.service.notify import Notifier

states = [("7", "1")]
module.sleeps = lambda: iter(states)
signal.signal(signal.SIGTERM, lambda *_: print("told to stop", file=sys.stderr, flush=True))
signal.signal(signal.SIGHUP, lambda *_: states.clear())
made = module.Deputy(Notifier())
while True:
    made.look()
    time.sleep(0.05)
"""


HUNG = ("7", "1")


class Manager:
    """Stands where systemd would, with a daemon that has a thread which hangs."""

    def __init__(self, address: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(address))
        self.socket.settimeout(30)
        self.daemon = subprocess.Popen(
            [sys.executable, "-c", DAEMON],
            env=os.environ | {"NOTIFY_SOCKET": str(address)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    def main_process(self) -> int:
        """What the daemon says its main process is now; waits for that."""
        text = self.socket.recv(4096).decode()
        assert text.startswith("MAINPID=")
        return int(text.removeprefix("MAINPID="))


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(tmp_path / "notify")
    yield made
    made.daemon.kill()
    made.daemon.wait()
    assert made.daemon.stderr is not None
    made.daemon.stderr.close()
    made.socket.close()


def ended(process: int) -> bool:
    """Whether a process that is none of our children is gone, or is a zombie."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return True
    return stat.rpartition(")")[2].split()[0] in "ZX"


def until_ended(process: int) -> None:
    end = time.monotonic() + 30
    while not ended(process):
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_deputy_passes_signals_on_and_ends_with_the_daemon(manager: Manager) -> None:
    deputy = manager.main_process()
    assert deputy != manager.daemon.pid
    assert not ended(deputy)
    os.kill(deputy, signal.SIGTERM)
    assert manager.daemon.stderr is not None
    assert select.select([manager.daemon.stderr], [], [], 30)[0]
    assert manager.daemon.stderr.readline() == b"told to stop\n"
    assert not ended(deputy)
    manager.daemon.kill()
    until_ended(deputy)


def test_it_is_withdrawn_when_nothing_hangs_any_more(manager: Manager) -> None:
    deputy = manager.main_process()
    os.kill(deputy, signal.SIGHUP)
    assert manager.main_process() == manager.daemon.pid
    until_ended(deputy)
    assert manager.daemon.poll() is None


def test_it_keeps_no_descriptor_open(manager: Manager) -> None:
    deputy = manager.main_process()
    end = time.monotonic() + 30
    while os.listdir(f"/proc/{deputy}/fd"):  # noqa: PTH208 - names are enough
        assert time.monotonic() < end
        time.sleep(0.05)


def test_without_a_service_manager_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "sleeps", lambda: iter([HUNG]))
    monkeypatch.setattr(module, "_fork", lambda: pytest.fail("it forked"))
    twice(Deputy(Notifier({})))


def test_a_thread_that_sleeps_again_and_again_does_not_hang(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    numbers = itertools.count()
    monkeypatch.setattr(module, "sleeps", lambda: iter([("7", str(next(numbers)))]))
    monkeypatch.setattr(module, "_fork", lambda: pytest.fail("it forked"))
    deputy = Deputy(Notifier({"NOTIFY_SOCKET": str(tmp_path / "nobody")}))
    twice(deputy)
    assert deputy.undecided


def test_a_process_that_cannot_fork_goes_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refused() -> int:
        raise BlockingIOError(11, "no more processes")

    monkeypatch.setattr(module, "sleeps", lambda: iter([HUNG]))
    monkeypatch.setattr(module, "_fork", refused)
    twice(Deputy(Notifier({"NOTIFY_SOCKET": str(tmp_path / "nobody")})))


def test_a_child_that_cannot_fork_does_not_go_on_as_a_second_daemon(tmp_path: Path) -> None:
    code = """if True:
        import os, sys
        from dmwatch.service import deputy as module
        from dmwatch.service.notify import Notifier
        fork, first = os.fork, os.getpid()
        def only_the_first():
            if os.getpid() != first:
                raise BlockingIOError(11, "no more processes")
            return fork()
        module.os.fork = only_the_first
        module.sleeps = lambda: iter([("7", "1")])
        made = module.Deputy(Notifier({"NOTIFY_SOCKET": sys.argv[1]}))
        made.look()
        made.look()
        print("it goes on", made.undecided, flush=True)
    """
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "nobody")],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stdout == "it goes on True\n"


def test_a_process_without_descriptors_goes_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refused() -> Iterator[module.Sleep]:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(module, "sleeps", refused)
    twice(Deputy(Notifier({"NOTIFY_SOCKET": str(tmp_path / "nobody")})))


def test_our_own_threads_do_not_hang() -> None:
    assert set(sleeps()) & set(sleeps()) == set()


def twice(deputy: Deputy) -> None:
    deputy.look()
    deputy.look()
