"""From a file to a configuration, or to all of its faults at once."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from dmwatch.errors import DmwatchError
from dmwatch.monitor.catalogue import event_types
from dmwatch.service.config.expected import faults_of, unknown
from dmwatch.service.config.faults import ConfigError, Fault
from dmwatch.service.config.places import Places
from dmwatch.service.settings import Configuration, HandlerTable

DEFAULT_PATH = Path("/etc/dmwatch/config.toml")
LARGEST = 1 << 20
"""No configuration has more bytes."""

_AT = re.compile(r" \(at (?:line (?P<line>[0-9]+), column [0-9]+|end of document)\)")


def read_configuration(
    path: Path | None = None, *, check_plugins: bool = True, strict: bool = False
) -> Configuration:
    """Read the configuration; its `source` says which file it came from.

    Args:
        path: the file; None for the default one, which may be missing: then the defaults hold.
        check_plugins: load the handlers that are named, and check their settings.
        strict: a handler whose code cannot be loaded is a fault; the daemon goes on without it.

    Raises:
        ConfigError: it has faults: all of them.
        DmwatchError: it cannot be read.
    """
    source = DEFAULT_PATH if path is None else path
    text = _text(source, may_miss=path is None)
    if text is None:
        return Configuration()
    made = parse(text, str(source), check_plugins=check_plugins, strict=strict)
    made.came_from(source)
    return made


def parse(
    text: str, source: str, *, check_plugins: bool = True, strict: bool = False
) -> Configuration:
    """Read a configuration from TOML, as `read_configuration` does from a file.

    Raises:
        ConfigError: it has faults: all of them. `source` says of what.
    """
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(source, [_syntax(error, text)]) from None
    faults = list(_misfits(data))
    made = _validate(data, faults)
    if check_plugins:
        faults += _plugin_faults(made.handlers if made else _sound_handlers(data), strict=strict)
    if faults or made is None:
        places = Places(text)
        raise ConfigError(source, [fault.at(places.line(fault.path)) for fault in faults])
    return made


# The file


def _text(path: Path, *, may_miss: bool) -> str | None:
    try:
        data = _bytes(path)
    except FileNotFoundError:
        if may_miss:
            return None
        raise DmwatchError(
            f"{path} cannot be read",
            because="there is no such file",
            hint="name another, or none: the defaults then hold",
        ) from None
    except OSError as error:
        raise DmwatchError(f"{path} cannot be read", because=_why(error)) from None
    if len(data) > LARGEST:
        raise DmwatchError(f"{path} is no configuration: it has more than {LARGEST} bytes")
    try:
        return data.decode("utf-8").removeprefix("\ufeff").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(str(path), [Fault((), "expected UTF-8 text", line)]) from None


def _bytes(path: Path) -> bytes:
    # O_NONBLOCK: a fifo must not keep us waiting for somebody who writes to it
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file")
        if _is_anybodys(found):
            raise OSError(errno.EPERM, "others than root can change it, and it names programs")
        return file.read(LARGEST + 1)


def _is_anybodys(found: os.stat_result) -> bool:
    by_group = found.st_mode & stat.S_IWGRP and found.st_gid not in {0, os.getegid()}
    return bool(found.st_mode & stat.S_IWOTH or by_group or found.st_uid not in {0, os.geteuid()})


def _why(error: OSError) -> str:
    return error.strerror or str(error)


# Its faults


def _syntax(error: Exception, text: str) -> Fault:
    if isinstance(error, RecursionError):
        return Fault((), "expected no such deep nesting")
    said = str(error)
    match = _AT.search(said)
    line = int(match["line"]) if match and match["line"] else text.count("\n") + 1
    if match is None:
        # Python's own limits, as for the digits of a number: they name no line
        return Fault((), "expected TOML; a value in it is out of every range")
    problem = said[: match.start()]
    return Fault((), f"expected TOML, which this is not: {problem[:1].lower()}{problem[1:]}", line)


def _misfits(data: dict[str, Any]) -> Iterator[Fault]:
    """What the models would only say of the first: conditions that there are none of, or no rungs.

    Such keys are taken out of the data, so that they hide no other fault.
    """
    conditions = data.get("conditions")
    if not isinstance(conditions, dict):
        return
    known = {name: row.rungs for name, row in event_types().items() if row.stands}
    for name, chosen in list(conditions.items()):
        if name not in known:
            del conditions[name]
            yield Fault(("conditions", name), unknown(name, known, "condition"))
        elif not known[name] and isinstance(chosen, dict):
            for key in {"rungs", "hysteresis"} & chosen.keys():
                del chosen[key]
                yield Fault(("conditions", name, key), _NO_RUNGS)


_NO_RUNGS = "only a usage condition has rungs and hysteresis, and this is none"


def _validate(data: dict[str, Any], faults: list[Fault]) -> Configuration | None:
    try:
        return Configuration.model_validate(data)
    except ValidationError as error:
        faults += faults_of(error, Configuration)
    return None


def _plugin_faults(handlers: Mapping[str, HandlerTable], *, strict: bool) -> Iterator[Fault]:
    # the loader raises the faults of this package
    from dmwatch.service.delivery import plugins  # noqa: PLC0415

    for name, table in handlers.items():
        try:
            plugins.load(name, table)
        except ConfigError as error:
            yield from error.faults
        except plugins.PluginError as error:
            if strict:
                yield Fault(("handlers", name, "use"), str(error))
        except DmwatchError as error:
            yield Fault(("handlers", name, "use"), str(error).removeprefix(f"handler {name}: "))


def _sound_handlers(data: dict[str, Any]) -> dict[str, HandlerTable]:
    """The tables of handlers that can be checked although something else has a fault."""
    handlers = data.get("handlers")
    found = {}
    for name, table in handlers.items() if isinstance(handlers, dict) else ():
        with contextlib.suppress(ValidationError):
            found[name] = HandlerTable.model_validate(table)
    return found
