"""The kernel's list of devices as a value, and what changed between two.

The list is compared before it is decoded: equal bytes mean that nothing in it changed, and of two
lists that differ only the records whose bytes differ are decoded. A record without its first twelve
bytes (device number and distance to the next record) depends on the device alone.

An event changes four bytes of a list and none of its distances. Such a list is not even split: the
records that differ are found by halving it, and all others are shared with the list before.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dmwatch.ioctl.abi import NAME_LIST
from dmwatch.ioctl.payload import ListedDevice, decode_device, device_records

_NO_LIST = b"\x00"
"""The bytes of what no kernel gave: equal to no list."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A list of devices without uuids.

    Attributes:
        data: as the kernel gave it.
        records: the bytes of each record from its name on, by the kernel's device number.
        bounds: where each record begins, and where the last one ends.
    """

    data: bytes
    records: dict[int, bytes]
    bounds: tuple[int, ...]

    @classmethod
    def of(cls, data: bytes) -> Snapshot:
        """Split a list into its records.

        Raises:
            ReplyError: where it does not hold together.
        """
        bounds, records = [0], {}
        for offset, end in device_records(data):
            records[NAME_LIST.unpack_from(data, offset)[0]] = data[offset + NAME_LIST.size : end]
            bounds.append(end)
        return cls(data, records, tuple(bounds))

    def following(self, data: bytes) -> Snapshot:
        """The list that was taken after this one; what is the same in both is shared.

        Raises:
            ReplyError: where it does not hold together.
        """
        if data == self.data:
            return self
        if len(data) != len(self.data):
            return Snapshot.of(data)
        records = dict(self.records)
        for start, end in self._differing(data, 0, len(self.bounds) - 1):
            text = start + NAME_LIST.size
            if data[start:text] != self.data[start:text]:
                # another device, or another distance: nothing of this list's order holds
                return Snapshot.of(data)
            records[NAME_LIST.unpack_from(data, start)[0]] = data[text:end]
        return Snapshot(data, records, self.bounds)

    def _differing(self, data: bytes, first: int, last: int) -> Iterator[tuple[int, int]]:
        """The bounds of those of the records from `first` up to `last` whose bytes differ."""
        start, end = self.bounds[first], self.bounds[last]
        if data[start:end] == self.data[start:end]:
            return
        if last - first == 1:
            yield start, end
            return
        middle = (first + last) // 2
        yield from self._differing(data, first, middle)
        yield from self._differing(data, middle, last)

    def device(self, dev: int) -> ListedDevice:
        """Decode one record.

        Raises:
            ReplyError: where it does not hold together.
        """
        record = NAME_LIST.pack(dev, 0) + self.records[dev]
        return decode_device(record, 0, len(record), uuids=False)

    def devices(self) -> list[ListedDevice]:
        """Decode all records, in the kernel's order."""
        return [self.device(dev) for dev in self.records]

    def with_members_of(self, later: Snapshot) -> Snapshot:
        """The devices of a later list, those that are in both as this one has them."""
        records = {dev: self.records.get(dev, record) for dev, record in later.records.items()}
        return Snapshot(_NO_LIST, records, ())


@dataclass(frozen=True, slots=True)
class Changed:
    """A device in two lists whose records differ: its name, its event number, or both."""

    before: ListedDevice
    after: ListedDevice


@dataclass(frozen=True, slots=True)
class Changes:
    """What differs between two lists.

    Attributes:
        removed: in the first only.
        added: in the second only.
        changed: in both, with another name or event number. A number that was freed and taken
            again shows here too: who knows the incarnations must tell.
    """

    removed: tuple[ListedDevice, ...] = ()
    added: tuple[ListedDevice, ...] = ()
    changed: tuple[Changed, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.removed or self.added or self.changed)


NOTHING = Changes()


def compare(before: Snapshot, after: Snapshot) -> Changes:
    """Say what changed from one list to the next, each in the order of its list.

    Raises:
        ReplyError: where a record that differs does not hold together.
    """
    if before.data == after.data:
        return NOTHING
    old, new = before.records, after.records
    if before.bounds is after.bounds:
        changed = [dev for dev, record in new.items() if old[dev] is not record]
        return Changes(
            changed=tuple(Changed(before.device(dev), after.device(dev)) for dev in changed)
        )
    return Changes(
        removed=tuple(before.device(dev) for dev in old if dev not in new),
        added=tuple(after.device(dev) for dev in new if dev not in old),
        changed=tuple(
            Changed(before.device(dev), after.device(dev))
            for dev, record in new.items()
            if dev in old and old[dev] != record
        ),
    )
