"""`dmwatch events`, and the commands that ask the daemon: with one, and without."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import pytest
import structlog

from dmwatch.cli import asking
from dmwatch.events import Condition, DeviceRef, Event
from dmwatch.monitor.teller import Teller
from dmwatch.names import DeviceName, DeviceNumber
from dmwatch.service.ledger import Ledger
from dmwatch.service.ledger.store import Store
from dmwatch.service.own import Own
from dmwatch.service.settings import JournalSettings, StreamSettings
from dmwatch.service.stream import Stream, client
from dmwatch.severity import Severity
from dmwatch.table import TargetLine
from dmwatch.testing import FakeKernel

Dmwatch = Callable[..., Any]
A = DeviceRef.of(DeviceName("vg-a"), "LVM-1", DeviceNumber(253, 0), None)
FIRST = Condition(
    type="raid.leg-failed",
    key="2",
    severity=Severity.ERROR,
    device=A,
    target="raid",
    since=datetime(2026, 11, 22, 10, tzinfo=UTC),
    summary="vg/a: leg 2 failed",
)
OTHERS = [
    FIRST.model_copy(update={"type": "raid.mismatches", "severity": Severity.WARNING}),
    FIRST.model_copy(update={"device": None, "type": "dmwatch.handler-failing"}),
]
ANSWERS: dict[str, dict[str, Any]] = {
    "conditions": {"conditions": [c.model_dump(mode="json") for c in (FIRST, *OTHERS)]},
    "coverage": {
        "coverage": [
            {
                "device": "vg-a",
                "label": "vg/a",
                "number": "253:0",
                "uuid": "LVM-1",
                "targets": ["raid"],
                "how": ["event", "poll"],
                "poll": 10.0,
                "conditions": ["raid.leg-failed"],
                "unprotected": [],
                "handlers": ["pager"],
            }
        ]
    },
}


async def answer(question: str) -> dict[str, Any]:
    return ANSWERS[question]


class Daemon:
    """A ledger and a stream on a thread of their own."""

    def __init__(self, folder: Path) -> None:
        self.journal = JournalSettings(path=folder / "events.db")
        self.settings = StreamSettings(socket=folder / "events.sock")
        self._teller = Teller()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self.told: list[Event] = []

    def start(self) -> None:
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(ready)))
        self._thread.start()
        assert ready.wait(30)

    async def _serve(self, ready: threading.Event) -> None:
        self._loop, self._ending = asyncio.get_running_loop(), asyncio.Event()
        streams: list[Stream] = []

        def publish(entry: Any) -> None:
            self.told.append(entry.event)
            streams[0].put(entry)

        async with Ledger(self.journal, Own(lambda _: None), publish) as ledger:
            self._ledger = ledger
            streams.append(Stream(self.settings, ledger, answer))
            self._stream = streams[0]
            await streams[0].start()
            ready.set()
            await self._ending.wait()
            await streams[0].close()

    def tell(self, *summaries: str, **more: Any) -> None:
        for summary in summaries:
            self._do(self._ledger.tell(self.event(summary, **more)))
        self._do(self._ledger.flush())

    def event(
        self, summary: str, type_: str = "device.event", severity: str = "info", on: Any = A
    ) -> Event:
        return self._teller.moment(type_, Severity(severity), on, summary)

    def _do(self, work: Any) -> None:
        assert self._loop is not None
        asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def clients_live(self) -> int:
        return sum(client.live for client in list(self._stream._clients))

    def stop(self) -> None:
        if self._thread is not None and self._loop is not None:
            self._loop.call_soon_threadsafe(self._ending.set)
            self._thread.join(30)
            assert not self._thread.is_alive()
            self._thread = None


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    made = Daemon(tmp_path)
    monkeypatch.setattr(asking, "SOCKET", made.settings.socket)
    monkeypatch.setattr(asking, "CONFIGURATION", tmp_path / "none.toml")
    with structlog.testing.capture_logs():
        yield made
        made.stop()


@pytest.fixture
def config(tmp_path: Path, daemon: Daemon) -> str:
    path = tmp_path / "config.toml"
    path.write_text(
        f'[journal]\npath = "{daemon.journal.path}"\n'
        f'[stream]\nsocket = "{daemon.settings.socket}"\n'
    )
    return str(path)


@pytest.fixture
def events(dmwatch: Dmwatch, config: str) -> Dmwatch:
    return lambda *arguments: dmwatch("events", "--config", config, *arguments)


@pytest.fixture(params=["daemon", "journal"])
def told(request: pytest.FixtureRequest, daemon: Daemon) -> Daemon:
    """Some events, told by a daemon that still runs, or does not."""
    daemon.start()
    daemon.tell("one", "two")
    daemon.tell("three", type_="raid.leg-failed", severity="error")
    daemon.tell("four", type_="dmwatch.started", severity="notice", on=None)
    if request.param == "journal":
        daemon.stop()
    return daemon


def summaries(ran: Any) -> list[str]:
    assert ran.code == 0, ran.err
    return [json.loads(line)["summary"].removeprefix("vg/a: ") for line in ran.out.splitlines()]


def test_everything_that_is_kept_is_shown_oldest_first(told: Daemon, events: Dmwatch) -> None:
    ran = events("--json")
    assert summaries(ran) == ["one", "two", "three", "four"]
    assert [Event.model_validate_json(line) for line in ran.out.splitlines()] == told.told


def test_text_is_a_line_of_date_time_severity_and_sentence(told: Daemon, events: Dmwatch) -> None:
    lines = events().out.splitlines()
    assert len(lines) == 4
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} error    vg/a: three", lines[2])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--severity", "notice"), ["three", "four"]),
        (("--type", "raid.*"), ["three"]),
        (("--type", "raid.*", "--type", "dmwatch.*"), ["three", "four"]),
        (("--device", "vg/*"), ["one", "two", "three"]),
        (("--device", "LVM-?"), ["one", "two", "three"]),
        (("--device", "other"), []),
        (("--since", "1h"), ["one", "two", "three", "four"]),
        (("--since", "1ms"), []),
        (("--since", "2100-01-01"), []),
    ],
)
def test_filters(
    told: Daemon, events: Dmwatch, arguments: tuple[str, ...], expected: list[str]
) -> None:
    assert summaries(events("--json", *arguments)) == expected


def test_since_an_id(told: Daemon, events: Dmwatch) -> None:
    assert summaries(events("--json", "--since", told.told[1].id)) == ["three", "four"]
    assert summaries(events("--json", "--since", told.told[3].id)) == []


@pytest.mark.parametrize(
    ("since", "sentence", "code"),
    [("yesterday", "is no id of an event", 2), ("0123456789ab-1", "does not have the event", 1)],
)
def test_a_place_that_is_none_is_a_sentence(
    told: Daemon, events: Dmwatch, since: str, sentence: str, code: int
) -> None:
    ran = events("--since", since)
    assert (ran.code, ran.out) == (code, "")
    assert sentence in ran.err
    assert "Traceback" not in ran.err


def test_without_a_daemon_it_says_that_this_is_the_journal(daemon: Daemon, events: Dmwatch) -> None:
    daemon.start()
    daemon.tell("one")
    assert events().err == ""
    daemon.stop()
    before = sorted(file.name for file in daemon.journal.path.parent.iterdir())
    assert events().err == "dmwatch: no daemon answers: this is what its journal has\n"
    assert sorted(file.name for file in daemon.journal.path.parent.iterdir()) == before


def test_an_event_of_another_dmwatch_is_shown_as_it_was_told(
    daemon: Daemon, events: Dmwatch
) -> None:
    daemon.start()
    daemon.tell("one", "two")
    daemon.stop()
    other = json.dumps({"id": "0123456789ab-1", "what": "a later one knows"})
    connection = sqlite3.connect(daemon.journal.path)
    connection.execute("update events set event = ? where sequence = 1", (other,))
    connection.commit()
    connection.close()
    first, second = events().out.splitlines()
    assert first == other
    assert second.endswith("vg/a: two")


def test_without_a_daemon_and_without_a_journal_it_is_3(daemon: Daemon, events: Dmwatch) -> None:
    ran = events()
    assert (ran.code, ran.out) == (3, "")
    assert "there is no journal" in ran.err
    assert "try this: systemctl start dmwatch" in ran.err


def test_a_journal_that_may_not_be_read_is_5(
    daemon: Daemon, events: Dmwatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon.start()
    daemon.stop()

    def refuse(*_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("dmwatch.service.ledger.offline.recorded", refuse)
    ran = events()
    assert ran.code == 5
    assert "sudo" in ran.err


def test_a_socket_that_may_not_be_used_is_5(
    daemon: Daemon, events: Dmwatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("dmwatch.service.stream.client.socket.socket.connect", refuse)
    ran = events()
    assert ran.code == 5
    assert "may not be used" in ran.err


def test_a_journal_that_is_none_is_a_sentence(daemon: Daemon, events: Dmwatch) -> None:
    daemon.journal.path.write_bytes(b"nothing of the kind" * 1000)
    ran = events()
    assert ran.code == 1
    assert "cannot be read" in ran.err
    assert "Traceback" not in ran.err


def test_a_pipe_in_its_place_is_not_waited_for(daemon: Daemon, events: Dmwatch) -> None:
    os.mkfifo(daemon.journal.path)
    ran = events()
    assert ran.code == 1
    assert "is no file" in ran.err


def test_a_journal_that_another_daemon_has_is_a_sentence(daemon: Daemon, events: Dmwatch) -> None:
    daemon.start()
    daemon.stop()
    elsewhere = Store(daemon.journal.path)
    elsewhere.open()
    ran = events()
    elsewhere.close()
    assert ran.code == 1
    assert "in use" in ran.err
    assert "--config" in ran.err
    assert events().code == 0


def test_follow_without_a_daemon_is_a_failure(daemon: Daemon, events: Dmwatch) -> None:
    ran = events("--follow")
    assert ran.code == 1
    assert "no daemon listens on" in ran.err


# following, in a process of its own


@pytest.fixture
def following(config: str) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    children: list[subprocess.Popen[str]] = []

    def begin(*arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "dmwatch", "events", "--config", config, "--json"]
        child = subprocess.Popen(
            [*command, "--follow", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )
        children.append(child)
        return child

    yield begin
    for child in children:
        with suppress(ProcessLookupError):
            child.kill()
        child.communicate()


def read(child: subprocess.Popen[str], count: int) -> list[str]:
    assert child.stdout is not None
    lines = [child.stdout.readline() for _ in range(count)]
    return [json.loads(line)["summary"].removeprefix("vg/a: ") for line in lines]


def test_following_goes_on_over_a_restart_of_the_daemon_without_gap_or_repeat(
    daemon: Daemon, following: Callable[..., subprocess.Popen[str]]
) -> None:
    daemon.start()
    daemon.tell("one", "two")
    child = following("--since", "1h")
    assert read(child, 2) == ["one", "two"]
    daemon.tell("three")
    assert read(child, 1) == ["three"]
    daemon.stop()
    daemon.start()
    daemon.tell("four", "five")
    assert read(child, 2) == ["four", "five"]
    child.send_signal(signal.SIGTERM)
    out, err = child.communicate(timeout=30)
    assert (child.returncode, out) == (0, "")
    assert err == "dmwatch: the daemon has gone: waiting for it\n"


def test_following_misses_nothing_of_a_restart_though_it_had_heard_nothing_before(
    daemon: Daemon, following: Callable[..., subprocess.Popen[str]]
) -> None:
    daemon.start()
    daemon.tell("before")
    child = following()
    while not daemon.clients_live():
        time.sleep(0.01)
    daemon.stop()
    daemon.start()
    daemon.tell("one", "two")
    assert read(child, 2) == ["one", "two"]


def test_following_says_so_where_events_may_be_missing(
    daemon: Daemon, following: Callable[..., subprocess.Popen[str]]
) -> None:
    daemon.start()
    daemon.tell("one", "two")
    child = following("--since", "1h")
    assert read(child, 2) == ["one", "two"]
    daemon.stop()
    for file in daemon.journal.path.parent.glob("events.db*"):
        file.unlink()
    daemon.start()
    daemon.tell("three")
    assert read(child, 1) == ["three"]
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=30)
    assert child.returncode == 0
    assert "events may be missing here: the journal does not have the event" in err


def test_a_client_that_is_told_to_go_on_elsewhere_does(daemon: Daemon, tmp_path: Path) -> None:
    daemon.start()
    daemon.tell(*(str(number) for number in range(20)))
    ids = [event.id for event in daemon.told]
    asked: list[Any] = []
    first = client._connected

    def overflows(path: Path, request: dict[str, Any]) -> Any:
        asked.append(dict(request))
        return first(path, request) if len(asked) > 1 else Overflowing(daemon.told[:5], ids[4])

    client._connected, kept = overflows, client._connected
    try:
        lines = list(client.events(daemon.settings.socket, {"since": "1h"}, follow=False))
    finally:
        client._connected = kept
    assert [json.loads(line)["id"] for line in lines] == ids
    assert asked[1]["since"] == ids[4]


def test_a_journal_that_cannot_be_read_now_is_told_once_and_tried_again(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon.start()
    daemon.tell("one", "two", "three")
    reader = daemon._ledger._disk._reader
    page, fails = reader.page, iter([True, True, True, False])

    def breaks(*arguments: Any) -> Any:
        if next(fails, False):
            raise sqlite3.OperationalError("disk I/O error")
        return page(*arguments)

    monkeypatch.setattr(reader, "page", breaks)
    monkeypatch.setattr(client, "PAUSE_FIRST", 0.01)
    remarks: list[str] = []
    lines = list(
        client.events(daemon.settings.socket, {"since": "1h"}, follow=False, on_gap=remarks.append)
    )
    assert [json.loads(line)["id"] for line in lines] == [event.id for event in daemon.told]
    (remark,) = remarks
    assert remark.startswith("the journal cannot be used now")


class Overflowing:
    """A connection that ends in an overflow."""

    def __init__(self, events: list[Event], resume_from: str) -> None:
        said = {"error": "overflow", "resume_from": resume_from}
        self._lines = [*(event.json_line() for event in events), json.dumps(said)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def makefile(self, _mode: str) -> Any:
        import io

        return io.BytesIO("".join(f"{line}\n" for line in self._lines).encode())


# the commands that ask


def test_conditions_are_the_daemons_where_one_runs(daemon: Daemon, dmwatch: Dmwatch) -> None:
    daemon.start()
    ran = dmwatch("conditions", "--json")
    assert ran.json == ANSWERS["conditions"]["conditions"]
    ran = dmwatch("conditions", "vg/a")
    assert ran.out.splitlines() == [
        "error    vg/a: leg 2 failed  (raid.leg-failed [2])",
        "warning  vg/a: leg 2 failed  (raid.mismatches [2])",
    ]
    assert ran.err == "2 conditions\n"
    assert dmwatch("conditions", "other*", "--json").json == []


@pytest.mark.parametrize("command", ["conditions", "coverage"])
def test_a_device_that_the_daemon_does_not_watch_is_3(
    daemon: Daemon, dmwatch: Dmwatch, command: str
) -> None:
    daemon.start()
    ran = dmwatch(command, "vg/a", "other")
    assert (ran.code, ran.out) == (3, "")
    assert ran.err.startswith("dmwatch: there is no device 'other'\n")


def test_without_a_daemon_conditions_are_one_look(
    daemon: Daemon, kernel: FakeKernel, dmwatch: Dmwatch
) -> None:
    kernel.add("a", TargetLine(0, 8, "error"))
    ran = dmwatch("conditions")
    assert "device.error-target" in ran.out
    assert "not shown by one look" in ran.err


def test_coverage_says_which_handlers_hear_where_a_daemon_runs(
    daemon: Daemon, kernel: FakeKernel, dmwatch: Dmwatch
) -> None:
    kernel.add("a", TargetLine(0, 8, "zero"))
    without = dmwatch("coverage")
    assert "HANDLERS" not in without.out
    assert without.err == "no daemon answers: which handlers would hear of it is not shown\n"
    daemon.start()
    ran = dmwatch("coverage", "vg-*")
    assert ran.err == ""
    head, line = ran.out.splitlines()
    assert head.split() == ["DEVICE", "NUMBER", "TARGETS", "SEEN", "BY", "UNPROTECTED", "HANDLERS"]
    assert line.split() == ["vg/a", "253:0", "raid", "event,", "poll", "10", "s", "-", "pager"]
    assert dmwatch("coverage", "--json").json == ANSWERS["coverage"]["coverage"]


def test_ls_shows_the_worst_condition_of_the_daemon_where_one_runs(
    daemon: Daemon, kernel: FakeKernel, dmwatch: Dmwatch
) -> None:
    kernel.add("a", TargetLine(0, 8, "error"))
    assert str(kernel.device("a").number) == "253:0"
    assert dmwatch("ls", "--json").json[0]["condition"]["type"] == "device.error-target"
    daemon.start()
    expected = {"type": "raid.leg-failed", "key": "2", "severity": "error"}
    assert dmwatch("ls", "--json").json[0]["condition"] == expected


def test_a_daemon_that_answers_with_an_error_is_told_and_not_trusted(
    daemon: Daemon, kernel: FakeKernel, dmwatch: Dmwatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "ANSWERS", {})
    daemon.start()
    ran = dmwatch("conditions")
    assert ran.code == 0
    assert ran.err.startswith("the daemon does not say: the daemon failed: see its log\n")


def test_a_daemon_of_another_version_is_told(
    daemon: Daemon, dmwatch: Dmwatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = FIRST.model_dump(mode="json") | {"a_key_of_later": 1}
    monkeypatch.setitem(ANSWERS, "conditions", {"conditions": [newer]})
    daemon.start()
    ran = dmwatch("conditions")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("dmwatch: the daemon's answer cannot be read\n  most likely because")


def test_a_socket_that_nobody_serves_is_no_daemon(
    daemon: Daemon, kernel: FakeKernel, dmwatch: Dmwatch
) -> None:
    daemon.settings.socket.touch()
    start = time.monotonic()
    assert dmwatch("conditions").code == 0
    assert time.monotonic() - start < 10


def test_a_socket_in_a_folder_that_is_closed_to_us_is_no_daemon(
    daemon: Daemon, kernel: FakeKernel, dmwatch: Dmwatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = os.stat

    def closed(path: Any, *more: Any, **named: Any) -> Any:
        if str(path) == str(daemon.settings.socket):
            raise PermissionError(13, "Permission denied")
        return before(path, *more, **named)

    monkeypatch.setattr(os, "stat", closed)
    ran = dmwatch("conditions")
    assert ran.code == 0
    assert "not shown by one look" in ran.err


def test_a_daemon_that_stands_still_while_others_wait_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "LIMIT", 1.0)
    path = tmp_path / "socket"
    with ExitStack() as open_:
        listening = open_.enter_context(socket.socket(socket.AF_UNIX))
        listening.bind(str(path))
        listening.listen(1)
        for _ in range(2):
            open_.enter_context(socket.socket(socket.AF_UNIX)).connect(str(path))
        with pytest.raises(client.NoDaemonError, match="has stood still for 1 s"):
            client.ask(path, "health")


@pytest.mark.parametrize("text", ["", "[stream]\n", "stream = 3\n", "[stream]\nsocket = 3\n", "no"])
def test_a_configuration_with_faults_does_not_keep_commands_from_asking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    path = tmp_path / "c.toml"
    path.write_text(text)
    monkeypatch.setattr(asking, "CONFIGURATION", path)
    assert asking.socket_path() == asking.SOCKET
    path.write_text('[stream]\nsocket = "/x/y"\n')
    assert asking.socket_path() == Path("/x/y")
