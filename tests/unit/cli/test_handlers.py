"""handlers and test-handler."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog

from dmwatch.errors import DmwatchError
from dmwatch.service import logs

from .conftest import Ran

Run = Callable[..., Ran]


@pytest.fixture(autouse=True)
def log_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    logs._output = None
    logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "config.toml"
    path.write_text(
        f"""
[stream]
socket = "{tmp_path}/events.sock"
[handlers.keep]
use = "file"
path = "{tmp_path}/events"
[handlers.hook]
use = "exec"
command = ["/bin/sh", "-c", "echo $DMWATCH_TYPE; exit 75"]
[handlers.hook.match]
severity = "critical"
[handlers.gone]
use = "exec"
command = ["/no/such/program"]
"""
    )
    return str(path)


def test_handlers_names_what_is_installed_and_configured(dmwatch: Run, config: str) -> None:
    ran = dmwatch("handlers", "--config", config)
    assert ran.code == 0
    assert "keep  file  -" in ran.out
    assert "webhook  dmwatch 0.1.0  dmwatch.handlers.webhook:WebhookHandler" in ran.out
    assert "no daemon answers" in ran.err


def test_handlers_as_json(dmwatch: Run, config: str) -> None:
    found = dmwatch("handlers", "--json", "--config", config).json
    assert [row["name"] for row in found["configured"]] == ["keep", "hook", "gone"]
    assert found["configured"][0]["state"] is None
    assert {"name": "log", "from": "dmwatch"}.items() <= found["installed"][2].items()


def test_handlers_says_how_they_fare_where_a_daemon_answers(
    dmwatch: Run, config: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = {"name": "keep", "use": "file", "state": "failing", "queued": 3, "delivered": 5}
    row |= {"dropped": 0, "failures": 7, "problem": "full", "last": None}
    monkeypatch.setattr("dmwatch.service.stream.client.ask", lambda *_: {"handlers": [row]})
    ran = dmwatch("handlers", "--config", config)
    assert "keep  file  failing  3       5          0        7         full" in ran.out
    assert ran.err == ""
    assert dmwatch("handlers", "--json", "--config", config).json["configured"] == [row]


def test_handlers_shows_what_is_installed_though_the_configuration_has_faults(
    dmwatch: Run, tmp_path: Path
) -> None:
    (tmp_path / "bad.toml").write_text("nonsense = 1\n")
    ran = dmwatch("handlers", "--config", str(tmp_path / "bad.toml"))
    assert ran.code == 0
    assert "what is configured is not shown" in ran.err
    assert "dmwatch.handlers.exec:ExecHandler" in ran.out


def test_a_configuration_that_is_named_and_missing_is_an_error(
    dmwatch: Run, tmp_path: Path
) -> None:
    ran = dmwatch("handlers", "--config", str(tmp_path / "none.toml"))
    assert (ran.code, ran.out) == (1, "")
    assert "there is no such file" in ran.err


def test_a_made_up_event_goes_through_the_configured_handler(
    dmwatch: Run, config: str, tmp_path: Path
) -> None:
    ran = dmwatch("test-handler", "keep", "--type", "raid.leg-failed", "--config", config)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == "keep (file), raid.leg-failed: it took the event\n"
    assert json.loads((tmp_path / "events").read_text())["type"] == "raid.leg-failed"


def test_what_a_handler_answers_is_shown_and_exits_1(dmwatch: Run, config: str) -> None:
    ran = dmwatch("test-handler", "hook", "--config", config)
    assert ran.code == 1
    assert ran.out == (
        "hook (exec), thin-pool.data-usage: it asked to be tried again: thin-pool.data-usage\n"
    )
    assert "the daemon would not bring it thin-pool.data-usage" in ran.err
    ran = dmwatch("test-handler", "hook", "--json", "--config", config)
    assert (ran.json["came"], ran.json["matches"], ran.code) == ("retry", False, 1)
    ran = dmwatch("test-handler", "gone", "--config", config)
    assert (ran.code, "missing or not executable" in ran.out) == (1, True)


def test_a_thread_that_hangs_does_not_keep_the_command(config: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    more = f"""
[handlers.slow]
use = "webhook"
url = "https://alerts.example/"
ca_file = "{tmp_path}/fifo"
delivery = {{ timeout = "500ms" }}
"""
    with Path(config).open("a") as file:
        file.write(more)
    command = [sys.executable, "-m", "dmwatch", "test-handler", "slow", "--config", config]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert "it failed: it took longer than 0.5 s" in done.stdout


def test_a_handler_that_is_not_configured_is_not_found(dmwatch: Run, config: str) -> None:
    ran = dmwatch("test-handler", "pager", "--config", config)
    assert (ran.code, ran.out) == (3, "")
    assert "no handler 'pager' is configured" in ran.err
    assert "gone, hook, keep" in ran.err


def test_a_type_that_there_is_not_is_a_sentence(dmwatch: Run, config: str) -> None:
    ran = dmwatch("test-handler", "keep", "--type", "raid.nonsense", "--config", config)
    assert ran.code == 1
    assert "there is no event of type 'raid.nonsense'" in ran.err


def test_a_daemon_that_refuses_is_told_and_the_rest_is_shown(
    dmwatch: Run, config: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise DmwatchError("not today")

    monkeypatch.setattr("dmwatch.service.stream.client.ask", refuse)
    ran = dmwatch("handlers", "--config", config)
    assert (ran.code, "not today" in ran.err) == (0, True)
