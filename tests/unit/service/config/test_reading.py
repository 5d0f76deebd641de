"""From a file to a configuration, or to all of its faults at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dmwatch.errors import DmwatchError
from dmwatch.handlers import Handler
from dmwatch.service.config import ConfigError, read_configuration, reading
from dmwatch.service.config.reading import LARGEST, parse
from dmwatch.service.delivery import plugins
from dmwatch.severity import Severity

DATA = Path(__file__).parents[3] / "data" / "config"


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "config.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def refused(text: str, *, strict: bool = False) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(text, "it", strict=strict)
    return [str(fault) for fault in caught.value.faults]


def test_each_of_thirty_faults_has_a_sentence_with_its_line_and_key() -> None:
    with pytest.raises(ConfigError) as caught:
        parse((DATA / "wrong.toml").read_text(), "wrong.toml")
    assert f"{caught.value.what}\n" == (DATA / "wrong.txt").read_text()
    assert "hunter2" not in f"{caught.value}{caught.value!r}"
    assert len({fault.expected for fault in caught.value.faults}) >= 20


def test_in_a_log_all_faults_stand_on_one_line() -> None:
    with pytest.raises(ConfigError) as caught:
        parse("[monitor]\na = 1\nb = 2\n", "it")
    assert str(caught.value) == (
        "it has 2 faults: "
        "line 2: monitor.a: there is no such key, expected one of cpu_share, heartbeat, "
        "lock_memory, poll_interval, status_timeout; "
        "line 3: monitor.b: there is no such key, expected one of cpu_share, heartbeat, "
        "lock_memory, poll_interval, status_timeout"
    )


def test_a_sound_file_is_read(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        '[monitor]\nheartbeat = "5m"\n[handlers.a]\nuse = "log"\ndata = false\n'
        '[handlers.a.match]\nseverity = "error"\n',
    )
    made = read_configuration(path)
    assert made.source == path
    assert made.monitor.heartbeat == 300.0
    assert made.handlers["a"].match.severity is Severity.ERROR
    assert made.handlers["a"].own == {"data": False}


# The file


def test_where_the_default_file_is_missing_the_defaults_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "DEFAULT_PATH", tmp_path / "none.toml")
    made = read_configuration()
    assert made.source is None
    assert [table.use for table in made.handlers.values()] == ["log"]


def test_a_default_file_that_is_there_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, '[log]\nlevel = "debug"\n')
    monkeypatch.setattr(reading, "DEFAULT_PATH", path)
    assert read_configuration().log.level is Severity.DEBUG


def test_a_named_file_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DmwatchError, match=r"cannot be read.*there is no such file.*try this"):
        read_configuration(tmp_path / "none.toml")


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path in (tmp_path, fifo, Path("/dev/null")):
        with pytest.raises(DmwatchError, match="cannot be read"):
            read_configuration(path)


def test_a_file_that_anybody_can_change_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "")
    path.chmod(0o666)
    with pytest.raises(DmwatchError, match="others than root can change it, and it names programs"):
        read_configuration(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_that_a_group_can_change_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "")
    path.chmod(0o664)
    assert read_configuration(path).source == path
    os.chown(path, 0, 65534)
    path.chmod(0o664)
    with pytest.raises(DmwatchError, match="others than root can change it"):
        read_configuration(path)
    path.chmod(0o644)
    assert read_configuration(path).source == path


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "")
    os.chown(path, 65534, 65534)
    with pytest.raises(DmwatchError, match="others than root can change it"):
        read_configuration(path)


def test_a_file_that_is_too_large_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, b"#" * (LARGEST + 1))
    with pytest.raises(DmwatchError, match="it has more than 1048576 bytes"):
        read_configuration(path)


def test_text_that_is_not_utf_8_is_told_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read_configuration(written(tmp_path, b"\n\n# \xff\n"))
    assert [str(fault) for fault in caught.value.faults] == ["line 3: expected UTF-8 text"]


def test_a_byte_order_mark_and_windows_line_ends_are_taken(tmp_path: Path) -> None:
    path = written(tmp_path, b'\xef\xbb\xbf[log]\r\nlevel = "error"\r\n')
    assert read_configuration(path).log.level is Severity.ERROR


# What is wrong with it


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a = \n", "line 1: expected TOML, which this is not: invalid value"),
        ("\n[a\n", "line 2: expected TOML, which this is not: "),
        ("[log]\n[log]\n", "line 2: expected TOML, which this is not: "),
        ('a = "', "line 1: expected TOML, which this is not: "),
        (f"a = {'9' * 5000}", "expected TOML; a value in it is out of every range"),
        (f"a = {'[' * 5000}", "expected no such deep nesting"),
        ("\x00", "line 1: expected TOML, which this is not: "),
    ],
)
def test_what_is_no_toml_is_told_with_its_line(text: str, said: str) -> None:
    (fault,) = refused(text)
    assert fault.startswith(said)


def test_a_fault_elsewhere_hides_none_of_a_handlers_settings() -> None:
    assert refused('[monitor]\nx = 1\n[handlers.a]\nuse = "log"\ndatum = true\n')[1:] == [
        "line 5: handlers.a.datum: there is no such key, did you mean data?"
    ]


def test_a_handler_that_is_not_installed_is_a_fault() -> None:
    (fault,) = refused('[handlers.a]\nuse = "pagr"\n')
    assert fault.startswith("line 2: handlers.a.use: there is no handler 'pagr'; most likely")


def test_plug_ins_can_be_left_alone() -> None:
    text = '[handlers.a]\nuse = "pagr"\nanything = 1\n'
    assert parse(text, "it", check_plugins=False).handlers["a"].own == {"anything": 1}


UNLOADABLE = "the handler 'log' cannot be loaded"


def broken(*_: object) -> type[Handler]:  # type: ignore[type-arg]
    raise plugins.PluginError(UNLOADABLE, because="it is broken")


def test_code_that_cannot_be_loaded_is_only_a_fault_where_that_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # the daemon goes on without that handler, and says so
    monkeypatch.setattr(plugins, "load", broken)
    text = '[handlers.a]\nuse = "log"\n'
    assert parse(text, "it").handlers["a"].use == "log"
    assert refused(text, strict=True) == [
        f"line 2: handlers.a.use: {UNLOADABLE}; most likely because it is broken"
    ]


def test_a_table_of_handlers_that_is_empty_means_log() -> None:
    assert [table.use for table in parse("[handlers]\n", "it").handlers.values()] == ["log"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("monitor = 3", "line 1: monitor: expected a table"),
        ("conditions = 3", "line 1: conditions: expected a table"),
        (
            'conditions."raid.leg-failed" = 3',
            'line 1: conditions."raid.leg-failed": expected a tab',
        ),
        ("handlers = 3", "line 1: handlers: expected a table"),
        ("handlers.a = 3", "line 1: handlers.a: expected a table"),
        ("rules = 3", "line 1: rules: expected an array"),
        ("rules = [3]", "line 1: rules[1]: expected a table"),
        ('stream.socket = "/x' + "y" * 120 + '"', "line 1: stream.socket: expected at most 107"),
        ('journal.path = "/x\\u0000"', "line 1: journal.path: expected an absolute path"),
        ("journal.max_size = inf", "line 1: journal.max_size: expected a size"),
        ("monitor.heartbeat = nan", "line 1: monitor.heartbeat: expected "),
        ("monitor.heartbeat = inf", "line 1: monitor.heartbeat: expected a finite number"),
        ("monitor.heartbeat = true", "line 1: monitor.heartbeat: a span of time is a number and"),
        ('monitor.heartbeat = "99999d"', "line 1: monitor.heartbeat: a span of time is 100 years"),
        ("journal.keep = 1e25", "line 1: journal.keep: a span of time is 100 years at most"),
        ('monitor.lock_memory = "yes"', "line 1: monitor.lock_memory: expected true or false"),
        ("monitor.cpu_share = true", "line 1: monitor.cpu_share: expected a number"),
        ('stream.group = "a\\u0000b"', "line 1: stream.group: expected the name of a group"),
        ("stream.max_clients = true", "line 1: stream.max_clients: expected a whole number"),
        (
            'rules = [{ action = "ignore", until = 20261201 }]',
            "line 1: rules[1].until: expected a time with its zone",
        ),
        ('handlers."" = {use = "log"}', 'line 1: handlers."": a handler\'s name has'),
        ('"\\u001b[31m" = 1', 'line 1: "\\x1b[31m": there is no such key, expected one of cond'),
    ],
)
def test_a_value_of_a_wrong_kind(text: str, said: str) -> None:
    (fault,) = refused(text)
    assert fault.startswith(said)


def test_thousands_of_faults_do_not_take_long() -> None:
    conditions = "".join(f'[conditions."x.{number}"]\n' for number in range(3000))
    assert len(refused(conditions)) == 3000
