"""exec, with real programs, a real other user, and programs that do not want to end."""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from dmwatch.handlers.exec import ExecHandler, ProgramError, variables
from dmwatch.handlers.program import MARK, Output
from dmwatch.service.delivery.attempt import Came, Outcome
from dmwatch.testing import make_event

from .conftest import Opened, opened, until

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


def script(text: str) -> dict[str, Any]:
    return {"command": ["/bin/sh", "-c", text]}


async def run(text: str, limit: float = 20.0, **settings: Any) -> tuple[Outcome, Opened]:
    async with opened(ExecHandler, script(text) | settings) as handler:
        return await handler.tell(make_event(), limit), handler


def living(needle: str) -> list[int]:
    """Processes, no zombies, with this in their command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if needle.encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


async def test_a_program_gets_the_event_on_its_input_and_as_variables(tmp_path: Path) -> None:
    event = make_event("thin-pool.data-usage", data={"percent": 93.5, "rung": 90})
    text = f"cat >{tmp_path}/in; env >{tmp_path}/env; pwd >{tmp_path}/pwd"
    async with opened(ExecHandler, script(text) | {"environment": {"COLOUR": "red"}}) as handler:
        assert (await handler.tell(event)).done
    assert json.loads((tmp_path / "in").read_text()) == event.model_dump(mode="json")
    lines = (tmp_path / "env").read_text().splitlines()
    environment = dict(line.split("=", 1) for line in lines)
    assert environment["DMWATCH_TYPE"] == "thin-pool.data-usage"
    assert environment["DMWATCH_STATE"] == "raised"
    assert environment["DMWATCH_DEVICE"] == "vg-test"
    assert environment["DMWATCH_DEVICE_LABEL"] == "vg/test"
    assert environment["DMWATCH_REASON"] == ""
    assert environment["DMWATCH_DATA_PERCENT"] == "93.5"
    assert json.loads(environment["DMWATCH_DATA_JSON"]) == {"percent": 93.5, "rung": 90}
    assert environment["COLOUR"] == "red"
    assert (tmp_path / "pwd").read_text() == "/\n"


async def test_the_environment_of_the_daemon_does_not_reach_a_program(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/x")
    monkeypatch.setenv("LD_PRELOAD", "")
    _, handler = await run("env")
    said = handler.log.lines[-1]["output"]
    names = {line.partition("=")[0] for line in said.splitlines()}
    shell = {"PWD", "OLDPWD", "SHLVL", "_"}
    assert {name for name in names - shell if not name.startswith("DMWATCH_")} == {"PATH", "LANG"}


@pytest.mark.parametrize(
    ("text", "came", "problem"),
    [
        ("exit 0", Came.DONE, ""),
        ("echo busy; exit 75", Came.RETRY, "busy"),
        ("exit 75", Came.RETRY, "ended with 75"),
        ("echo one; echo two >&2; exit 3", Came.FAULT, "/bin/sh ended with 3: two"),
        ("kill -9 $$", Came.FAULT, "/bin/sh was ended by SIGKILL"),
    ],
)
async def test_exit_codes_mean_taken_not_now_or_failed(text: str, came: Came, problem: str) -> None:
    outcome, _ = await run(text)
    assert (outcome.came, outcome.problem) == (came, problem)


async def test_a_program_that_does_not_read_its_input_is_not_waited_for() -> None:
    event = make_event(data={"much": "x" * 500_000})
    async with opened(ExecHandler, script("exit 0")) as handler:
        assert (await handler.tell(event)).done
    async with opened(ExecHandler, script("exec <&-; sleep 0.1")) as handler:
        assert (await handler.tell(event)).done


async def test_much_output_is_read_and_little_is_kept() -> None:
    text = "echo begin; head -c 3000000 /dev/zero | tr '\\0' x; echo; echo end"
    outcome, handler = await run(text, keep_output="1KB")
    assert outcome.done
    kept = handler.log.lines[-1]["output"]
    assert len(kept) < 1200
    assert kept.startswith("begin\n")
    assert kept.endswith("\nend")
    assert "bytes left out" in kept


async def test_endless_output_ends_at_the_time_limit_and_costs_little() -> None:
    before = time.process_time()
    outcome, _ = await run("yes", limit=0.5)
    assert outcome.came is Came.LATE
    assert time.process_time() - before < 5


async def test_a_program_past_its_limit_is_asked_to_end_and_may(tmp_path: Path) -> None:
    text = f"trap 'touch {tmp_path}/asked; exit' TERM; while :; do sleep 0.05; done"
    outcome, _ = await run(text, limit=0.5)
    assert (outcome.came, outcome.problem) == (Came.LATE, "it took longer than 0.5 s")
    assert (tmp_path / "asked").exists()


async def test_a_program_that_ignores_being_asked_is_killed_with_its_group(tmp_path: Path) -> None:
    mark = f"1{os.getpid()}31"
    text = f"trap '' TERM; sleep {mark} & sleep {mark}; sleep {mark}"
    outcome, _ = await run(text, limit=0.5)
    assert outcome.came is Came.LATE
    assert living(f"sleep\0{mark}") == []


async def test_a_program_that_keeps_forking_is_ended_with_all_that_it_started(
    tmp_path: Path,
) -> None:
    name = tmp_path / f"forks-{os.getpid()}"
    name.write_text(
        "#!/bin/sh\ntrap '' TERM\nif [ -n \"$1\" ]; then sleep 60; exit; fi\n"
        'i=0\nwhile [ $i -lt 300 ]; do i=$((i+1)); "$0" x & sleep 0.01; done\nwait\n'
    )
    name.chmod(0o755)
    async with opened(ExecHandler, {"command": [str(name)]}) as handler:
        outcome = await handler.tell(make_event(), 0.5)
    assert outcome.came is Came.LATE
    await until(lambda: living(str(name)) == [])


async def test_children_in_sessions_of_their_own_are_found_and_ended() -> None:
    mark = f"2{os.getpid()}32"
    text = f"setsid sleep {mark} & (setsid sleep {mark} &) ; sleep 60"
    outcome, handler = await run(text, limit=0.7)
    assert outcome.came is Came.LATE
    assert living(f"sleep\0{mark}") == []
    assert handler.log.lines[-1]["strays"] >= 2


async def test_what_a_program_leaves_in_its_group_ends_with_it() -> None:
    mark = f"3{os.getpid()}33"
    outcome, _ = await run(f"sleep {mark} & exit 0")
    assert outcome.done
    await until(lambda: living(f"sleep\0{mark}") == [])


async def test_closing_kills_what_still_runs() -> None:
    mark = f"4{os.getpid()}34"
    async with opened(ExecHandler, script(f"trap '' TERM; sleep {mark}; sleep {mark}")) as handler:
        telling = asyncio.create_task(handler.tell(make_event()))
        await until(lambda: living(f"sleep\0{mark}"))
    await telling
    assert living(f"sleep\0{mark}") == []


@as_root
async def test_a_program_can_run_as_another_user() -> None:
    outcome, handler = await run("id -un; id -G; echo $HOME; umask", user="nobody")
    assert outcome.done, outcome
    name, groups, home, umask = handler.log.lines[-1]["output"].splitlines()
    assert (name, home, umask) == ("nobody", "/nonexistent", "0022")
    assert "0" not in groups.split()


@as_root
async def test_a_group_replaces_the_groups_of_the_daemon() -> None:
    _, handler = await run("id -G", group="daemon")
    assert handler.log.lines[-1]["output"].split() == ["1"]


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"command": ["/no/such/program"]}, "missing or not executable"),
        ({"command": ["/etc"]}, "missing or not executable"),
        ({"command": ["/bin/true"], "user": "nobody-here"}, "no user 'nobody-here'"),
        ({"command": ["/bin/true"], "group": "no-group"}, "no group 'no-group'"),
    ],
)
async def test_what_is_missing_is_told_when_it_is_opened(
    settings: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ProgramError, match=problem):
        async with opened(ExecHandler, settings):
            pass


async def test_a_program_that_cannot_be_started_is_a_sentence(tmp_path: Path) -> None:
    program = tmp_path / "no-interpreter"
    program.write_text("#!/no/such/interpreter\n")
    program.chmod(0o755)
    async with opened(ExecHandler, {"command": [str(program)]}) as handler:
        outcome = await handler.tell(make_event())
    assert outcome.came is Came.FAULT
    assert "could not be started; most likely because No such file" in outcome.problem


async def test_a_directory_that_is_missing_is_not_the_programs_fault() -> None:
    settings = {"command": ["/bin/true"], "directory": "/no/such/place"}
    async with opened(ExecHandler, settings) as handler:
        outcome = await handler.tell(make_event())
    assert "most likely because there is no directory /no/such/place" in outcome.problem


@pytest.mark.parametrize(
    "settings",
    [
        {"command": []},
        {"command": ["relative"]},
        {"command": "/bin/echo hello"},
        {"command": ["/bin/echo", "a\0b"]},
        {"command": ["/bin/true"], "environment": {"A=B": "c"}},
        {"command": ["/bin/true"], "environment": {"DMWATCH_TYPE": "c"}},
        {"command": ["/bin/true"], "directory": "relative"},
        {"command": ["/bin/true"], "user": ""},
        {"command": ["/bin/true"], "group": "a\0b"},
        {"command": ["/bin/true"], "shell": True},
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ExecHandler.Settings.model_validate(settings)


def test_variables_are_bounded_and_without_nul() -> None:
    found = variables(make_event(data={"long": "x" * 100_000, "odd key!": "a\0b", "list": [1]}))
    assert "DMWATCH_DATA_LONG" not in found
    assert "DMWATCH_DATA_JSON" not in found
    assert found["DMWATCH_DATA_ODD_KEY_"] == "ab"
    assert found["DMWATCH_DATA_LIST"] == "[1]"
    assert MARK not in found


def test_output_keeps_its_begin_and_its_end() -> None:
    output = Output(keep=10)
    for chunk in (b"abc", b"defgh", b"ij", b"klm"):
        output.add(chunk)
    assert output.text() == "abcde\n[3 bytes left out]\nijklm"
