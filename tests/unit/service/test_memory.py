from __future__ import annotations

import resource
import subprocess
import sys

import pytest

from dmwatch.errors import DmwatchError
from dmwatch.service import memory

LOCK = """
import resource, threading
from pathlib import Path
from dmwatch.service.memory import lock

def kilobytes(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key))

ending = threading.Event()
threads = [threading.Thread(target=ending.wait) for _ in range(16)]
for thread in threads:
    thread.start()
resident = kilobytes("VmRSS:")
lock()
before = kilobytes("VmLck:")
assert before > 1000, before
assert kilobytes("VmRSS:") < resident + 32000, "the stacks were read in"
later = bytearray(8 << 20)
assert kilobytes("VmLck:") >= before + 8000
smaps = Path("/proc/self/smaps").read_text()
libpython = [part for part in smaps.split("VmFlags:") if "libpython" in part or "/python3" in part]
for part in libpython:
    sizes = {line.split()[0]: line.split()[1] for line in part.splitlines() if line.endswith("kB")}
    assert sizes["Size:"] == sizes["Rss:"], part
assert libpython
ending.set()
"""


def may_lock() -> bool:
    return memory._unlimited()


@pytest.mark.skipif(not may_lock(), reason="locking memory needs CAP_IPC_LOCK or no limit")
def test_what_is_mapped_and_what_will_be_is_locked() -> None:
    done = subprocess.run([sys.executable, "-c", LOCK], capture_output=True, text=True, check=False)
    if "Cannot allocate memory" in done.stderr:
        pytest.skip("this machine has no memory to lock")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_limit_is_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_capabilities", lambda: 0)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (65536, 65536))
    with pytest.raises(DmwatchError, match=r"RLIMIT_MEMLOCK is limited.*LimitMEMLOCK=infinity"):
        memory.lock()


def test_a_refusal_is_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_unlimited", lambda: True)
    monkeypatch.setattr(memory, "MCL_CURRENT", 1 << 20)  # no such flag
    with pytest.raises(DmwatchError, match="the memory cannot be locked: Invalid argument"):
        memory.lock()


def test_without_a_limit_no_capability_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_capabilities", lambda: 0)
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    monkeypatch.setattr(resource, "getrlimit", lambda _: unlimited)
    assert memory._unlimited()
