"""`dmwatch check-config` and `dmwatch --paths`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dmwatch.service.config import reading

Dmwatch = Callable[..., Any]


def test_a_sound_file_is_0_and_says_who_is_told(dmwatch: Dmwatch, tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text('[handlers.b]\nuse = "log"\n[handlers.a]\nuse = "log"\n')
    ran = dmwatch("check-config", str(path))
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == f"{path} is sound; handlers: a (log), b (log)\n"
    assert dmwatch("check-config", "--json", str(path)).json == []


def test_faults_are_1_each_with_line_key_and_what_was_expected(
    dmwatch: Dmwatch, tmp_path: Path
) -> None:
    path = tmp_path / "config.toml"
    path.write_text('[log]\nlevle = "debug"\n[monitor]\nheartbeat = "x"\n')
    ran = dmwatch("check-config", str(path))
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == (
        f"dmwatch: {path} has 2 faults\n"
        "  line 2: log.levle: there is no such key, did you mean level?\n"
        "  line 4: monitor.heartbeat: a span of time is a number and ms, s, m, h or d,"
        ' as in "10s"\n'
    )
    ran = dmwatch("check-config", "--json", str(path))
    assert (ran.code, ran.err) == (1, "")
    assert ran.json[0] == {
        "line": 2,
        "key": "log.levle",
        "expected": "there is no such key, did you mean level?",
    }


def test_a_named_file_that_is_missing_is_1(dmwatch: Dmwatch, tmp_path: Path) -> None:
    ran = dmwatch("check-config", str(tmp_path / "none"))
    assert (ran.code, ran.out) == (1, "")
    assert "there is no such file" in ran.err


def test_without_the_default_file_the_defaults_are_told(
    dmwatch: Dmwatch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "DEFAULT_PATH", tmp_path / "none.toml")
    ran = dmwatch("check-config")
    assert ran.code == 0
    assert "the defaults hold; handlers: log (log)" in ran.out


def test_paths_tells_where_what_is_shipped_lies(dmwatch: Dmwatch) -> None:
    ran = dmwatch("--paths")
    assert (ran.code, ran.err) == (0, "")
    found = dict(line.split(maxsplit=1) for line in ran.out.splitlines())
    assert list(found) == ["program", "package", "schema", "unit", "drop-ins", "example"]
    assert "ExecStart=" in Path(found["unit"]).read_text()
    assert all(Path(path).exists() for path in found.values())
