"""DeviceMapper on the fake kernel, step by step against a model of a few lines."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dmwatch.dm import DeviceMapper
from dmwatch.errors import CommandError, DeviceBusyError, DeviceNotFoundError
from dmwatch.ioctl.abi import Flags
from dmwatch.names import DeviceUuid
from dmwatch.table import TargetLine
from dmwatch.testing import FakeKernel

NAMES = st.sampled_from(["a", "b", "c\udcff", "n" * 127])
UUIDS = st.sampled_from(["LVM-1", "u" * 128, "x"])


@st.composite
def tables(draw: st.DrawFn) -> tuple[TargetLine, ...]:
    start, lines = 0, []
    for length in draw(st.lists(st.integers(1, 1 << 40), min_size=1, max_size=4)):
        kind, text = draw(st.sampled_from([("zero", ""), ("linear", "7:0 0"), ("error", "")]))
        lines.append(TargetLine(start, length, kind, text))
        start += length
    return tuple(lines)


@dataclass
class Modelled:
    uuid: str | None = None
    live: tuple[TargetLine, ...] = ()
    staged: tuple[TargetLine, ...] = ()
    suspended: bool = False
    event_nr: int = 0
    opens: int = 0
    deferred: bool = False


class Machine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.kernel = FakeKernel()
        self.dm = DeviceMapper(self.kernel.open())
        self.model: dict[str, Modelled] = {}

    @rule(name=NAMES, uuid=st.none() | UUIDS)
    def create(self, name: str, uuid: str | None) -> None:
        taken = name in self.model or (uuid and self.with_uuid(uuid))
        try:
            info = self.dm.create(name, uuid)
        except DeviceBusyError:
            assert taken
        else:
            assert not taken
            assert (info.name, info.uuid) == (name, uuid)
            self.model[name] = Modelled(uuid)

    @rule(name=NAMES, deferred=st.booleans())
    def remove(self, name: str, deferred: bool) -> None:
        known = self.model.get(name)
        try:
            answer = self.dm.remove(name, flags=Flags.DEFERRED_REMOVE if deferred else Flags(0))
        except DeviceNotFoundError:
            assert known is None
        except DeviceBusyError:
            assert known
            assert known.opens
            assert not deferred
        else:
            assert known is not None
            assert answer.deferred_remove == bool(known.opens)
            if known.opens:
                known.deferred = True
            else:
                del self.model[name]

    @rule(name=NAMES, new=NAMES)
    def rename(self, name: str, new: str) -> None:
        try:
            self.dm.rename(name, new)
        except DeviceBusyError:
            assert new in self.model
        except DeviceNotFoundError:
            assert name not in self.model
        else:
            known = self.model[new] = self.model.pop(name)
            known.event_nr += bool(known.live)

    @rule(name=NAMES, uuid=UUIDS)
    def set_uuid(self, name: str, uuid: str) -> None:
        known = self.model.get(name)
        try:
            self.dm.set_uuid(name, uuid)
        except DeviceBusyError:
            assert self.with_uuid(uuid)
        except DeviceNotFoundError:
            assert known is None
        except CommandError:
            assert known
            assert known.uuid
        else:
            assert known
            known.uuid = uuid
            known.event_nr += bool(known.live)

    def some(self, data: st.DataObject) -> tuple[str, Modelled]:
        name = data.draw(st.sampled_from(sorted(self.model)))
        return name, self.model[name]

    @precondition(lambda self: self.model)
    @rule(data=st.data(), table=tables())
    def load(self, data: st.DataObject, table: tuple[TargetLine, ...]) -> None:
        name, known = self.some(data)
        assert self.dm.load(name, table).has_staged_table
        known.staged = table

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def clear(self, data: st.DataObject) -> None:
        name, known = self.some(data)
        self.dm.clear(name)
        known.staged = ()

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def suspend(self, data: st.DataObject) -> None:
        name, known = self.some(data)
        self.dm.suspend(name)
        known.suspended = True

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def resume(self, data: st.DataObject) -> None:
        name, known = self.some(data)
        if known.staged:
            known.live, known.staged = known.staged, ()
        try:
            self.dm.resume(name)
        except CommandError:
            assert known.suspended
            assert not known.live
        else:
            known.suspended = False

    @precondition(lambda self: self.model)
    @rule(data=st.data(), times=st.integers(1, 3))
    def raise_event(self, data: st.DataObject, times: int) -> None:
        name, known = self.some(data)
        self.kernel.raise_event(name, times)
        known.event_nr += times

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def open(self, data: st.DataObject) -> None:
        name, known = self.some(data)
        self.kernel.open_device(name)
        known.opens += 1

    @precondition(lambda self: any(known.opens for known in self.model.values()))
    @rule(data=st.data())
    def close(self, data: st.DataObject) -> None:
        opened = sorted(name for name, known in self.model.items() if known.opens)
        name = data.draw(st.sampled_from(opened))
        known = self.model[name]
        self.kernel.close_device(name)
        known.opens -= 1
        if known.deferred and not known.opens:
            del self.model[name]

    @invariant()
    def the_list_is_that_of_the_model(self) -> None:
        listed = self.dm.list_devices(uuids=True)
        assert {d.name: (d.event_nr, d.uuid) for d in listed} == {
            name: (known.event_nr, known.uuid) for name, known in self.model.items()
        }
        assert len({d.number for d in listed}) == len(listed)

    @invariant()
    def every_record_is_that_of_the_model(self) -> None:
        for name, known in self.model.items():
            info = self.dm.info(name)
            assert (info.suspended, info.deferred_remove) == (known.suspended, known.deferred)
            assert (info.has_table, info.has_staged_table) == (bool(known.live), bool(known.staged))
            assert (info.open_count, info.target_count) == (known.opens, len(known.live))
            assert self.dm.table(name) == known.live
            assert self.dm.table(name, flags=Flags.QUERY_INACTIVE_TABLE) == known.staged
            if known.uuid:
                assert self.dm.info(DeviceUuid(known.uuid)).number == info.number

    def with_uuid(self, uuid: str) -> bool:
        return any(known.uuid == uuid for known in self.model.values())

    def teardown(self) -> None:
        self.dm.close()


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=30, stateful_step_count=30)
