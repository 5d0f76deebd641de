from __future__ import annotations

import json
import os
import sys

import pydantic_core
import pytest

from dmwatch.cli.output import COLOURS, coloured, print_columns, print_json, size_text
from dmwatch.severity import Severity


def test_columns_are_as_wide_as_they_need(capsys: pytest.CaptureFixture[str]) -> None:
    print_columns(("A", "LONG"), [("xyz", "1"), ("x", "")])
    assert capsys.readouterr().out == "A    LONG\nxyz  1\nx\n"


def test_columns_without_rows_are_their_heads(capsys: pytest.CaptureFixture[str]) -> None:
    print_columns(("A", "B"), [])
    assert capsys.readouterr().out == "A  B\n"


def test_control_characters_do_not_reach_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    print_columns(("A",), [("a\nb\x1b[2J\udcff",)])
    assert capsys.readouterr().out == "A\na\\x0ab\\x1b[2J\\xff\n"


def test_json_is_text_that_any_terminal_takes(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"name": "ü\udcff\n"})
    out = capsys.readouterr().out
    assert out.isascii()
    assert json.loads(out) == {"name": "ü\\xff\n"}


def test_json_is_json_to_a_strict_reader_too(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"a": ["\udcff", ("\ud83d",)], "b": "\U0001f600", "c": [1, None, True, 1.5]})
    found = pydantic_core.from_json(capsys.readouterr().out)
    assert found == {
        "a": ["\\xff", ["\\ud83d"]],
        "b": "\U0001f600",
        "c": [1, None, True, 1.5],
    }


@pytest.mark.parametrize(
    ("sectors", "text"),
    [
        (0, "0 B"),
        (1, "512 B"),
        (2, "1.0 KiB"),
        (2047, "1023.5 KiB"),
        (2048, "1.0 MiB"),
        (1 << 31, "1.0 TiB"),
        ((1 << 64) - 1, "8.0 ZiB"),
        (1 << 70, "512.0 ZiB"),
    ],
)
def test_sizes_for_people(sectors: int, text: str) -> None:
    assert size_text(sectors) == text


@pytest.mark.parametrize(
    ("terminal", "variable", "colour"),
    [(True, None, True), (True, "1", False), (True, "", True), (False, None, False)],
)
def test_colour_only_on_a_terminal_that_wants_it(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, variable: str | None, colour: bool
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal, raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    if variable is not None:
        monkeypatch.setitem(os.environ, "NO_COLOR", variable)
    assert (coloured("x", "red") != "x") is colour


def test_every_severity_has_a_colour() -> None:
    assert set(COLOURS) == set(Severity)
