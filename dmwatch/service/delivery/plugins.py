"""Which handlers are installed, and loading those that are configured, and only those.

A plug-in is somebody else's code. Its import runs on a thread with a time limit, and whatever it
raises, SystemExit included, becomes a sentence. The names of dmwatch's own handlers are taken: no
other package can stand in for them.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib.metadata import EntryPoint, distributions, entry_points
from typing import Any

from pydantic import ValidationError

from dmwatch.errors import DmwatchError, shorten
from dmwatch.events import Event
from dmwatch.handlers import Handler, HandlerSettings
from dmwatch.service.config.expected import faults_of
from dmwatch.service.config.faults import ConfigError
from dmwatch.service.delivery.limited import HangsError, limited
from dmwatch.service.settings import HandlerTable

GROUP = "dmwatch.handlers"
"""The entry-point group; an entry point's name is what `use` names."""
IMPORT_SECONDS = 20.0
"""An import that takes longer is given up, and so is checking settings."""
_OWN = "dmwatch"


class PluginError(DmwatchError):
    """A handler that is installed but cannot be loaded. The daemon goes on without it."""


@dataclass(frozen=True, slots=True)
class Installed:
    """A handler that could be configured.

    Attributes:
        name: what `use` says.
        origin: the distribution that brings it.
        version: of the distribution.
        where: `module:class`.
    """

    name: str
    origin: str
    version: str
    where: str

    @property
    def builtin(self) -> bool:
        """It is one of dmwatch's own."""
        return self.origin == _OWN

    def __str__(self) -> str:
        return f"{self.name!r} of {self.origin} {self.version}"


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configured handler, ready to be made.

    Attributes:
        name: what the configuration calls it.
        table: its table.
        kind: its class.
        settings: its own settings, validated.
    """

    name: str
    table: HandlerTable
    kind: type[Handler[Any]]
    settings: HandlerSettings

    def make(self, log: Any) -> Handler[Any]:
        """Make the handler; its code runs."""
        return self.kind(self.name, self.settings, log)


def installed() -> list[Installed]:
    """Everything that could be configured, by name; nothing is imported."""
    return sorted(map(_describe, _entries()), key=lambda found: (found.name, found.origin))


def load(name: str, table: HandlerTable) -> Loaded:
    """Import a handler and validate its settings.

    Raises:
        ConfigError: its settings have faults: all of them.
        PluginError: its code cannot be loaded.
        DmwatchError: no such handler is installed.
    """
    kind = _class(_find(name, table.use))
    check = partial(kind.Settings.model_validate, table.own)
    unchecked = f"the settings of handler {name} cannot be checked"
    try:
        settings = limited(kind, IMPORT_SECONDS, check)
    except ValidationError as error:
        faults = faults_of(error, kind.Settings, ("handlers", name))
        raise ConfigError(f"handler {name}", faults) from None
    except HangsError:
        raise PluginError(
            unchecked, because=f"that takes longer than {IMPORT_SECONDS:g} s"
        ) from None
    except BaseException as error:
        raise PluginError(unchecked, because=_said(error)) from error
    return Loaded(name, table, kind, settings)


def load_all(tables: Mapping[str, HandlerTable]) -> dict[str, Loaded]:
    """Load what is configured; for code that cannot be loaded there is a stand-in.

    The stand-in fails to open, saying why, and loads the handler as soon as that is possible.

    Raises:
        ConfigError: settings have faults.
        DmwatchError: no such handler is installed.
    """
    return {name: _loaded_or_stand_in(name, table) for name, table in tables.items()}


def _loaded_or_stand_in(name: str, table: HandlerTable) -> Loaded:
    try:
        return load(name, table)
    except PluginError:
        return Loaded(name, table, StandIn, StandInSettings(table=table))


class StandInSettings(HandlerSettings):
    """What to load once it can be loaded."""

    table: HandlerTable


class StandIn(Handler[StandInSettings]):
    """Stands where a plug-in's code could not be loaded, until it can."""

    Settings = StandInSettings
    _real: Handler[Any] | None = None

    async def open(self) -> None:
        """Load the handler and open it.

        Raises:
            DmwatchError: it still cannot be loaded.
        """
        loaded = await asyncio.to_thread(load, self.name, self.settings.table)
        self._real = loaded.make(self.log)
        await self._real.open()

    async def handle(self, event: Event) -> None:
        """Hand the event on."""
        if self._real is not None:
            await self._real.handle(event)

    async def close(self) -> None:
        """Close what was loaded."""
        if self._real is not None:
            await self._real.close()


def _entries() -> list[EntryPoint]:
    try:
        return list(entry_points(group=GROUP))
    except Exception:  # noqa: BLE001 - of one package, any that is installed; the others can be read
        return list(_readable_entries())


def _readable_entries() -> Iterator[EntryPoint]:
    seen: set[str] = set()
    for package in distributions():
        with suppress(Exception):
            if package.name not in seen:
                seen.add(package.name)
                yield from package.entry_points.select(group=GROUP)


def _describe(entry: EntryPoint) -> Installed:
    try:
        found = entry.dist
        if found is not None and found.name:
            return Installed(entry.name, found.name, found.version or "", entry.value)
    except Exception:  # noqa: BLE001, S110 - its metadata cannot be read
        pass
    return Installed(entry.name, "an unknown package", "", entry.value)


def _find(name: str, use: str) -> EntryPoint:
    found = [entry for entry in _entries() if entry.name == use]
    own = [entry for entry in found if _describe(entry).builtin]
    if len(found) == 1 or own:
        return (own or found)[0]
    if not found:
        known = ", ".join(sorted({entry.name for entry in _entries()}))
        raise DmwatchError(
            f"handler {name}: there is no handler {shorten(use, 64)!r}",
            because="no installed package brings it",
            hint=f"install it beside dmwatch, or use one of {known}",
        )
    packages = " and ".join(sorted(_describe(entry).origin for entry in found))
    raise DmwatchError(
        f"handler {name}: {use!r} could be any of several",
        because=f"{packages} both bring it",
        hint="remove all but one of these packages",
    )


def _class(entry: EntryPoint) -> type[Handler[Any]]:
    found = _imported(entry)
    if not (inspect.isclass(found) and issubclass(found, Handler)):
        problem = f"{entry.value} is no subclass of dmwatch.handlers.Handler"
    elif inspect.isabstract(found):
        problem = f"{entry.value} has no method `handle`"
    elif not _is_settings(found.Settings):
        problem = f"its Settings are no subclass of HandlerSettings, in {entry.value}"
    else:
        return found
    raise _unusable(entry, problem)


def _is_settings(found: Any) -> bool:
    return inspect.isclass(found) and issubclass(found, HandlerSettings)


def _imported(entry: EntryPoint) -> Any:
    try:
        return limited(entry.value, IMPORT_SECONDS, entry.load)
    except HangsError:
        raise _unusable(entry, f"its import takes longer than {IMPORT_SECONDS:g} s") from None
    except DmwatchError as error:
        raise PluginError(error.what, because=error.because, hint=error.hint) from error
    except BaseException as error:  # KeyboardInterrupt, too: on a thread it is nobody's Ctrl-C
        raise _unusable(entry, _said(error)) from error


def _unusable(entry: EntryPoint, because: str) -> PluginError:
    return PluginError(
        f"the handler {_describe(entry)} cannot be loaded",
        because=because,
        hint="repair or reinstall that package; until then this handler is told nothing",
    )


def _said(error: BaseException) -> str:
    return shorten(f"{type(error).__name__}: {error}".removesuffix(": "))
