"""Standard streams that are closed, full or cannot be read: a sentence each, never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

LINE = "a: 0 8 zero \n"
FULL = "dmwatch: the output cannot be written: No space left on device\n"
CLOSED = "dmwatch: the output cannot be written: Bad file descriptor\n"


def shell(command: str, text: str = LINE) -> tuple[int, str, str]:
    done = subprocess.run(
        ["sh", "-c", command.replace("dmwatch", f"{sys.executable} -m dmwatch", 1)],
        input=text,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    "command",
    ["dmwatch explain", "dmwatch explain --json", "dmwatch --help", "dmwatch --version", "dmwatch"],
)
@pytest.mark.parametrize(("to", "said"), [(">/dev/full", FULL), (">&-", CLOSED)])
def test_output_that_cannot_be_written_is_1_and_a_sentence(
    command: str, to: str, said: str
) -> None:
    assert shell(f"{command} {to}") == (1, "", said)


def test_input_that_is_closed_is_1_and_a_sentence() -> None:
    said = "dmwatch: standard input cannot be read: Bad file descriptor\n"
    assert shell("dmwatch explain <&-") == (1, "", said)


def test_a_file_that_breaks_off_is_1_and_a_sentence() -> None:
    said = "dmwatch: /proc/self/mem cannot be read: Input/output error\n"
    assert shell("dmwatch explain /proc/self/mem") == (1, "", said)


@pytest.mark.parametrize("to", ["2>&-", "2>/dev/full"])
def test_where_nothing_can_be_said_the_code_says_it(to: str) -> None:
    assert shell(f"dmwatch nonsense {to}") == (2, "", "")
    assert shell(f"dmwatch explain /nonexistent {to}") == (2, "", "")
    assert shell(f"dmwatch explain {to}", "nonsense")[0] == 1


def test_no_file_gets_the_number_of_a_closed_stream(tmp_path: Path) -> None:
    path = tmp_path / "status"
    path.write_text(LINE)
    code, out, _ = shell(f"dmwatch explain {path} <&- 2>&-")
    assert (code, out) == (0, "a: zero status, 4.0 KiB at sector 0\n")
    # it would be written into the file itself
    assert shell(f"dmwatch explain {path} 1<>{path} >&-")[0] == 1
    assert path.read_text() == LINE


@pytest.mark.parametrize(("arguments", "code"), [((), 0), (("--help",), 0), (("nonsense",), 2)])
def test_a_reader_that_never_was_there_is_no_failure(arguments: tuple[str, ...], code: int) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "dmwatch", *arguments],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=60,
    )
    os.close(writing)
    assert done.returncode == code
    assert "Traceback" not in done.stderr
