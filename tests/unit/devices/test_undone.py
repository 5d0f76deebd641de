"""Whatever step of a change goes wrong, the kernel and the object are as they were before."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

import pytest

from dmwatch.devices import (
    CacheDevice,
    Device,
    LinearDevice,
    Range,
    StripedDevice,
    ThinDevice,
    ThinPool,
    ZeroDevice,
    changing,
)
from dmwatch.dm import DeviceMapper
from dmwatch.errors import CommandError, DeviceBusyError
from dmwatch.ioctl.abi import Command, Flags
from dmwatch.targets.cache import CacheMode
from dmwatch.testing import FakeKernel
from dmwatch.units import DataBlocks, Sectors

from .conftest import Breaking, ThinIds, state

MORE = Sectors(1024)


class World:
    """Some of everything, made before anything goes wrong."""

    def __init__(self, dm: DeviceMapper) -> None:
        self.dm = dm
        self.disk = ZeroDevice(dm, "disk", Sectors(1 << 20)).create()
        self.linear = LinearDevice(dm, "linear", [self.part(0, 1024)], uuid="U-linear").create()
        self.striped = StripedDevice(
            dm,
            "striped",
            [self.linear, self.linear],
            chunk=Sectors(8),
            leg_length=Sectors(512),
        ).create()
        self.metadata = LinearDevice(dm, "meta", [self.part(2048, 8192)]).create()
        self.data = LinearDevice(dm, "data", [self.part(16384, 65536)]).create()
        self.pool = ThinPool(
            dm, "pool", metadata=self.metadata, data=self.data, block_size=Sectors(128)
        ).create()
        self.thin = ThinDevice(dm, "thin", pool=self.pool, size=Sectors(1 << 16)).create()
        self.origin = LinearDevice(dm, "origin", [self.part(100_000, 65536)]).create()
        self.fast = LinearDevice(dm, "fast", [self.part(200_000, 8192)]).create()
        self.table = LinearDevice(dm, "cmeta", [self.part(300_000, 8192)]).create()
        self.cache = self.cached("cache").create()

    def part(self, start: int, length: int) -> Range:
        return Range(self.disk, Sectors(length), Sectors(start))

    def cached(self, name: str, **changed: Any) -> CacheDevice:
        parts = {"metadata": self.table, "cache": self.fast, "origin": self.origin}
        return CacheDevice(self.dm, name, block_size=Sectors(64), **(parts | changed))

    @property
    def objects(self) -> list[Device[Any]]:
        return [found for found in vars(self).values() if isinstance(found, Device)]


def all_or_nothing(world: World) -> None:
    """Many operations as one change."""
    with changing():
        world.thin.teardown()
        world.pool.set_low_water(DataBlocks(7))
        ZeroDevice(world.dm, "new", MORE).create()
        world.linear.rename("renamed")
        world.linear.suspend()


def half_made(world: World) -> None:
    """What a crash left between create and resume is finished."""
    zero = ZeroDevice(world.dm, "half", MORE)
    zero.setup()


CHANGES: dict[str, Callable[[World], object]] = {
    "create linear": lambda w: LinearDevice(w.dm, "new", w.disk, uuid="U-new").create(),
    "setup linear": lambda w: LinearDevice(w.dm, "new", w.disk).setup(),
    "extend linear": lambda w: w.linear.extend(w.part(600_000, 8)),
    "replace linear": lambda w: w.linear.replace([w.part(600_000, 8)]),
    "rename": lambda w: w.linear.rename("renamed"),
    "suspend": lambda w: w.linear.suspend(),
    "teardown": lambda w: w.thin.teardown(),
    "extend striped": lambda w: w.striped.extend(Sectors(64)),
    "create thin": lambda w: ThinDevice(w.dm, "new", pool=w.pool, size=MORE).create(),
    "snapshot": lambda w: w.thin.snapshot("new"),
    "extend thin": lambda w: w.thin.extend(MORE),
    "external origin": lambda w: w.thin.set_origin(w.origin),
    "delete thin": lambda w: w.thin.delete(),
    "extend pool": lambda w: w.pool.extend(
        data=[w.part(500_000, 1024)], metadata=[w.part(550_000, 1024)]
    ),
    "low water": lambda w: w.pool.set_low_water(DataBlocks(7)),
    "features": lambda w: w.pool.change_features(add=["error_if_no_space"]),
    "metadata snapshot": lambda w: w.pool.reserve_metadata_snapshot(),
    "extend cache": lambda w: w.cache.extend(
        origin=[w.part(500_000, 1024)], cache=[w.part(550_000, 64)], metadata=[w.part(570_000, 8)]
    ),
    "cache mode": lambda w: w.cache.set_mode(CacheMode.WRITEBACK),
    "create cache": lambda w: w.cached("new").create(),
    "teardown with parts": lambda w: w.cache.teardown(below=True),
    "all or nothing": all_or_nothing,
    "finish": half_made,
}


def broken_at(what: str, step: int | None, *, interrupt: bool = False) -> tuple[Any, Any, Any]:
    """A change of a world whose nth command goes wrong: how it was, how it is, what was called."""
    kernel, thins = FakeKernel(), ThinIds()
    kernel.on_message = thins.answer
    control = Breaking(kernel)
    with DeviceMapper(control) as dm:
        world = World(dm)
        kernel.add("half", uuid=None)
        objects = {thing: dict(vars(thing)) for thing in world.objects}
        before = state(kernel, thins)
        control.commands.clear()
        control.left, control.interrupt = step, interrupt
        try:
            CHANGES[what](world)
        except (CommandError, KeyboardInterrupt) as error:
            notes = getattr(error, "__notes__", [])
            assert objects == {thing: vars(thing) for thing in world.objects}
            assert not notes
        else:
            assert control.left is None
        return before, state(kernel, thins), list(control.commands)


@pytest.mark.parametrize("what", CHANGES)
@pytest.mark.parity("B10", "B11", "B12", "B24")
def test_a_step_that_is_refused_leaves_everything_as_it_was(what: str) -> None:
    _, after, commands = broken_at(what, None)
    assert commands
    for step in range(len(commands)):
        before, after, called = broken_at(what, step)
        assert called[: step + 1] == commands[: step + 1]
        assert after == before, f"step {step}: {called[step].name}"


@pytest.mark.parametrize("what", CHANGES)
def test_an_interrupt_at_any_step_leaves_everything_as_it_was(what: str) -> None:
    _, _, commands = broken_at(what, None)
    for step, command in enumerate(commands):
        if command is Command.TARGET_MSG:
            continue  # whose doing an id is cannot be told then: it is not taken back
        before, after, _ = broken_at(what, step, interrupt=True)
        assert after == before, f"step {step}: {command.name}"


def test_what_a_pool_has_grown_by_stays_where_a_later_step_fails(
    kernel: FakeKernel, dm: DeviceMapper
) -> None:
    world = World(dm)

    def too_much() -> None:
        with changing():
            world.linear.rename("renamed")
            world.pool.set_low_water(DataBlocks(7))
            world.pool.extend(data=[world.part(500_000, 1024)])
            ZeroDevice(dm, "new", MORE).create()
            kernel.fail(Command.DEV_SUSPEND, errno.EIO)
            world.thin.extend(MORE)

    with pytest.raises(CommandError):
        too_much()
    assert world.linear.name == "linear"
    assert world.linear.exists()
    assert [d.name for d in kernel.devices if d.name == b"new"] == []
    assert world.data.size == Sectors(65536 + 1024)
    assert world.data.differs() == world.pool.differs() == world.thin.differs() == []
    assert world.pool.low_water == DataBlocks(7)


def test_a_pool_that_was_made_by_the_same_change_is_removed_though_it_has_grown(
    kernel: FakeKernel, dm: DeviceMapper
) -> None:
    world = World(dm)
    with changing():
        world.thin.teardown()
        world.pool.teardown(below=True)
    before = state(kernel)

    def too_much() -> None:
        with changing():
            world.metadata.create()
            world.data.create()
            world.pool.create()
            world.pool.extend(data=[world.part(500_000, 1024)])
            ZeroDevice(dm, "cache", MORE).create()

    with pytest.raises(DeviceBusyError):
        too_much()
    assert state(kernel) == before
    assert world.data.size == Sectors(65536)


def test_an_interrupted_message_leaves_no_device_and_nothing_suspended() -> None:
    for what in ("create thin", "snapshot"):
        _, _, commands = broken_at(what, None)
        step = commands.index(Command.TARGET_MSG)
        before, after, _ = broken_at(what, step, interrupt=True)
        assert after[0] == before[0]


def refuse_once(kernel: FakeKernel, name: str, *, swapped: bool) -> None:
    """The next resume is refused once it was begun."""
    kernel.before(
        Command.DEV_SUSPEND, lambda: begin_and_refuse(kernel, name, swapped=swapped), device=name
    )


def begin_and_refuse(kernel: FakeKernel, name: str, *, swapped: bool) -> None:
    """Now a resume does a part of its work: the new table is gone, or in place."""
    device = kernel.device(name)
    if swapped:
        device.live = device.staged
    device.staged, device.suspended = None, True
    kernel.fail(Command.DEV_SUSPEND, errno.EINVAL, device=name)


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("suspended", [False, True])
@pytest.mark.parametrize("leftover", [False, True])
def test_a_resume_that_is_refused_halfway_leaves_the_old_table_as_it_was(
    kernel: FakeKernel, dm: DeviceMapper, *, swapped: bool, suspended: bool, leftover: bool
) -> None:
    """A target can refuse to go on with a table that is in place already (preresume)."""
    world = World(dm)
    if suspended:
        world.linear.suspend()
    if leftover:
        kernel.dm.load("linear", world.disk.lines())
    before = state(kernel)
    refuse_once(kernel, "linear", swapped=swapped)
    with pytest.raises(CommandError) as raised:
        world.linear.extend(world.part(600_000, 8))
    assert raised.value.errno == errno.EINVAL
    assert not hasattr(raised.value, "__notes__")
    assert state(kernel) == before


@pytest.mark.parametrize("swapped", [False, True])
def test_a_plain_resume_that_is_refused_leaves_both_tables_and_the_device_running(
    kernel: FakeKernel, dm: DeviceMapper, *, swapped: bool
) -> None:
    world = World(dm)
    kernel.dm.load("linear", world.disk.lines())
    before = state(kernel)
    refuse_once(kernel, "linear", swapped=swapped)
    with pytest.raises(CommandError):
        world.linear.resume()
    assert state(kernel) == before


@pytest.mark.parametrize("swapped", [False, True])
def test_a_half_made_device_that_cannot_be_finished_stays_half_made(
    kernel: FakeKernel, dm: DeviceMapper, *, swapped: bool
) -> None:
    kernel.add("half", uuid="U-half")
    zero = ZeroDevice(dm, "half", MORE)
    before = state(kernel)
    refuse_once(kernel, "half", swapped=swapped)
    with pytest.raises(CommandError):
        zero.setup()
    assert state(kernel) == before


def test_a_device_is_put_back_once_what_lies_below_is_as_it_was(
    kernel: FakeKernel, dm: DeviceMapper
) -> None:
    """A pool does not shrink; and its old table does not fit while its data device is small."""
    world = World(dm)
    before = state(kernel)
    resumed: list[int] = []

    def look() -> None:
        staged = kernel.device("pool").staged
        assert staged
        resumed.append(staged.lines[0].length)
        if staged.lines[0].length < 65536:
            begin_and_refuse(kernel, "pool", swapped=True)
        elif kernel.dm.table("data")[0].length < 65536:
            begin_and_refuse(kernel, "pool", swapped=False)

    def shrink() -> None:
        with changing():
            world.data.replace([world.part(16384, 32768)])
            kernel.before(Command.DEV_SUSPEND, look, times=None, device="pool")
            world.pool.reload()

    with pytest.raises(CommandError) as raised:
        shrink()
    assert resumed == [32768, 65536, 65536]
    assert not getattr(raised.value, "__notes__", [])
    assert state(kernel) == before


def test_a_target_that_does_not_go_back_runs_on_with_what_it_has(
    kernel: FakeKernel, dm: DeviceMapper
) -> None:
    world = World(dm)

    def too_much() -> None:
        with changing():
            world.linear.extend(world.part(600_000, 8))
            refuse_once(kernel, "linear", swapped=True)
            world.thin.rename("pool")

    with pytest.raises(DeviceBusyError) as raised:
        too_much()
    (note,) = raised.value.__notes__
    assert "could not be undone: DEV_SUSPEND of linear failed" in note
    assert not world.linear.info().suspended
    assert sum(line.length for line in world.linear.kernel_lines()) == 1032


def test_a_staged_table_that_cannot_be_written_stays_so(
    kernel: FakeKernel, dm: DeviceMapper
) -> None:
    device = ZeroDevice(dm, "a", MORE, read_only=True)

    def staged() -> bool:
        found = kernel.device("a").staged
        return found is not None and found.read_only

    def undone(change: Callable[[], object]) -> None:
        with changing():
            change()
            raise ValueError("undo it")

    dm.create("a")
    dm.load("a", device.lines(), flags=Flags.READONLY)
    with pytest.raises(ValueError, match="undo it"):
        undone(device.setup)
    assert staged()
    with pytest.raises(ValueError, match="undo it"):
        undone(device.teardown)
    assert staged()
    dm.resume("a")
    dm.load("a", device.lines(), flags=Flags.READONLY)
    for change in (device.setup, device.reload):
        with pytest.raises(ValueError, match="undo it"):
            undone(change)
        assert staged()


@pytest.mark.parametrize("step", [1, 2, 3])
@pytest.mark.parametrize("interrupt", [False, True])
def test_a_swap_before_a_rename_is_undone_with_it(*, step: int, interrupt: bool) -> None:
    kernel = FakeKernel()
    control = Breaking(kernel)
    with DeviceMapper(control) as dm:
        zero = ZeroDevice(dm, "a", MORE).create()
        zero.suspend()
        kernel.dm.load("a", zero.lines())
        with changing() as change:
            change.clear(zero)
        before = state(kernel)
        control.left, control.interrupt = step, interrupt
        with pytest.raises((CommandError, KeyboardInterrupt)) as raised:
            zero.rename("b")
        assert state(kernel) == before
        assert not hasattr(raised.value, "__notes__")


COMMANDS: list[tuple[Command, Callable[[World], object]]] = [
    (Command.DEV_CREATE, lambda w: ZeroDevice(w.dm, "new", MORE).create()),
    (Command.DEV_RENAME, lambda w: w.linear.rename("renamed")),
    (Command.DEV_REMOVE, lambda w: w.thin.teardown()),
    (Command.TABLE_LOAD, lambda w: w.linear.extend(w.part(600_000, 8))),
    (Command.DEV_SUSPEND, lambda w: w.linear.extend(w.part(600_000, 8))),
]


@pytest.mark.parametrize(("command", "change"), COMMANDS)
def test_an_interrupt_before_a_command_was_sent_leaves_nothing_to_tell(
    kernel: FakeKernel, dm: DeviceMapper, command: Command, change: Callable[[World], object]
) -> None:
    world = World(dm)
    before = state(kernel)

    def interrupt() -> None:
        raise KeyboardInterrupt

    kernel.before(command, interrupt)
    with pytest.raises(KeyboardInterrupt) as raised:
        change(world)
    assert state(kernel) == before
    assert not hasattr(raised.value, "__notes__")


def test_a_threshold_that_was_changed_by_message_is_brought_back(
    kernel: FakeKernel, dm: DeviceMapper
) -> None:
    world = World(dm)
    kernel.set_status(
        "cache",
        0,
        "8 2/1024 64 0/128 0 0 0 0 0 0 0 1 writethrough 2 migration_threshold 512 smq 0 rw -",
    )
    kernel.messages.clear()

    def too_much() -> None:
        with changing():
            world.cache.set_migration_threshold(Sectors(77))
            world.thin.rename("pool")

    with pytest.raises(DeviceBusyError):
        too_much()
    assert [text for _, _, text in kernel.messages] == [
        "migration_threshold 77",
        "migration_threshold 512",
    ]
    assert world.cache.settings == ()


@pytest.mark.parametrize("suspended", [False, True])
def test_a_table_that_cannot_be_put_in_place_leaves_the_old_one_running(
    kernel: FakeKernel, dm: DeviceMapper, *, suspended: bool
) -> None:
    """A kernel finds some faults at the resume; it drops the new table and stays suspended."""
    world = World(dm)
    if suspended:
        world.linear.suspend()
    before = state(kernel)

    def drop() -> None:
        device = kernel.device("linear")
        device.staged, device.suspended = None, True

    kernel.before(Command.DEV_SUSPEND, drop, device="linear")
    kernel.fail(Command.DEV_SUSPEND, errno.EINVAL, device="linear")
    with pytest.raises(CommandError):
        world.linear.extend(world.part(600_000, 8))
    assert state(kernel) == before
    assert world.linear.info().suspended is suspended
