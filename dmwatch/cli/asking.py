"""Asking the daemon, where one runs."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

import click

from dmwatch.errors import DmwatchError

CONFIGURATION = Path("/etc/dmwatch/config.toml")
SOCKET = Path("/run/dmwatch/events.sock")


def answer(question: str) -> dict[str, Any] | None:
    """What the daemon answers; None where there is none, or it may not be asked.

    Args:
        question: conditions, handlers, coverage or health.
    """
    path = socket_path()
    # nothing of the daemon is needed where none runs; unlike Path.exists it says no where a folder
    # on the way is closed to us
    if not os.path.exists(path):  # noqa: PTH110
        return None
    from dmwatch.service.stream.client import (  # noqa: PLC0415
        NoDaemonError,
        SocketNotPermittedError,
        ask,
    )

    try:
        return ask(path, question)
    except (NoDaemonError, SocketNotPermittedError):
        return None
    except DmwatchError as error:
        click.echo(f"the daemon does not say: {error}", err=True)
        return None


def socket_path() -> Path:
    """The daemon's socket, by the configuration at its usual place; read so that no fault hurts."""
    try:
        stream = tomllib.loads(CONFIGURATION.read_text("utf-8")).get("stream", {})
        return Path(stream.get("socket", SOCKET))
    except (OSError, ValueError, AttributeError, TypeError):
        return SOCKET
