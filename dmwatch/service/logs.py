"""The daemon's log: structlog, one line for one event, JSON or columns for people.

The keys of a JSON line are stable: `message`, `level`, `logger`, `time`, then what the message is
about. Where the line goes to the journal it starts with `<N>`, its priority. What other packages
say through `logging` and `warnings` comes out in the same form.

A logger is asked for with `get`; until `configure` is called structlog's own defaults hold, so that
commands and tests can use everything here without a set-up.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, MutableMapping
from enum import StrEnum
from typing import Any

import structlog
from pydantic import BaseModel, ConfigDict, Field

from dmwatch.names import printable
from dmwatch.service.lines import LONGEST, Lines, is_journal
from dmwatch.severity import Severity

Fields = MutableMapping[str, Any]
_METHODS = {"warn": "warning", "exception": "error", "fatal": "critical", "msg": "info"}


class Format(StrEnum):
    """How a line looks."""

    AUTO = "auto"
    JSON = "json"
    CONSOLE = "console"


class LogSettings(BaseModel):
    """`[log]`: the daemon's own log, on standard output."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Format = Field(
        default=Format.AUTO, description="auto: console on a terminal, JSON lines elsewhere"
    )
    level: Severity = Field(default=Severity.INFO, description="this and worse")


class _Output:
    """Where lines go and how they look; replaced as a whole by `configure`, see also `change`."""

    def __init__(self, settings: LogSettings, descriptor: int) -> None:
        self._terminal = os.isatty(descriptor)
        self.lines = Lines(descriptor)
        self.journal = is_journal(descriptor)
        self.take(settings)

    def take(self, settings: LogSettings) -> None:
        self.rank = settings.level.rank
        as_json = _wants_json(settings.format, self._terminal)
        self.render = _json if as_json else _console(self._terminal)

    def write(self, fields: Fields) -> None:
        severity = Severity(fields["level"])
        prefix = f"<{severity.priority}>" if self.journal else ""
        self.lines.write(self.render(fields), prefix)


_output: _Output | None = None


def configure(settings: LogSettings | None = None, descriptor: int = 1) -> None:
    """Set up the log, or change it: loggers that were given out before follow.

    Args:
        settings: the defaults where None.
        descriptor: where lines go: standard output.
    """
    global _output  # noqa: PLW0603 - there is one log, as there is one standard output
    _output = _Output(settings or LogSettings(), descriptor)
    structlog.configure(
        processors=[
            _filter,
            structlog.processors.TimeStamper("iso", key="time"),
            _exception,
            _last,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.NOTSET),
        logger_factory=lambda *_: None,
        cache_logger_on_first_use=True,
    )
    logging.captureWarnings(capture=True)
    root = logging.getLogger()
    root.handlers[:] = [_Routed()]
    _pass_on(_output)


def change(settings: LogSettings) -> None:
    """Go by other settings from now on; lines that still wait for room stay."""
    if _output is not None:
        _output.take(settings)
        _pass_on(_output)


def _pass_on(output: _Output) -> None:
    logging.getLogger().setLevel(logging.INFO if output.rank else logging.DEBUG)


def get(name: str, **bound: Any) -> Any:
    """Give a logger; `name` stands in each of its lines as `logger`.

    Its methods are debug, info, warning, error, critical and exception. A line about an event
    names its severity, as in `log.info(sentence, severity=event.severity)`; it then has that
    level, and is written whatever level the log has.
    """
    return structlog.get_logger(logger_name=name, **bound)


def flush() -> None:
    """Give lines that a slow reader has not taken yet a last chance, half a second at most."""
    if _output is not None:
        _output.lines.flush()


def _wants_json(chosen: Format, terminal: bool) -> bool:
    return chosen is Format.JSON or (chosen is Format.AUTO and not terminal)


# Processors


def _filter(_logger: Any, method: str, fields: Fields) -> Fields:
    severity = fields.pop("severity", None)
    level = _level(severity, method)
    if severity is None and _output is not None and level.rank < _output.rank:
        raise structlog.DropEvent
    fields["level"] = str(level)
    return fields


def _level(severity: Any, method: str) -> Severity:
    try:
        return Severity(severity or _METHODS.get(method, method))
    except ValueError:
        return Severity.INFO


def _exception(logger: Any, method: str, fields: Fields) -> Fields:
    return structlog.processors.format_exc_info(logger, method, fields)


def _last(_logger: Any, _method: str, fields: Fields) -> Any:
    message = fields.pop("event")
    ordered: Fields = {"message": message, "level": fields.pop("level")}
    ordered["logger"] = fields.pop("logger_name", "")
    ordered["time"] = fields.pop("time")
    ordered.update(fields)
    if _output is not None:
        _output.write(ordered)
    raise structlog.DropEvent


# Renderers


_render_json = structlog.processors.JSONRenderer()


def _json(fields: Fields) -> str:
    line = _whole(fields)
    if len(line) <= LONGEST:
        return line
    # cut in its middle by whoever writes it, it would be JSON no more
    return _whole({key: _shorter(held) for key, held in fields.items()})


def _shorter(held: Any) -> Any:
    text = held if isinstance(held, str) else repr(held)
    left_out = len(text) - 2 * _ENOUGH
    if left_out <= 0:
        return held
    return f"{text[:_ENOUGH]} [{left_out} characters left out] {text[-_ENOUGH:]}"


_ENOUGH = 500
"""So much of the begin and of the end of a field of a line that is too long."""


def _whole(fields: Fields) -> str:
    try:
        return str(_render_json(None, "", fields))
    except (TypeError, ValueError, RecursionError):
        plain = {k: held if isinstance(held, str) else repr(held) for k, held in fields.items()}
        return str(_render_json(None, "", plain))


def _console(terminal: bool) -> Callable[[Fields], str]:
    colours = terminal and not os.environ.get("NO_COLOR")
    render = structlog.dev.ConsoleRenderer(
        colors=colours,
        event_key="message",
        timestamp_key="time",
        sort_keys=False,
        exception_formatter=structlog.dev.plain_traceback,
    )

    def line(fields: Fields) -> str:
        trace = fields.pop("exception", None)
        # names come from outside: nothing in them may steer a terminal or begin a line
        shown = {
            key: printable(held) if isinstance(held, str) else held for key, held in fields.items()
        }
        text = str(render(None, "", shown))
        if trace is None:
            return text
        return f"{text}\n{trace}" if terminal else f"{text} exception={printable(trace)!r}"

    return line


class _Routed(logging.Handler):
    """Brings what is said through `logging` into the same log."""

    def emit(self, record: logging.LogRecord) -> None:
        level = next((name for number, name in _LEVELS if record.levelno >= number), Severity.DEBUG)
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001 - a wrong format string is no reason to fall
            message = str(record.msg)
        log = getattr(get(record.name), level.value)
        log(message.rstrip("\n"), exc_info=record.exc_info or None)


_LEVELS = (
    (logging.CRITICAL, Severity.CRITICAL),
    (logging.ERROR, Severity.ERROR),
    (logging.WARNING, Severity.WARNING),
    (logging.INFO, Severity.INFO),
)
