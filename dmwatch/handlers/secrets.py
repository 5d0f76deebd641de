"""Secrets of handlers: named in the configuration, read from systemd credentials or files."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from dmwatch.errors import DmwatchError
from dmwatch.handlers.paths import AbsolutePath

LONGEST = 64 * 1024
"""No token or password is longer; a larger file is something else."""


class Secret(BaseModel):
    """`{ credential = "name" }`: a systemd credential; `{ file = "/path" }`: a file's text."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    credential: str | None = Field(
        default=None, pattern=r"^[^/]+$", description="a systemd credential"
    )
    file: AbsolutePath | None = Field(default=None, description="a file that only root can read")

    @model_validator(mode="after")
    def _one_source(self) -> Secret:
        if (self.credential is None) == (self.file is None):
            raise ValueError('a secret is { credential = "name" } or { file = "/path" }')
        return self

    def read(self) -> SecretStr:
        """Give the secret, without the newline at its end; masked wherever it is shown.

        Raises:
            DmwatchError: it cannot be read.
        """
        path = self._path()
        try:
            text = _content(path).decode()
        except (OSError, UnicodeDecodeError) as error:
            problem = getattr(error, "strerror", None) or "it is not UTF-8 text"
            raise DmwatchError(f"the secret {path} cannot be read", because=problem) from None
        if not text.strip() or len(text) > LONGEST:
            raise DmwatchError(f"the secret {path} is empty or too long")
        return SecretStr(text.removesuffix("\n"))

    def _path(self) -> Path:
        if self.file is not None:
            return self.file
        folder = os.environ.get("CREDENTIALS_DIRECTORY")
        if not folder:
            raise DmwatchError(
                f"there is no credential {self.credential!r}",
                because="CREDENTIALS_DIRECTORY is not set: the daemon was not started by systemd",
                hint='LoadCredential= in a drop-in of the unit, or { file = "/path" }',
            )
        return Path(folder, str(self.credential))


def _content(path: Path) -> bytes:
    # O_NONBLOCK: a fifo must not keep us waiting for somebody who writes to it
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file")
        return file.read(LONGEST + 1)
