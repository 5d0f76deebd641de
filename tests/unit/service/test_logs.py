"""The daemon's log: what a line looks like, where it goes, and that it never waits."""

from __future__ import annotations

import json
import logging
import os
import pty
import re
import socket
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog

from dmwatch.service import logs
from dmwatch.service.lines import LONGEST, Lines, is_journal
from dmwatch.service.logs import Format, LogSettings
from dmwatch.severity import Severity


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    logs._output = None
    logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    root.setLevel(level)


class Reader:
    """The other end of the log."""

    def __init__(self) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.ours.setblocking(False)

    def text(self) -> str:
        return self.ours.recv(1 << 20).decode()

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text().splitlines()]


@pytest.fixture
def reader() -> Iterator[Reader]:
    made = Reader()
    yield made
    made.ours.close()
    made.theirs.close()


Configure = Callable[..., None]


@pytest.fixture
def configure(reader: Reader) -> Configure:
    return lambda **chosen: logs.configure(LogSettings(**chosen), reader.theirs.fileno())


def breaks() -> None:
    raise RuntimeError("in two\nlines")


def journal(monkeypatch: pytest.MonkeyPatch, descriptor: int) -> None:
    found = os.fstat(descriptor)
    monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")


def test_a_line_is_json_with_stable_keys(configure: Configure, reader: Reader) -> None:
    configure()
    logs.get("dmwatch.daemon", handler="pager").warning("it rains", drops=3)
    (line,) = reader.lines()
    assert list(line) == ["message", "level", "logger", "time", "handler", "drops"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", line.pop("time"))
    assert line == {
        "message": "it rains",
        "level": "warning",
        "logger": "dmwatch.daemon",
        "handler": "pager",
        "drops": 3,
    }


@pytest.mark.parametrize(
    ("level", "priority"),
    [("debug", 7), ("info", 6), ("warning", 4), ("error", 3), ("critical", 2)],
)
def test_in_the_journal_a_line_starts_with_its_priority(
    configure: Configure,
    reader: Reader,
    monkeypatch: pytest.MonkeyPatch,
    level: str,
    priority: int,
) -> None:
    journal(monkeypatch, reader.theirs.fileno())
    configure(level="debug")
    getattr(logs.get("x"), level)("said")
    text = reader.text()
    assert text.startswith(f"<{priority}>")
    assert json.loads(text[3:])["level"] == level


def test_an_event_has_the_level_of_its_severity(
    configure: Configure, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal(monkeypatch, reader.theirs.fileno())
    configure(level="critical")
    for severity in Severity:
        logs.get("x").info("vg/pool is full", severity=severity)
    levels = [(line[:3], json.loads(line[3:])["level"]) for line in reader.text().splitlines()]
    assert levels == [
        ("<7>", "debug"),
        ("<6>", "info"),
        ("<5>", "notice"),
        ("<4>", "warning"),
        ("<3>", "error"),
        ("<2>", "critical"),
    ]


def test_a_severity_that_is_none_is_no_reason_to_fall(configure: Configure, reader: Reader) -> None:
    configure()
    logs.get("x").info("said", severity="horrible")
    assert reader.lines()[0]["level"] == "info"


@pytest.mark.parametrize("stream", ["", "x", "1:2", "1:2:3", "8:"])
def test_another_journal_stream_is_none(stream: str) -> None:
    assert not is_journal(1, {"JOURNAL_STREAM": stream})


def test_the_level_can_change_for_loggers_that_are_out(
    configure: Configure, reader: Reader
) -> None:
    configure(level="warning")
    log = logs.get("x").bind(y=1)
    log.info("not told")
    configure(level="debug")
    log.info("told")
    configure(level="error")
    log.warning("not told")
    assert [line["message"] for line in reader.lines()] == ["told"]


def test_it_changes_in_its_place_and_what_waits_for_room_stays(
    configure: Configure, reader: Reader
) -> None:
    configure(level="info")
    log = logs.get("dmwatch.daemon")
    assert logs._output is not None
    logs._output.lines._waiting += b'{"message": "waits"}\n'
    logs.change(LogSettings(level=Severity.WARNING))
    log.info("hidden")
    logging.getLogger("other").info("hidden, too")
    log.warning("shown")
    assert [line["message"] for line in reader.lines()] == ["waits", "shown"]


def test_an_exception_stays_on_its_line(configure: Configure, reader: Reader) -> None:
    configure()
    try:
        breaks()
    except RuntimeError:
        logs.get("x").exception("it broke")
    text = reader.text()
    assert text.count("\n") == 1
    line = json.loads(text)
    assert line["level"] == "error"
    assert "RuntimeError: in two\nlines" in line["exception"]


@pytest.mark.parametrize(
    "value",
    [object(), {1, 2}, b"\xff", "\udcff", float("nan"), [1, [2]], {"a": {3: None}}, {(1,): 2}],
)
def test_any_value_can_be_logged(configure: Configure, reader: Reader, value: Any) -> None:
    configure()
    logs.get("x").info("said", value=value)
    assert reader.lines()[0]["message"] == "said"


def test_a_line_that_is_too_long_stays_json(configure: Configure, reader: Reader) -> None:
    configure()
    segments = [{"start": n * 8, "length": 8, "type": "linear"} for n in range(2000)]
    logs.get("x").warning("changed " + "\U0001f4a3" * 9000, data={"after": segments}, type="a.b")
    (line,) = reader.lines()
    assert line["type"] == "a.b"
    assert line["message"].startswith("changed ")
    assert line["data"].startswith("{'after': [{'start': 0, ")
    assert "characters left out]" in line["data"]


def test_a_value_that_holds_itself_can_be_logged(configure: Configure, reader: Reader) -> None:
    configure()
    value: list[Any] = []
    value.append(value)
    logs.get("x").info("said", value=value)
    assert reader.lines()[0]["value"] == "[[...]]"


def test_what_others_log_comes_out_in_the_same_form(
    configure: Configure, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal(monkeypatch, reader.theirs.fileno())
    configure()
    logging.getLogger("asyncio").error("Task was destroyed: %s", "x")
    logging.getLogger("httpx").debug("connected")
    logging.getLogger("y").log(35, "between %s", 1, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    first, second, third = (line for line in reader.text().splitlines())
    assert first.startswith('<3>{"message": "Task was destroyed: x", "level": "error"')
    assert '"logger": "asyncio"' in first
    assert second.startswith('<4>{"message": "between %s", "level": "warning"')
    assert third.startswith("<4>")
    assert "DeprecationWarning: old" in json.loads(third[3:])["message"]


def test_an_exception_that_others_log_is_kept(configure: Configure, reader: Reader) -> None:
    configure()
    try:
        breaks()
    except RuntimeError:
        logging.getLogger("asyncio").exception("callback failed")
    assert "RuntimeError: in two\nlines" in reader.lines()[0]["exception"]


# For people


def test_elsewhere_than_on_a_terminal_columns_are_asked_for(
    configure: Configure, reader: Reader
) -> None:
    configure(format="console")
    logs.get("dmwatch.daemon").warning("it rains", drops=3)
    text = reader.text()
    assert re.match(r"\d{4}-\d\d-\d\dT\S+Z \[warning +\] it rains +", text)
    assert "drops=3" in text
    assert "\x1b" not in text


def test_names_cannot_begin_a_line_or_steer_a_terminal(
    configure: Configure, reader: Reader
) -> None:
    configure(format="console")
    try:
        breaks()
    except RuntimeError:
        logs.get("x").exception("vg\n<0>fake \x1b[31m", device="a\nb")
    text = reader.text()
    assert text.count("\n") == 1
    assert "\x1b" not in text
    assert "RuntimeError: in two" in text


def terminal(environment: dict[str, str]) -> str:
    code = "from dmwatch.service import logs; logs.configure(); logs.get('x').error('it rains')"
    ours, theirs = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-c", code],
        stdout=theirs,
        env=os.environ | {"TERM": "xterm"} | environment,
        check=False,
    )
    assert done.returncode == 0
    text = os.read(ours, 65536).decode()
    os.close(ours)
    os.close(theirs)
    return text


def test_on_a_terminal_there_are_columns_in_colour() -> None:
    text = terminal({"NO_COLOR": ""})
    assert "it rains" in text
    assert "\x1b[" in text
    assert "{" not in text


def test_no_color_is_obeyed() -> None:
    assert "\x1b[" not in terminal({"NO_COLOR": "1"})


def test_auto_chooses(monkeypatch: pytest.MonkeyPatch) -> None:
    assert logs._wants_json(Format.AUTO, terminal=False)
    assert not logs._wants_json(Format.AUTO, terminal=True)
    assert logs._wants_json(Format.JSON, terminal=True)
    assert not logs._wants_json(Format.CONSOLE, terminal=False)


# Never waiting


def test_a_reader_that_does_not_read_makes_nobody_wait(
    configure: Configure, reader: Reader
) -> None:
    configure()
    log = logs.get("x")
    for number in range(5000):
        log.info("y" * 1000, number=number)
    text = ""
    while True:
        try:
            text += reader.text()
        except BlockingIOError:
            break
        logs.flush()
    log.info("the last")
    text += reader.text()
    lines = text.splitlines()
    numbers = [json.loads(line)["number"] for line in lines[:-2]]
    assert numbers == list(range(len(numbers)))
    assert lines[-2] == f"{5000 - len(numbers)} lines were lost here"
    assert json.loads(lines[-1])["message"] == "the last"


def test_a_pipe_that_nobody_reads_makes_nobody_wait() -> None:
    ours, theirs = os.pipe()
    lines = Lines(theirs, limit=10_000)
    for _ in range(100):
        lines.write("x" * 9000)
    os.set_blocking(ours, False)
    assert 40_000 < len(os.read(ours, 1 << 20)) <= 65536
    lines.flush(0)
    os.close(ours)
    lines.write("nobody reads any more")
    os.close(theirs)
    lines.write("it is not even open")
    lines.flush(0)


def test_a_line_that_is_too_long_is_cut() -> None:
    ours, theirs = os.pipe()
    Lines(theirs).write("x" * 40_000, "<6>")
    data = os.read(ours, 65536)
    assert len(data) == LONGEST + 7
    assert data.endswith(b"x...\n")
    os.close(ours)
    os.close(theirs)


def test_a_file_takes_every_line(tmp_path: Any) -> None:
    path = tmp_path / "log"
    with path.open("wb") as file:
        lines = Lines(file.fileno())
        for number in range(1000):
            lines.write(str(number))
    assert path.read_text().splitlines() == [str(number) for number in range(1000)]


NOTHING_LATE = """
import logging, sys, warnings
from dmwatch.service import logs
from dmwatch.service.logs import LogSettings
logs.configure(LogSettings(format=sys.argv[1]))
before = set(sys.modules)
try:
    raise RuntimeError("x")
except RuntimeError:
    logs.get("x").exception("broke", value=object())
    logging.getLogger("asyncio").exception("broke")
warnings.warn("old", stacklevel=1)
logs.get("x").critical("said", severity="notice", data={"a": [1]})
logs.flush()
late = set(sys.modules) - before
assert not late, late
"""


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_line_imports_nothing(form: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", NOTHING_LATE, form], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 4
