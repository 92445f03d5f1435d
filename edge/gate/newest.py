"""The newest durable row, noted beside the record file: a start that finds fewer rows knows that some were lost."""

from __future__ import annotations

import os
import struct
import zlib
from contextlib import suppress
from pathlib import Path

from edge.gate.chain import Anchor

_FORM = struct.Struct(">Q32sI")


class NewestRow:
    """The file `<records>.newest`: number and hash of the last row of the last commit, written over in place.

    SQLite drops a damaged end of its WAL as if it had never been committed. This note is written after each commit and never
    synced: it costs microseconds, and whatever of it is found on disk speaks of a commit that was durable before.
    """

    def __init__(self, records: Path) -> None:
        self.path = self.path_for(records)
        self._descriptor: int | None = None

    @staticmethod
    def path_for(records: Path) -> Path:
        """Where the note of this record file lies."""
        return records.with_name(records.name + ".newest")

    def read(self) -> Anchor | None:
        """What was noted; None when there is no note, or half of one."""
        try:
            number, digest, crc = _FORM.unpack(self.path.read_bytes())
        except (OSError, struct.error):
            return None
        return Anchor(number, digest) if crc == _crc(number, digest) else None

    def note(self, row: Anchor) -> None:
        """Note a row that is durable now. A disk that does not take the note loses nothing but the note."""
        with suppress(OSError):
            if self._descriptor is None:
                self._descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o640)
            os.pwrite(self._descriptor, _FORM.pack(row.number, row.hash, _crc(row.number, row.hash)), 0)

    def close(self) -> None:
        """Leave the note where it is."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def _crc(number: int, digest: bytes) -> int:
    return zlib.crc32(number.to_bytes(8, "big") + digest)
