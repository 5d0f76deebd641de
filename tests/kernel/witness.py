"""The second witness: dmsetup, or the library that it is made of, in a program that stays."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

# No udev runs in the lab, names are not to be rewritten.
ENVIRONMENT = {"DM_DISABLE_UDEV": "1", "DM_DEFAULT_NAME_MANGLING_MODE": "none"}
SECONDS = 120
LIBRARY = Path(__file__).with_name("libdm.py")


class Library:
    """libdm.py, started with the first command."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._busy = threading.Lock()

    def run(self, arguments: tuple[str, ...], given: str) -> tuple[str | None, str | None]:
        """What the command prints, and its error; None of both where dmsetup itself is needed.

        Raises:
            AssertionError: the program ended.
            subprocess.TimeoutExpired: the command did not end in time.
        """
        if not self._busy.acquire(blocking=False):
            return None, None  # a command of another thread, that may wait for this one
        try:
            return self._ask(arguments, given)
        finally:
            self._busy.release()

    def _ask(self, arguments: tuple[str, ...], given: str) -> tuple[str | None, str | None]:
        process = self._process = self._process or _start()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps([arguments, given]) + "\n")
        process.stdin.flush()
        if not select.select([process.stdout], [], [], SECONDS)[0]:
            self.end()
            raise subprocess.TimeoutExpired(["dmsetup", *arguments], SECONDS)
        line = process.stdout.readline()
        if not line:
            self._process = None
            raise AssertionError(f"libdm.py ended with {process.wait()} at {arguments}")
        printed, refused = json.loads(line)
        return printed, refused

    def end(self) -> None:
        """End the program, if it can: a command may hang in the kernel."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=5)


def _start() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-S", "-E", str(LIBRARY)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="ascii",
        env=os.environ | ENVIRONMENT,
    )


def program(
    arguments: tuple[str, ...], given: str = "", environment: Mapping[str, str] = ENVIRONMENT
) -> tuple[str, str | None]:
    """What dmsetup prints, and its error."""
    done = subprocess.run(
        ["dmsetup", *arguments],
        input=given,
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",
        timeout=SECONDS,
        check=False,
        env=os.environ | environment,
    )
    return done.stdout, done.stderr.strip() if done.returncode else None
