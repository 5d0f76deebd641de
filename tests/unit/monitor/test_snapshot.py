from __future__ import annotations

import pytest

from dmwatch.errors import ReplyError
from dmwatch.ioctl.payload import ListedDevice, encode_devices
from dmwatch.monitor.snapshot import NOTHING, Changed, Changes, Snapshot, compare
from dmwatch.names import DeviceName, DeviceNumber


def device(minor: int, name: str, event_nr: int = 0) -> ListedDevice:
    return ListedDevice(DeviceNumber(253, minor), DeviceName(name), event_nr)


def snapshot(*devices: ListedDevice) -> Snapshot:
    return Snapshot.of(encode_devices(devices, uuids=False))


A, B, C = device(0, "a"), device(1, "b", 5), device(2, "c")


def test_a_snapshot_gives_its_devices_back_in_order() -> None:
    assert snapshot(C, A, B).devices() == [C, A, B]
    assert snapshot().devices() == []


def test_equal_lists_have_no_changes() -> None:
    assert compare(snapshot(A, B), snapshot(A, B)) is NOTHING
    assert not NOTHING


def test_what_came_and_went() -> None:
    assert compare(snapshot(A, B), snapshot(B, C)) == Changes(removed=(A,), added=(C,))
    assert compare(snapshot(), snapshot(A, B)) == Changes(added=(A, B))
    assert compare(snapshot(A, B), snapshot()) == Changes(removed=(A, B))


def test_another_name_or_event_number_is_a_change() -> None:
    renamed, moved = device(0, "z"), device(1, "b", 6)
    found = compare(snapshot(A, B, C), snapshot(moved, C, renamed))
    assert found == Changes(changed=(Changed(B, moved), Changed(A, renamed)))


def test_a_number_that_wrapped_or_went_back_is_a_change() -> None:
    before, after = device(0, "a", 0xFFFFFFFF), device(0, "a", 0)
    assert compare(snapshot(before), snapshot(after)).changed == (Changed(before, after),)


def test_another_order_or_another_neighbour_is_no_change() -> None:
    # the distance to the next record stands in each, but says nothing of the device
    assert not compare(snapshot(A, B), snapshot(B, A))
    assert (
        compare(snapshot(A, B), snapshot(A, device(7, "longer-name-than-before"), B)).changed == ()
    )


def test_only_what_differs_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[int] = []
    real = Snapshot.device

    def counted(self: Snapshot, dev: int) -> ListedDevice:
        decoded.append(dev)
        return real(self, dev)

    monkeypatch.setattr(Snapshot, "device", counted)
    many = [device(minor, f"device-{minor}") for minor in range(1000)]
    moved = [*many[:500], device(500, "device-500", 1), *many[501:]]
    assert len(compare(snapshot(*many), snapshot(*moved)).changed) == 1
    assert len(decoded) == 2


def test_a_list_that_does_not_hold_together_is_refused() -> None:
    raw = encode_devices([A, B], uuids=False)
    with pytest.raises(ReplyError):
        Snapshot.of(raw[:-30])
