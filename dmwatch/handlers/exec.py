"""`exec`: a program for each event. Never a shell."""

from __future__ import annotations

import asyncio
import grp
import os
import pwd
import secrets
import signal
from contextlib import suppress
from pathlib import Path

from pydantic import ByteSize, Field, field_validator

from dmwatch.errors import DmwatchError
from dmwatch.events import Event
from dmwatch.handlers.base import Handler, HandlerSettings, Retry
from dmwatch.handlers.fields import DATA, fields
from dmwatch.handlers.paths import AbsolutePath
from dmwatch.handlers.program import Ended, Order, Run
from dmwatch.handlers.threads import Thread

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
TRY_AGAIN = 75
"""EX_TEMPFAIL of sysexits.h: not now, bring it again."""
LONGEST = 32 * 1024
"""A variable that would be longer is left out; standard input has it all."""
_TAIL = 300


class ProgramError(DmwatchError):
    """A program could not be started, or failed."""


class ExecSettings(HandlerSettings):
    """What can be chosen about `exec`."""

    command: tuple[str, ...] = Field(
        min_length=1, description="the program, with its whole path, and its arguments"
    )
    user: str | None = Field(default=None, description="runs as this user; none: as the daemon")
    group: str | None = Field(default=None, description="none: the user's own")
    directory: AbsolutePath = Field(default=Path("/"), description="where it runs")
    environment: dict[str, str] = Field(
        default_factory=dict, description="variables beside those of the event"
    )
    keep_output: ByteSize = Field(
        default=ByteSize(8192), le=1024**2, description="so much of its output is kept for the log"
    )

    @field_validator("command")
    @classmethod
    def _whole_path(cls, command: tuple[str, ...]) -> tuple[str, ...]:
        if not command[0].startswith("/"):
            raise ValueError('expected the program\'s whole path first, as in ["/usr/bin/x", "y"]')
        if any("\0" in word for word in command):
            raise ValueError("expected no NUL in a program's arguments")
        return command

    @field_validator("user", "group")
    @classmethod
    def _can_be_looked_up(cls, name: str | None) -> str | None:
        if name is not None and (not name or "\0" in name):
            raise ValueError("expected the name of a user or group")
        return name

    @field_validator("environment")
    @classmethod
    def _no_foreign_names(cls, environment: dict[str, str]) -> dict[str, str]:
        for name, value in environment.items():
            if not name or "=" in name or "\0" in name + value:
                raise ValueError("expected names without = and texts without NUL")
            if name.startswith("DMWATCH_"):
                raise ValueError("expected no names with DMWATCH_: those are the event's")
        return environment


class ExecHandler(Handler[ExecSettings]):
    """Runs a program with the event as JSON on its standard input and as DMWATCH_* variables."""

    Settings = ExecSettings
    _thread: Thread | None = None
    _run: Run | None = None
    _user: int | None = None
    _group: int | None = None
    _groups: list[int] | None = None

    async def open(self) -> None:
        """Look up the user, and whether there is such a program.

        Raises:
            ProgramError: something is missing.
        """
        self._base = {"PATH": PATH, "LANG": "C.UTF-8"}
        self._thread = Thread(f"dmwatch-exec-{self.name}")
        await self._thread.call(self._look_up)

    async def handle(self, event: Event) -> None:
        """Run the program once.

        Raises:
            Retry: it ended with 75.
            ProgramError: it could not be started, or ended with any other code than 0.
        """
        if self._thread is None:
            raise Retry(reason="it is closed")
        run = Run(self._order(event), event.json_line().encode() + b"\n", secrets.token_hex(8))
        calling = asyncio.ensure_future(self._thread.call(run.run))
        self._run = run
        try:
            ended = await asyncio.shield(calling)
        except asyncio.CancelledError:
            run.stop()
            with suppress(Exception):
                self._tell(await calling, "ended at its time limit")
            raise
        except OSError as error:
            raise self._not_started(error) from None
        finally:
            self._run = None
        self._judge(ended)

    async def close(self) -> None:
        """Kill what still runs."""
        if self._run is not None:
            self._run.stop(0)
        if self._thread is not None:
            self._thread.close()

    def _look_up(self) -> None:
        settings = self.settings
        program = settings.command[0]
        if not os.access(program, os.X_OK) or Path(program).is_dir():
            raise ProgramError(
                f"{program} cannot be run",
                because="it is missing or not executable, here where the daemon runs",
                hint=f"look at it with ls -l {program}; the unit's sandbox may hide it",
            )
        try:
            self._become()
        except KeyError:
            raise ProgramError(
                f"{program} cannot be run",
                because=f"there is no user {settings.user!r} or no group {settings.group!r}",
            ) from None

    def _become(self) -> None:
        if self.settings.user is not None:
            user = pwd.getpwnam(self.settings.user)
            self._user, self._group = user.pw_uid, user.pw_gid
            self._groups = os.getgrouplist(user.pw_name, user.pw_gid)
            self._base |= {"HOME": user.pw_dir, "USER": user.pw_name, "LOGNAME": user.pw_name}
        if self.settings.group is not None:
            self._group = grp.getgrnam(self.settings.group).gr_gid
            # without a user the groups of the daemon would stay
            self._groups = [*(self._groups or []), self._group]

    def _order(self, event: Event) -> Order:
        settings = self.settings
        return Order(
            argv=settings.command,
            environment=self._base | settings.environment | variables(event),
            directory=settings.directory,
            user=self._user,
            group=self._group,
            groups=self._groups,
            keep=settings.keep_output,
        )

    def _not_started(self, error: OSError) -> ProgramError:
        because = error.strerror or str(error)
        missing = isinstance(error, FileNotFoundError | NotADirectoryError)
        if missing and str(error.filename) == str(self.settings.directory):
            because = f"there is no directory {self.settings.directory}"
        if isinstance(error, PermissionError) and self._user is not None:
            because += f": may the daemon become {self.settings.user}, and that user run it?"
        return ProgramError(f"{self.settings.command[0]} could not be started", because=because)

    def _judge(self, ended: Ended) -> None:
        if ended.code == 0:
            self._tell(ended, "ran")
            return
        self._tell(ended, "failed")
        how = ending(ended.code)
        last = ended.output.strip().rpartition("\n")[2][-_TAIL:]
        if ended.code == TRY_AGAIN:
            raise Retry(reason=last or how)
        raise ProgramError(f"{self.settings.command[0]} {how}" + (f": {last}" if last else ""))

    def _tell(self, ended: Ended, what: str) -> None:
        log = self.log.debug if what == "ran" and not ended.output else self.log.info
        log(what, code=ended.code, output=ended.output, strays=ended.strays)


def variables(event: Event) -> dict[str, str]:
    """The event as a program's variables: DMWATCH_TYPE, DMWATCH_DATA_PERCENT, ..."""
    texts = {name.upper(): text for name, text in fields(event).items()}
    own = {DATA.upper() + "JSON": _data(event)}
    return {
        f"DMWATCH_{name}": text.replace("\0", "")
        for name, text in (texts | own).items()
        if len(text.encode()) <= LONGEST
    }


def _data(event: Event) -> str:
    import json  # noqa: PLC0415

    return json.dumps(event.model_dump(mode="json")["data"])


def ending(code: int) -> str:
    """Say how a program ended."""
    if code >= 0:
        return f"ended with {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"
