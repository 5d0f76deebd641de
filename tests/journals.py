"""What a kill at this moment would leave in a journal that a daemon has open for itself alone."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any


def kept(journal: Path, query: str) -> list[tuple[Any, ...]]:
    """Ask a copy of the file and of its log."""
    with tempfile.TemporaryDirectory() as folder:
        for suffix in ("", "-wal"):
            part = journal.with_name(journal.name + suffix)
            if part.exists():
                shutil.copy(part, folder)
        with closing(sqlite3.connect(Path(folder) / journal.name)) as connection:
            return connection.execute(query).fetchall()
