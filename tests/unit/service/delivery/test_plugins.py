"""Which handlers are installed, and loading them: also such as cannot be loaded."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dmwatch.errors import DmwatchError
from dmwatch.service.config import ConfigError
from dmwatch.service.delivery import PluginError, installed, limited, load, plugins
from dmwatch.service.delivery.plugins import StandIn, load_all
from dmwatch.service.settings import HandlerTable

from .conftest import Delivery, until

GOOD = """
from dmwatch.handlers import Handler
class Made(Handler):
    taken = []
    async def handle(self, event):
        self.taken.append(event.id)
"""
Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """install(code, name, package): a package whose entry point `name` is `Made` in that code."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(limited, "_hung", {})

    def make(code: str, name: str = "made", package: str = "made_up") -> None:
        (tmp_path / f"{package}.py").write_text(code)
        monkeypatch.delitem(sys.modules, package, raising=False)
        info = tmp_path / f"{package}-2.5.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 2.5\n")
        (info / "entry_points.txt").write_text(f"[dmwatch.handlers]\n{name} = {package}:Made\n")

    return make


def table(use: str = "made", **own: object) -> HandlerTable:
    return HandlerTable.model_validate({"use": use} | own)


def test_the_built_in_handlers_are_entry_points_of_dmwatch() -> None:
    own = [found for found in installed() if found.builtin]
    assert [found.name for found in own] == ["exec", "file", "log", "webhook"]
    for found in own:
        assert found.where.startswith(f"dmwatch.handlers.{found.name}:")


def test_listing_imports_nothing(install: Install) -> None:
    install("raise RuntimeError('imported')")
    found = next(found for found in installed() if found.name == "made")
    assert str(found) == "'made' of made_up 2.5"
    assert "made_up" not in sys.modules


def test_a_plug_in_is_loaded_with_its_settings(install: Install) -> None:
    install(GOOD)
    loaded = load("mine", table())
    handler = loaded.make(None)
    assert (handler.name, type(handler).__name__) == ("mine", "Made")


@pytest.mark.parametrize(
    ("code", "because"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("1/0", "ZeroDivisionError"),
        ("raise SystemExit(1)", "SystemExit: 1"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("this is no Python", "SyntaxError"),
        ("", "has no attribute 'Made'"),
        ("Made = 3", "is no subclass of dmwatch.handlers.Handler"),
        ("from dmwatch.handlers import Handler\nclass Made(Handler): pass", "no method `handle`"),
        (GOOD + "    Settings = dict\n", "no subclass of HandlerSettings"),
        ("import threading; threading.Event().wait(5)", "takes longer than 0.2 s"),
    ],
)
def test_code_that_cannot_be_loaded_is_a_sentence(
    install: Install, monkeypatch: pytest.MonkeyPatch, code: str, because: str
) -> None:
    if "longer" in because:
        monkeypatch.setattr(plugins, "IMPORT_SECONDS", 0.2)
    install(code)
    with pytest.raises(PluginError) as caught:
        load("mine", table())
    assert caught.value.what == "the handler 'made' of made_up 2.5 cannot be loaded"
    assert because in caught.value.because
    assert caught.value.hint


HANGING_SETTINGS = """
import threading
from pydantic import field_validator
from dmwatch.handlers import HandlerSettings
class Hanging(HandlerSettings):
    x: int
    @field_validator("x")
    def wait(cls, x):
        threading.Event().wait(5)
class Made(Handler):
    Settings = Hanging
    async def handle(self, event): pass
"""


@pytest.mark.parametrize(
    ("code", "own"),
    [("import threading; threading.Event().wait(5)", {}), (GOOD + HANGING_SETTINGS, {"x": 1})],
)
def test_what_hangs_is_waited_for_once(
    install: Install, monkeypatch: pytest.MonkeyPatch, code: str, own: dict[str, Any]
) -> None:
    install(code)
    monkeypatch.setattr(plugins, "IMPORT_SECONDS", 0.5)
    began = time.monotonic()
    for name in ("a", "b", "c", "d"):
        with pytest.raises(PluginError, match="takes longer than"):
            load(name, table(**own))
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("text", ["[dmwatch.handlers]\nmade\n", "[x\n=", b"\xff\xfe"])
def test_a_package_whose_entry_points_cannot_be_read_hides_no_other(
    install: Install, tmp_path: Path, text: str | bytes
) -> None:
    install(GOOD)
    install(GOOD, package="broken")
    broken = tmp_path / "broken-2.5.dist-info" / "entry_points.txt"
    broken.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert [found.name for found in installed()] == ["exec", "file", "log", "made", "webhook"]
    assert load("mine", table()).kind.__module__ == "made_up"


def test_a_package_without_metadata_is_an_unknown_one(install: Install, tmp_path: Path) -> None:
    install(GOOD)
    (tmp_path / "made_up-2.5.dist-info" / "METADATA").unlink()
    assert "an unknown package" in {found.origin for found in installed()}
    assert load("mine", table()).kind.__module__ == "made_up"


def test_a_missing_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "dmwatch.handlers.webhook", raising=False)
    monkeypatch.setitem(sys.modules, "httpx2", None)
    with pytest.raises(PluginError) as caught:
        load("pager", table("webhook", url="https://alerts.example/"))
    assert "pip install 'dmwatch[webhook]'" in str(caught.value)
    assert "httpx2 is not installed" in str(caught.value)
    monkeypatch.delitem(sys.modules, "dmwatch.handlers.webhook", raising=False)


def test_an_unknown_handler_names_those_that_there_are() -> None:
    with pytest.raises(DmwatchError, match=r"there is no handler 'pagerr'.*exec, file, log"):
        load("pager", table("pagerr"))


def test_two_packages_with_one_name_are_refused_and_our_own_names_are_taken(
    install: Install,
) -> None:
    install(GOOD, package="made_up")
    install(GOOD, package="made_too")
    with pytest.raises(DmwatchError, match="made_too and made_up both bring it"):
        load("mine", table())
    install(GOOD, name="log", package="made_log")
    assert load("mine", table("log")).kind.__module__ == "dmwatch.handlers.log"


def test_faults_in_settings_are_all_told_with_their_keys() -> None:
    with pytest.raises(ConfigError) as caught:
        load("keep", table("file", path="events", keep=0, size=3))
    assert sorted(fault.key for fault in caught.value.faults) == [
        "handlers.keep.keep",
        "handlers.keep.path",
        "handlers.keep.size",
    ]


async def test_a_plug_in_that_cannot_be_loaded_is_loaded_once_it_can(
    install: Install, delivery: Delivery
) -> None:
    install("1/0")
    chosen = table(delivery={"retry_first": 0.1, "retry_longest": 0.1})
    loaded = load_all({"mine": chosen})["mine"]
    assert loaded.kind is StandIn
    await delivery.start(mine=loaded)
    ids = delivery.put(2)
    await until(lambda: delivery.stories("mine") == [("failing", "raised")])
    assert "ZeroDivisionError" in (delivery.health("mine").problem or "")
    install(GOOD)
    await until(lambda: delivery.health("mine").delivered == 2)
    assert sys.modules["made_up"].Made.taken == ids
    assert delivery.stories("mine")[-1] == ("failing", "cleared")
