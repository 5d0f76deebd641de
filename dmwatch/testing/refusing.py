"""How the fake kernel says no."""

from __future__ import annotations

import os
from typing import NoReturn


def refuse(number: int) -> NoReturn:
    """Answer a command with an errno.

    Raises:
        OSError: always.
    """
    raise OSError(number, os.strerror(number))
