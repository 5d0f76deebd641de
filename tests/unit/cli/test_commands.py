"""What holds for every command, in a process of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dmwatch.cli import _COMMANDS

# a kernel with devices in which something happens all the time
CHILD = """
import sys, threading, time
from dmwatch.dm import device_mapper
from dmwatch.ioctl.abi import Command
from dmwatch.table import TargetLine
from dmwatch.testing import FakeKernel
kernel = FakeKernel()
for number in range({devices}):
    kernel.add(f"device-{{number}}-\\u00fc", TargetLine(0, 8, "{kind}"))
device_mapper.Control = kernel.open
if {hang}:
    kernel.hang(Command.TABLE_STATUS)
def act():
    while True:
        time.sleep(0.05)
        kernel.raise_event("device-0-\\u00fc")
if {events}:
    threading.Thread(target=act, daemon=True).start()
sys.argv = ["dmwatch", *sys.argv[1:]]
from dmwatch.cli import main
main()
"""


@contextmanager
def child(
    *arguments: str,
    devices: int = 1,
    kind: str = "zero",
    hang: bool = False,
    events: bool = True,
    **more: Any,
) -> Iterator[subprocess.Popen[str]]:
    code = CHILD.format(devices=devices, kind=kind, hang=hang, events=events)
    with subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **more},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def help_of(*command: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "dmwatch", *command, "--help"],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"NO_COLOR": "1"},
    )
    return done.stdout


@pytest.mark.parametrize("command", [(), *((name,) for name in _COMMANDS)])
def test_help_has_an_example_and_a_sentence(command: tuple[str, ...]) -> None:
    shown = help_of(*command)
    assert re.search(r"^ *Example: .*dmwatch \w+", shown, re.MULTILINE)
    assert re.search(r"^Usage: .*\n\n  [A-Z][^\n]*(\n  [^\n]+)*\.\n", shown)
    assert all(len(line) <= 100 for line in shown.splitlines())


def test_the_help_names_every_command_and_imports_none_of_them() -> None:
    shown = help_of()
    for name, sentence in _COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(sentence)}$", shown, re.MULTILINE)
    code = (
        "import sys; from dmwatch.cli import run; run(['--help'])\n"
        "print(sorted(m for m in sys.modules if m.startswith('dmwatch.cli.')), 'pydantic' in "
        "sys.modules)"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert out.splitlines()[-1] == "['dmwatch.cli.failure', 'dmwatch.cli.streams'] False"


@pytest.mark.parametrize("name", [n for n in _COMMANDS if n not in {"run", "watch"}])
def test_what_prints_data_takes_json(name: str) -> None:
    assert "--json" in help_of(name)


def test_the_version_is_told() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dmwatch", "--version"], capture_output=True, text=True, check=True
    )
    assert re.search(r"\d+\.\d+", done.stdout)


@pytest.mark.parametrize("arguments", [["watch"], ["watch", "--json"]])
def test_a_reader_that_leaves_ends_watch_quietly(arguments: list[str]) -> None:
    with child(*arguments) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert process.wait(timeout=30) == 0
        assert process.stderr.read() == "watching 1 devices\n"


@pytest.mark.parametrize("arguments", [["ls"], ["ls", "--json"], ["status"], ["table"]])
def test_a_reader_that_never_was_there_ends_a_command_quietly(arguments: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with child(*arguments, devices=50, events=False, stdout=writing) as process:
        os.close(writing)
        assert process.stderr is not None
        assert process.wait(timeout=30) == 0
        assert process.stderr.read() == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_watch_quietly_and_with_everything_written(
    number: signal.Signals, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with out.open("w") as file, child("watch", "--json", stdout=file) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "watching 1 devices\n"
        deadline = time.monotonic() + 20
        # each line is in the file as soon as it was written
        while not out.read_text().endswith("}\n"):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(number)
        assert process.wait(timeout=30) == 0
        assert process.stderr.read() == ""
    assert out.read_text().endswith("}\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("late", [True, False])
def test_a_signal_ends_watch_also_while_its_reader_stands_still(
    number: signal.Signals, late: bool
) -> None:
    # more than a pipe holds
    with child("watch", "--json", devices=400, kind="error", events=False) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stderr.readline() == "watching 400 devices\n"
        time.sleep(1)
        process.send_signal(number)
        if late:
            assert len(process.stdout.readlines()) == 400
        assert process.wait(timeout=20) == (0 if late else 1)
        said = "" if late else "dmwatch: the output cannot be written: nobody reads it\n"
        assert process.stderr.read() == said


def test_a_duration_ends_watch_also_while_its_reader_stands_still() -> None:
    arguments = ("watch", "--json", "--duration", "1")
    with child(*arguments, devices=400, kind="error", events=False) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "watching 400 devices\n"
        assert process.wait(timeout=20) == 1
        assert process.stderr.read().startswith("dmwatch: the output cannot be written")


def test_ctrl_c_ends_a_command_that_hangs_without_a_traceback() -> None:
    with child("ls", hang=True, events=False) as process:
        time.sleep(2)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=4)
        assert (out, err) == ("", "")
        assert process.returncode != 0


def test_a_terminal_without_unicode_gets_escapes() -> None:
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    with child("ls", events=False, env=environment) as process:
        out, err = process.communicate(timeout=30)
        assert (process.returncode, err) == (0, "")
        assert "device-0-\\xfc" in out


@pytest.mark.parametrize("arguments", [["ls"], ["status"], ["table"], ["targets"], ["watch"]])
def test_a_pipe_gets_no_colour(arguments: list[str]) -> None:
    extra = ["--duration", "0.5"] if arguments == ["watch"] else []
    with child(*arguments, *extra) as process:
        out, _ = process.communicate(timeout=30)
    assert out
    assert "\x1b" not in out
