"""What changed between two lists, against the plainest model there is."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from dmwatch.ioctl.payload import ListedDevice, encode_devices
from dmwatch.monitor.snapshot import Changed, Changes, Snapshot, compare
from dmwatch.names import DeviceName, DeviceNumber

# few of each, so that lists have much in common
letters = st.text("ab-\udcff", min_size=1, max_size=9)
devices = st.builds(
    ListedDevice,
    st.builds(DeviceNumber, st.sampled_from([253, 254]), st.integers(0, 6)),
    letters.map(DeviceName),
    st.sampled_from([0, 1, 2, 0xFFFFFFFF]),
)
lists = st.lists(devices, max_size=8, unique_by=lambda device: device.number)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[list[ListedDevice], list[ListedDevice]]:
    """Two lists of which the second is often like the first."""
    before = draw(lists)
    kept = [device for device in before if draw(st.integers(0, 3))]
    taken = {device.number for device in kept}
    new = [device for device in draw(lists) if device.number not in taken]
    return before, draw(st.permutations([*kept, *new]) | lists)


def snapshot(found: list[ListedDevice]) -> Snapshot:
    return Snapshot.of(encode_devices(found, uuids=False))


@given(pairs())
def test_changes_are_those_of_the_model(
    pair: tuple[list[ListedDevice], list[ListedDevice]],
) -> None:
    before, after = pair
    old, new = {d.number: d for d in before}, {d.number: d for d in after}
    found = compare(snapshot(before), snapshot(after))
    assert list(found.removed) == [d for d in before if d.number not in new]
    assert list(found.added) == [d for d in after if d.number not in old]
    assert list(found.changed) == [
        Changed(old[d.number], d) for d in after if d.number in old and old[d.number] != d
    ]
    assert bool(found) == (old != new)


def applied(changes: Changes, before: list[ListedDevice]) -> dict[DeviceNumber, ListedDevice]:
    found = {device.number: device for device in before}
    for device in changes.removed:
        assert found.pop(device.number) == device
    for changed in changes.changed:
        assert found[changed.before.number] == changed.before
        found[changed.after.number] = changed.after
    return found | {device.number: device for device in changes.added}


@given(pairs())
def test_changes_applied_to_one_list_give_the_other(
    pair: tuple[list[ListedDevice], list[ListedDevice]],
) -> None:
    before, after = pair
    found = compare(snapshot(before), snapshot(after))
    assert applied(found, before) == {device.number: device for device in after}


@given(pairs())
def test_a_list_that_follows_another_is_as_one_that_was_split_anew(
    pair: tuple[list[ListedDevice], list[ListedDevice]],
) -> None:
    before, after = (snapshot(found) for found in pair)
    following = before.following(after.data)
    assert following == after
    assert list(following.records) == list(after.records)
    assert compare(before, following) == compare(before, after)


@given(pairs(), lists)
def test_a_look_that_fails_half_way_loses_nobody(
    pair: tuple[list[ListedDevice], list[ListedDevice]], later: list[ListedDevice]
) -> None:
    before, after = (snapshot(found) for found in pair)
    first = compare(before, after)
    # who came and went was taken in, what changed was not
    counted = before.with_members_of(after)
    second = compare(counted, counted.following(snapshot(later).data))
    there = {d.number for d in pair[0]} - {d.number for d in first.removed}
    there |= {d.number for d in first.added}
    assert {d.number for d in second.removed} <= there
    there -= {d.number for d in second.removed}
    assert not there & {d.number for d in second.added}
    assert there | {d.number for d in second.added} == {d.number for d in later}
    # nor is a change: what was listed before the first look is compared with
    old, new = {d.number: d for d in pair[0]}, {d.number: d for d in later}
    changed = {c.after.number for c in second.changed}
    kept = there & set(old)
    assert {number for number in kept if old[number] != new[number]} == changed & kept


@given(lists, st.data())
def test_of_equal_layouts_the_moved_numbers_are_found(
    found: list[ListedDevice], data: st.DataObject
) -> None:
    numbers = data.draw(st.tuples(*[st.integers(0, 2) for _ in found]))
    moved = [replace(d, event_nr=n) for d, n in zip(found, numbers, strict=True)]
    before, raw = snapshot(found), encode_devices(moved, uuids=False)
    after = before.following(raw)
    assert after.devices() == moved
    assert after.bounds is before.bounds
    pairs_ = zip(found, moved, strict=True)
    expected = tuple(Changed(old, new) for old, new in pairs_ if old != new)
    assert compare(before, after).changed == expected


@given(lists)
def test_a_snapshot_gives_back_what_it_was_made_of(found: list[ListedDevice]) -> None:
    assert snapshot(found).devices() == found
    assert not compare(snapshot(found), snapshot(found))
