"""A model of a disk that loses power: what was synced stays, what was not survives in part, torn at sectors, names apart from contents."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from faults.recorder.preload import ENTRY, Kind

SECTOR = 512
"""What a disk writes whole or not at all."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One call of a trace: `inode` and `offset` (size, mark) where they apply, `data` the bytes written or the names."""

    kind: Kind
    inode: int
    offset: int
    data: bytes


def read_trace(path: Path) -> list[Entry]:
    """Every entry the library logged, in order."""
    data, place, found = path.read_bytes(), 0, []
    while place < len(data):
        kind, length, inode, offset = ENTRY.unpack_from(data, place)
        place += ENTRY.size
        found.append(Entry(kind=Kind(kind), inode=inode, offset=offset, data=data[place : place + length]))
        place += length
    return found


@dataclass
class File:
    """Contents: `base` is on the disk for certain; `later` follows in order, each write or truncation certain or not."""

    base: bytearray = field(default_factory=bytearray)
    later: list[tuple[Entry, bool]] = field(default_factory=list)
    forsaken: int = 0
    """Entries at the head of `later` whose sync failed: the kernel calls them clean, and no later sync writes them."""

    def add(self, entry: Entry) -> None:
        """A write or truncation that is in the page cache only."""
        self.later.append((entry, False))

    def sync(self) -> None:
        """Everything since a failed sync, or everything, is on the disk now."""
        if not self.forsaken:
            for entry, _ in self.later:
                _apply(self.base, entry)
            self.later.clear()
        else:
            self.later[self.forsaken :] = [(entry, True) for entry, _ in self.later[self.forsaken :]]

    def fail(self) -> None:
        """A sync failed."""
        self.forsaken = len(self.later)

    def after_cut(self, draw: random.Random) -> bytes:
        """Contents after the power came back."""
        content = bytearray(self.base)
        unsure = [number for number, (_, sure) in enumerate(self.later) if not sure]
        style = draw.randrange(5) if unsure else 0
        upto = draw.choice(unsure) if unsure else 0
        for number, (entry, sure) in enumerate(self.later):
            if sure or style == 1 or (style == 2 and number < upto) or (style == 3 and draw.random() < 0.5):
                _apply(content, entry)
            elif style == 4 or (style == 2 and number == upto):
                _apply_torn(content, entry, draw)
        return bytes(content)


class Disk:
    """A folder's files while a trace is played; `after_cut` gives what a power cut at this point may leave."""

    def __init__(self) -> None:
        self._files: dict[int, File] = {}
        self._durable: dict[str, int] = {}
        self._names: list[Entry] = []
        self._current: dict[int, int] = {}
        self._count = 0

    def play(self, entry: Entry) -> None:
        """One more call has returned."""
        if entry.kind is Kind.CREATE:
            # The file system may use an inode's number again: give each file one of our own.
            self._count += 1
            self._current[entry.inode] = self._count
            self._files[self._count] = File()
            self._names.append(Entry(kind=Kind.CREATE, inode=self._count, offset=0, data=entry.data))
        elif entry.kind in (Kind.RENAME, Kind.UNLINK):
            self._names.append(entry)
        elif entry.kind is Kind.SYNC_FOLDER:
            self._durable = _named(self._durable, self._names)
            self._names = []
        elif entry.kind is not Kind.MARK and entry.inode in self._current:
            self._change(self._files[self._current[entry.inode]], entry)

    @property
    def unsettled(self) -> bool:
        """Files were made, renamed or removed since the folder was last synced."""
        return bool(self._names)

    def after_cut(self, draw: random.Random) -> Iterator[tuple[str, bytes]]:
        """Paths and contents, without the shared memory file of the database, which means nothing after a restart."""
        # Journals of file systems keep the order of names, but not every one promises it.
        names = self._names[: draw.randint(0, len(self._names))]
        if names and draw.random() < 0.3:
            names = [entry for entry in self._names if draw.random() < 0.5]
        for path, number in _named(self._durable, names).items():
            if not path.endswith("-shm"):
                yield path, self._files[number].after_cut(draw)

    @staticmethod
    def _change(file: File, entry: Entry) -> None:
        if entry.kind is Kind.SYNC:
            file.sync()
        elif entry.kind is Kind.SYNC_FAILED:
            file.fail()
        else:
            file.add(entry)


def _named(before: dict[str, int], names: list[Entry]) -> dict[str, int]:
    after = dict(before)
    for entry in names:
        path = entry.data.decode()
        if entry.kind is Kind.CREATE:
            after[path] = entry.inode
        elif entry.kind is Kind.UNLINK:
            after.pop(path, None)
        else:
            old, new = path.split("\0")
            if old in after:
                after[new] = after.pop(old)
    return after


def _apply(content: bytearray, entry: Entry) -> None:
    if entry.kind is Kind.TRUNCATE:
        del content[entry.offset :]
        content.extend(bytes(entry.offset - len(content)))
        return
    content.extend(bytes(max(0, entry.offset - len(content))))
    content[entry.offset : entry.offset + len(entry.data)] = entry.data


def _apply_torn(content: bytearray, entry: Entry, draw: random.Random) -> None:
    """Some sectors of a write; a truncation happens or does not."""
    if entry.kind is Kind.TRUNCATE:
        if draw.random() < 0.5:
            _apply(content, entry)
        return
    place, end = entry.offset, entry.offset + len(entry.data)
    while place < end:
        upto = min(end, (place // SECTOR + 1) * SECTOR)
        if draw.random() < 0.5:
            part = entry.data[place - entry.offset : upto - entry.offset]
            _apply(content, Entry(kind=Kind.WRITE, inode=0, offset=place, data=part))
        place = upto
