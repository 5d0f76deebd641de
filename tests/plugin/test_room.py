"""The example plug-in, built, installed and loaded as an operator would."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
# a chat that is busy once, and a daemon's delivery with the plug-in in it
CODE = """
import asyncio, json, sys
from dmwatch.service.config.reading import parse
from dmwatch.service.delivery import Dispatcher, installed
from dmwatch.service.delivery.plugins import load_all
from dmwatch.service.entry import Entry
from dmwatch.service.own import Own
from dmwatch.testing import make_event

async def main():
    heard, answers = [], [b"busy\\n", b"ok\\n", b"ok\\n"]

    async def chat(reader, writer):
        while line := await reader.readline():
            heard.append(line.decode())
            writer.write(answers.pop(0))
        writer.close()

    server = await asyncio.start_unix_server(chat, sys.argv[1])
    text = open(sys.argv[2]).read()
    handlers = load_all(parse(text, "test", strict=True).handlers)
    dispatcher = Dispatcher(Own(lambda event: None), lambda *_: None)
    await dispatcher.start(handlers)
    for position in (1, 2):
        dispatcher.put(Entry(position, make_event(summary=f"event {position}")))
    while dispatcher.health()[0].delivered < 2:
        await asyncio.sleep(0.01)
    await dispatcher.close(1)
    server.close()
    found = [str(item) for item in installed() if not item.builtin]
    sys.stderr.write(json.dumps({"installed": found, "heard": heard}))

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The plug-in installed into a folder, offline, with the build tool that is here."""
    pytest.importorskip("hatchling", reason="hatchling is not installed: it builds the plug-in")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    command += ["--no-build-isolation", "--disable-pip-version-check", "--target", str(folder)]
    subprocess.run([*command, str(HERE / "dmwatch-room")], check=True, timeout=50)
    return folder


def test_the_example_is_installed_loaded_and_told(site: Path, tmp_path: Path) -> None:
    chat, password = tmp_path / "chat", tmp_path / "password"
    password.write_text("xyzzy\n")
    config = tmp_path / "config.toml"
    config.write_text(
        f'[handlers.ops]\nuse = "room"\nsocket = "{chat}"\nroom = "ops"\n'
        f'password = {{ file = "{password}" }}\n[handlers.ops.delivery]\nretry_first = "100ms"\n'
    )
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(chat), str(config)],
        env={"PYTHONPATH": str(site), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stderr) == {
        "installed": ["'room' of dmwatch-room 1.0"],
        "heard": ["ops xyzzy event 1\n", "ops xyzzy event 1\n", "ops xyzzy event 2\n"],
    }
    assert "xyzzy" not in done.stdout


def test_the_example_is_tested_as_its_author_would(site: Path, tmp_path: Path) -> None:
    code = (
        "import asyncio\n"
        "from dmwatch_room import RoomHandler\n"
        "from dmwatch.testing import make_event, run_handler\n"
        "settings = {'socket': '/nowhere', 'room': 'ops'}\n"
        "told = asyncio.run(run_handler(RoomHandler, settings, make_event('raid.leg-failed')))\n"
        "print(told.opened.came.name, told.opened.problem, told.events, told.closed.done)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(site), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=50,
        check=True,
    )
    assert done.stdout.startswith("FAULT FileNotFoundError")
    assert done.stdout.endswith("[] True\n")
