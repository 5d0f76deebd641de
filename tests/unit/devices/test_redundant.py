"""raid, mirror, multipath: sizes, what counts in a comparison, waiting for what takes its time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dmwatch.devices import (
    Leg,
    LinearDevice,
    MirrorDevice,
    MultipathDevice,
    PathGroup,
    RaidDevice,
    Range,
    ZeroDevice,
    changing,
    plan,
)
from dmwatch.devices.waiting import wait_until
from dmwatch.dm import DeviceMapper
from dmwatch.errors import (
    DeviceBusyError,
    DeviceMismatchError,
    DmwatchError,
    InvalidTableError,
    InvalidValueError,
)
from dmwatch.ioctl.abi import Command
from dmwatch.names import DeviceNumber
from dmwatch.table import TargetLine
from dmwatch.targets.raid import RaidOption, RaidType
from dmwatch.testing import FakeKernel
from dmwatch.units import Sectors

DONE = "raid1 2 AA 8192/8192 idle 0 0 -"
EACH = 8200


@pytest.fixture
def legs(dm: DeviceMapper, disk: ZeroDevice) -> list[Leg]:
    parts = (Range(disk, Sectors(EACH), Sectors(i * EACH)) for i in range(5))
    return [Leg(LinearDevice(dm, f"leg{i}", [part]).create()) for i, part in enumerate(parts)]


def text_of(kernel: FakeKernel, name: str) -> str:
    return kernel.dm.table(name)[0].text


# raid


@pytest.mark.parametrize(
    ("kind", "number", "chunk", "features", "size"),
    [
        (RaidType.RAID1, 2, 0, [], EACH),
        (RaidType.RAID0, 3, 128, [], 3 * 8192),
        (RaidType.RAID5_LS, 3, 128, [], 2 * 8192),
        (RaidType.RAID6_ZR, 5, 128, [], 3 * 8192),
        (RaidType.RAID10, 4, 128, [], 2 * 8192),
        (RaidType.RAID10, 3, 128, [RaidOption("raid10_copies", 3)], 8192),
    ],
)
def test_a_set_is_as_large_as_its_smallest_leg_allows(  # noqa: PLR0917
    dm: DeviceMapper,
    legs: list[Leg],
    kind: RaidType,
    number: int,
    chunk: int,
    features: Any,
    size: int,
) -> None:
    device = RaidDevice(dm, "raid", kind, legs[:number], chunk=Sectors(chunk), features=features)
    assert device.create().size == Sectors(size)


def test_a_leg_is_rebuilt_once(dm: DeviceMapper, kernel: FakeKernel, legs: list[Leg]) -> None:
    raid = RaidDevice(dm, "raid", RaidType.RAID1, legs[:2]).create()
    raid.replace_leg(1, legs[2])
    first, _, third = (leg.data for leg in legs[:3])
    assert isinstance(first, LinearDevice)
    assert isinstance(third, LinearDevice)
    members = f"2 - {first.number} - {third.number}"
    assert text_of(kernel, "raid") == f"raid1 3 0 rebuild 1 {members}"
    assert raid.lines()[0].text == f"raid1 1 0 {members}"
    assert raid.differs() == []
    raid.replace_leg(0, Leg(None))
    assert text_of(kernel, "raid") == f"raid1 1 0 2 - - - {third.number}"


@pytest.mark.parametrize(
    ("kind", "index", "sentence"),
    [(RaidType.RAID1, 2, "legs 0 to 1, not 2"), (RaidType.RAID0, 0, "raid0 has no copy")],
)
def test_a_leg_that_cannot_be_replaced_is_told(  # noqa: PLR0917
    dm: DeviceMapper, kernel: FakeKernel, legs: list[Leg], kind: RaidType, index: int, sentence: str
) -> None:
    raid = RaidDevice(dm, "raid", kind, legs[:2], chunk=Sectors(0 if kind.level else 128)).create()
    before = len(kernel.calls)
    with pytest.raises(InvalidValueError, match=sentence):
        raid.replace_leg(index, legs[2])
    assert len(kernel.calls) == before


@pytest.mark.parametrize(
    ("kind", "number", "features"),
    [
        (RaidType.RAID1, 0, []),
        (RaidType.RAID0, 0, []),
        (RaidType.RAID6_ZR, 1, []),
        (RaidType.RAID10, 2, [RaidOption("raid10_copies", 0)]),
    ],
)
def test_a_set_that_cannot_be_is_refused_by_a_sentence(  # noqa: PLR0917
    dm: DeviceMapper,
    kernel: FakeKernel,
    legs: list[Leg],
    kind: RaidType,
    number: int,
    features: Any,
) -> None:
    chunk = Sectors(0 if kind.level == 1 else 128)
    raid = RaidDevice(dm, "raid", kind, legs[:number], chunk=chunk, features=features)
    before = len(kernel.calls)
    for ask in (lambda: raid.size, raid.create, raid.setup):
        with pytest.raises(InvalidTableError):
            ask()
    assert kernel.count(Command.DEV_CREATE, "raid") == 0
    assert not any(call.command is Command.DEV_CREATE for call in kernel.calls[before:])


def test_what_another_leg_uses_is_neither_taken_nor_made_blank(
    dm: DeviceMapper, legs: list[Leg], disk: ZeroDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    blanked: list[object] = []
    monkeypatch.setattr("dmwatch.devices.raid.blank", blanked.append)
    first, second, third, fourth = (leg.data for leg in legs[:4])
    raid = RaidDevice(dm, "raid", RaidType.RAID1, [Leg(first, second), Leg(third, fourth)]).create()
    for leg in (Leg(legs[4].data, second), Leg(first, legs[4].data), Leg(second)):
        with pytest.raises(InvalidValueError, match="is in another leg already"):
            raid.replace_leg(1, leg)
    assert blanked == []
    raid.replace_leg(1, Leg(third, fourth))  # the same again: after its device is well again
    assert blanked == [fourth]


def test_a_check_is_planned_of_a_set_that_is_planned(dm: DeviceMapper, legs: list[Leg]) -> None:
    raid = RaidDevice(dm, "raid", RaidType.RAID1, legs[:2])
    steps = plan(lambda: (raid.create(), raid.check()))
    assert [step.text for step in steps][3:] == ["check"]


def test_what_the_kernel_adds_to_its_table_makes_no_other_set(
    dm: DeviceMapper, kernel: FakeKernel, legs: list[Leg]
) -> None:
    raid = RaidDevice(dm, "raid", RaidType.RAID10_NEAR, legs[:2], chunk=Sectors(128)).create()
    words = text_of(kernel, "raid").split()
    printed = (
        f"raid10 7 128 region_size 1024 raid10_copies 2 raid10_format near {' '.join(words[3:])}"
    )
    kernel.swap("raid", TargetLine(0, int(raid.size), "raid", printed))
    assert raid.setup().differs() == []
    found = RaidDevice.found(dm, "raid")
    assert (found.size, found.chunk, found.differs()) == (raid.size, Sectors(128), [])
    other = RaidDevice(dm, "raid", RaidType.RAID1, legs[:2], length=raid.size)
    with pytest.raises(DeviceMismatchError, match="raid_type"):
        other.setup()


def test_a_leg_that_is_too_small_is_refused_as_the_kernel_would_take_it(
    dm: DeviceMapper, kernel: FakeKernel, legs: list[Leg], disk: ZeroDevice
) -> None:
    small = LinearDevice(dm, "small", [Range(disk, Sectors(EACH - 1))]).create()
    for length in (None, Sectors(EACH)):
        raid = RaidDevice(dm, "raid", RaidType.RAID1, legs[:2], length=length).setup()
        with pytest.raises(InvalidValueError, match="too small: 8199 sectors, not 8200 sectors"):
            raid.replace_leg(1, Leg(small))
        assert raid.legs == tuple(legs[:2])
    assert kernel.count(Command.TABLE_LOAD, "raid") == 1


class Told:
    """What a status says, one look after the other; the last text stays."""

    def __init__(self, kernel: FakeKernel, name: str) -> None:
        self.kernel, self.name = kernel, name
        self._texts: Iterator[str] = iter(())
        kernel.before(Command.TABLE_STATUS, self._next, times=None, device=name)

    def then(self, *texts: str) -> None:
        self._texts = iter(texts)

    def _next(self) -> None:
        text = next(self._texts, None)
        if text is not None:
            self.kernel.set_status(self.name, 0, text)


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dmwatch.devices.waiting.PAUSE", 0.001)


def test_a_sync_is_waited_for_to_the_end(
    dm: DeviceMapper, kernel: FakeKernel, legs: list[Leg]
) -> None:
    raid = RaidDevice(dm, "raid", RaidType.RAID1, legs[:2]).create()
    Told(kernel, "raid").then(
        "raid1 2 aa 0/8192 resync 0 0 -",
        "raid1 2 Aa 8192/8192 recover 0 0 -",
        "raid1 2 Aa 8192/8192 idle 0 0 -",
        DONE,
    )
    raid.wait_synced(timeout=30)
    assert [leg.value for leg in raid.status().legs] == ["A", "A"]  # type: ignore[union-attr]


def test_a_check_waits_and_says_what_differs(
    dm: DeviceMapper, kernel: FakeKernel, legs: list[Leg]
) -> None:
    raid = RaidDevice(dm, "raid", RaidType.RAID1, legs[:2]).create()
    told = Told(kernel, "raid")
    told.then(
        DONE,  # it has not begun yet
        DONE,
        "raid1 2 AA 10/8192 check 0 0 -",
        DONE,  # for a moment
        DONE.replace("idle 0", "idle 128"),
    )
    assert raid.check(timeout=30) == 128
    # too short to be seen, but for its event
    told.then(DONE)
    kernel.after(Command.TARGET_MSG, lambda: kernel.raise_event("raid"))
    raid.repair(timeout=30)
    with pytest.raises(DmwatchError, match="the end of the repair of raid has not happened"):
        raid.repair(timeout=0.05)
    assert [text for _, _, text in kernel.messages] == ["check", "repair", "repair"]
    assert [step.text for step in plan(raid.check)] == ["check"]


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        ("raid1 2 AD 8/8192 idle 0 0 -", "leg 1 has failed"),
        ("raid1 2 aa 8/8192 resync 0 0 -", "has not happened within 0.05 s"),
        ("", "does not tell how it stands"),
    ],
)
def test_a_sync_that_does_not_come_is_told(
    dm: DeviceMapper, kernel: FakeKernel, legs: list[Leg], status: str, sentence: str
) -> None:
    raid = RaidDevice(dm, "raid", RaidType.RAID1, legs[:2]).create()
    kernel.set_status("raid", 0, status)
    with pytest.raises(DmwatchError, match=sentence):
        raid.wait_synced(timeout=0.05)


def test_metadata_in_use_is_not_made_blank(dm: DeviceMapper, legs: list[Leg]) -> None:
    raid = RaidDevice(dm, "raid", RaidType.RAID1, legs[:2]).create()
    with pytest.raises(InvalidValueError, match="its metadata is in use"):
        raid.blank()


def test_what_is_waited_for_is_looked_at_once_at_least() -> None:
    looks: list[int] = []

    def done() -> bool:
        looks.append(1)
        return True

    wait_until(done, "it", 0)
    assert looks == [1]


# mirror


def test_a_mirror_waits_until_its_legs_are_alike(
    dm: DeviceMapper, kernel: FakeKernel, legs: list[Leg]
) -> None:
    below = [leg.data for leg in legs[:2] if leg.data is not None]
    mirror = MirrorDevice(dm, "mirror", below).create()
    told = Told(kernel, "mirror")
    pattern = "2 253:1 253:2 {}/9 1 {} 1 core"
    told.then(pattern.format(1, "AA"), pattern.format(9, "AA"))
    mirror.wait_synced(timeout=30)
    told.then(pattern.format(1, "AD"))
    with pytest.raises(DmwatchError, match="253:2 has failed"):
        mirror.wait_synced(timeout=30)
    told.then()
    words = text_of(kernel, "mirror").replace("core 1 1024", "core 2 1024 nosync")
    kernel.swap("mirror", TargetLine(0, EACH, "mirror", words))
    assert mirror.setup().differs() == []


# multipath


@pytest.fixture
def paths(legs: list[Leg]) -> list[Any]:
    return [leg.data for leg in legs[:3]]


@pytest.mark.parametrize(
    ("selector", "given", "printed"),
    [
        ("round-robin", (), ("1",)),
        ("service-time", (), ("1", "1")),
        ("service-time", ("1",), ("1", "1")),
        ("queue-length", (), ("1",)),
    ],
)
def test_words_that_the_kernel_adds_make_no_other_map(  # noqa: PLR0917
    dm: DeviceMapper,
    kernel: FakeKernel,
    paths: list[Any],
    selector: str,
    given: tuple[str, ...],
    printed: tuple[str, ...],
) -> None:
    group = PathGroup(tuple(paths[:2]), selector, path_arguments=given)
    device = MultipathDevice(dm, "m", [group], features=["retain_attached_hw_handler"]).create()
    numbers = [path.number for path in paths[:2]]
    words = " ".join(f"{n} {' '.join(printed)}" for n in numbers)
    text = f"0 0 1 1 {selector} 0 2 {len(printed)} {words}"
    kernel.swap("m", TargetLine(0, EACH, "multipath", text))
    assert device.setup().differs() == []
    assert MultipathDevice.found(dm, "m").differs() == []


def test_paths_whose_words_differ_keep_theirs(
    dm: DeviceMapper, kernel: FakeKernel, paths: list[Any]
) -> None:
    first, second = (path.number for path in paths[:2])
    text = f"0 0 1 1 service-time 0 2 2 {first} 1 1 {second} 1 50"
    kernel.add("m", TargetLine(0, EACH, "multipath", text))
    found = MultipathDevice.found(dm, "m")
    assert found.differs() == []
    found.reload()
    assert text_of(kernel, "m") == text
    group = PathGroup(tuple(paths[:2]), "service-time", each=(("1", "1"), ("1", "50")))
    assert MultipathDevice(dm, "m", [group]).setup().differs() == []
    with pytest.raises(InvalidValueError, match="2 paths have arguments for 1"):
        MultipathDevice(dm, "m", [PathGroup(tuple(paths[:2]), each=(("1",),))]).setup()


def test_the_group_that_was_used_is_used_again_where_a_later_step_fails(
    dm: DeviceMapper, kernel: FakeKernel, paths: list[Any]
) -> None:
    device = MultipathDevice(dm, "m", [PathGroup((path,)) for path in paths[:2]]).create()
    numbers = [path.number for path in paths[:2]]
    status = " ".join(
        f"{state} 0 1 1 {number} A 0 1" for state, number in zip("AE", numbers, strict=True)
    )
    kernel.set_status("m", 0, f"2 0 0 0 2 1 {status}")

    def too_much() -> None:
        with changing():
            device.switch(2)
            device.rename(paths[0].name)

    with pytest.raises(DeviceBusyError):
        too_much()
    assert [text for _, _, text in kernel.messages] == ["switch_group 2", "switch_group 1"]


def test_other_features_are_brought_in_line_and_other_paths_refused(
    dm: DeviceMapper, kernel: FakeKernel, paths: list[Any]
) -> None:
    groups = [PathGroup(tuple(paths[:2]))]
    MultipathDevice(dm, "m", groups).create()
    queueing = MultipathDevice(dm, "m", groups, queue=True).setup()
    assert text_of(kernel, "m").startswith("1 queue_if_no_path")
    assert queueing.differs() == []
    with pytest.raises(DeviceMismatchError, match="groups"):
        MultipathDevice(dm, "m", [PathGroup(tuple(paths[1:3]))], queue=True).setup()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.fail("7:1"), "fail_path 7:1"),
        (lambda m: m.reinstate(DeviceNumber(7, 1)), "reinstate_path 7:1"),
        (lambda m: m.switch(2), "switch_group 2"),
        (lambda m: m.disable(1), "disable_group 1"),
        (lambda m: m.enable(1), "enable_group 1"),
        (lambda m: m.queue_if_no_path(), "queue_if_no_path"),
        (lambda m: m.fail_if_no_path(), "fail_if_no_path"),
    ],
)
def test_what_is_said_to_a_map(
    dm: DeviceMapper,
    kernel: FakeKernel,
    paths: list[Any],
    call: Callable[[MultipathDevice], None],
    message: str,
) -> None:
    groups = [PathGroup((paths[0],)), PathGroup((paths[1],))]
    call(MultipathDevice(dm, "m", groups).create())
    assert kernel.messages == [("m", 0, message)]


@pytest.mark.parametrize("method", ["switch", "disable", "enable"])
def test_a_group_that_is_not_there_is_told_before_the_kernel(
    dm: DeviceMapper, kernel: FakeKernel, paths: list[Any], method: str
) -> None:
    device = MultipathDevice(dm, "m", [PathGroup((paths[0],))]).create()
    for group in (0, 2):
        with pytest.raises(InvalidValueError, match="groups 1 to 1"):
            getattr(device, method)(group)
    assert kernel.messages == []
