"""The commands on a fake kernel: it stands where DeviceMapper() would open the control node."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from dmwatch.cli import run
from dmwatch.monitor.watcher import Watcher
from dmwatch.testing import FakeKernel


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> FakeKernel:
    made = FakeKernel()
    monkeypatch.setattr("dmwatch.dm.device_mapper.Control", made.open)
    # the incarnations of this machine's own devices are none of its business
    monkeypatch.setitem(Watcher.__init__.__kwdefaults__ or {}, "diskseq", made.diskseq)
    return made


class Ran:
    """What came of a command."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def dmwatch(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """dmwatch(*arguments) -> its exit code, stdout and stderr."""

    def call(*arguments: str) -> Ran:
        code = run(list(arguments))
        return Ran(code, *capsys.readouterr())

    return call
