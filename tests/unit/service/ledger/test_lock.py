"""The lock: one at a time, nothing of it left when its owner is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from dmwatch.errors import AlreadyRunningError
from dmwatch.service.ledger.lock import Lock

OWNER = """
import sys, threading
from pathlib import Path
from dmwatch.service.ledger.lock import Lock
lock = Lock(Path(sys.argv[1]))
lock.take()
print("taken", flush=True)
threading.Event().wait()
"""


def test_it_can_be_taken_let_go_and_taken_again(tmp_path: Path) -> None:
    first, second = Lock(tmp_path / "lock"), Lock(tmp_path / "lock")
    for _ in range(3):
        first.take()
        with pytest.raises(AlreadyRunningError, match=f"process {os.getpid()}"):
            second.take()
        assert (first.held, second.held) == (True, False)
        first.release()
        first.release()
        second.take()
        second.release()


def test_it_goes_with_its_owner(tmp_path: Path) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path / "lock")], stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    assert owner.stdout.readline() == "taken\n"
    lock = Lock(tmp_path / "lock")
    with pytest.raises(AlreadyRunningError, match=f"process {owner.pid}"):
        lock.take()
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    owner.stdout.close()
    lock.take()
    lock.release()


def test_its_file_is_in_no_table_of_descriptors_but_that_of_its_thread(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    lock = Lock(path)
    lock.take()
    try:
        holders = [task for task in threads() if str(path) in open_files(task)]
        assert holders == [thread_named("dmwatch-lock")]
        assert open_files(holders[0]) == [str(path)]
    finally:
        lock.release()


def thread_named(name: str) -> str:
    (found,) = (t.native_id for t in threading.enumerate() if t.name == name)
    return str(found)


def threads() -> list[str]:
    return [task.name for task in Path("/proc/self/task").iterdir()]


def open_files(task: str) -> list[str]:
    folder = Path(f"/proc/self/task/{task}/fd")
    found = []
    for link in folder.iterdir():
        try:
            found.append(str(link.readlink()))
        except FileNotFoundError:
            continue  # the one that lists the folder
    return found


def test_a_file_that_cannot_be_had_is_an_error_of_the_system(tmp_path: Path) -> None:
    lock = Lock(tmp_path / "missing" / "lock")
    with pytest.raises(FileNotFoundError):
        lock.take()
    assert not lock.held
