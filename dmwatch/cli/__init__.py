"""The command `dmwatch`. Each subcommand has a module of its own, imported when it is called."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from importlib import import_module
from typing import NoReturn

import click
from click.shell_completion import shell_complete

from dmwatch.cli import streams
from dmwatch.cli.failure import FAILED, USAGE, exit_code, sentence
from dmwatch.errors import DmwatchError

_COMPLETE = "_DMWATCH_COMPLETE"
_COMMANDS = {
    "check-config": "check a configuration, and say what is wrong with it",
    "conditions": "show what stands now, worst first",
    "coverage": "show what is watched of each device, how, and what is not",
    "events": "show what the daemon has told, and what it tells",
    "explain": "read `dmsetup status` text and say what it means",
    "handlers": "show handlers: installed, configured, how they fare",
    "ls": "list the devices",
    "run": "the daemon: watch, keep a journal, tell handlers",
    "status": "show what targets report, typed",
    "table": "show the tables, typed; keys never",
    "targets": "show the target types of this kernel",
    "test-handler": "send a made-up event through a configured handler",
    "tree": "show what lies on what, from the disks to the mount points",
    "watch": "watch this machine, here and now",
}
# a module is called as its command is, but pytest would take this one for tests
_MODULES = {"test-handler": "testing_handler"}


class _Lazy(click.Group):
    """A group that knows its commands' names and imports only the one that is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        module = _MODULES.get(cmd_name, cmd_name.replace("-", "_"))
        found: click.Command = import_module(f"dmwatch.cli.{module}").command
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(
    cls=_Lazy,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Example: dmwatch watch",
)
@click.version_option(package_name="dmwatch")
@click.option(
    "--paths",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=lambda context, _, wanted: _show_paths(context) if wanted else None,
    help="Show where the unit, the example and the schema lie, and exit.",
)
def group() -> None:
    """Linux device-mapper: what is there, what it reports, what changes."""


def _show_paths(context: click.Context) -> None:
    from dmwatch.cli.paths import print_paths  # noqa: PLC0415

    print_paths()
    context.exit()


def main() -> NoReturn:
    """Run the command, and turn every failure that a user can cause into a sentence."""
    streams.prepare()
    if _COMPLETE in os.environ:
        sys.exit(shell_complete(group, {}, "dmwatch", _COMPLETE, os.environ[_COMPLETE]))
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run the command with these arguments and give its exit code."""
    try:
        return _invoke(arguments)
    except (click.Abort, KeyboardInterrupt):
        return FAILED
    except BrokenPipeError:
        return _closed_pipe()
    except DmwatchError as error:
        return _failed(error)


def _failed(error: DmwatchError) -> int:
    if isinstance(error, streams.OutputError):
        streams.drop_output()
    with suppress(OSError):  # where it cannot be read the exit code still tells it
        click.echo(f"dmwatch: {sentence(error)}", err=True)
    return exit_code(error)


def _invoke(arguments: list[str]) -> int:
    # not group.main: that deals with a closed pipe and Ctrl-C in its own way
    try:
        with group.make_context("dmwatch", list(arguments)) as context:
            code = group.invoke(context)
    except click.exceptions.Exit as leave:
        code = leave.exit_code
    except click.ClickException as error:
        code = _misused(error)
    sys.stdout.flush()
    return code if isinstance(code, int) else 0


def _misused(error: click.ClickException) -> int:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message())
    else:
        with suppress(OSError):
            error.show()
    return USAGE if isinstance(error, click.UsageError) else FAILED


def _closed_pipe() -> int:
    """Whoever read our output has left: end quietly."""
    streams.drop_output()
    return 0
