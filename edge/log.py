"""Log lines that never make the caller wait: logfmt, written by a thread of its own; what comes too fast or cannot be written is counted.

A full pipe, a full disk, a stopped journal or a terminal on hold stops that thread and nothing else. Lines that found no room, and lines
of a kind that came too often, are left out, and the next one that can be written says how many those were.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from collections.abc import Mapping
from queue import Empty, SimpleQueue
from typing import NamedTuple

ERROR, WARNING, INFO = 3, 4, 6
"""Priorities of syslog(3), as the journal takes them before a line."""
STDERR = 2
MAX_WAITING = 512
MAX_TEXT, MAX_LINE = 1_000, 8_000
"""Characters of one value, and bytes of a line: nobody's text fills the disk."""
BURST, PER_S = 100.0, 5.0
"""Lines of one kind that may come at once, and that come back each second."""
_MOST = {"trace": 4_000}
MAX_KINDS = 256
"""Kinds told apart; further ones share a limit."""
TELL_S = 1.0
_NAMES = {2: "fatal", ERROR: "error", WARNING: "warning", INFO: "info"}
_BARE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:/+@%,-")


class Kind:
    """How often lines of one kind came; the caller's thread counts, the writer's tells."""

    __slots__ = ("left", "name", "seen_s", "suppressed", "told")

    def __init__(self, name: str) -> None:
        self.name, self.left, self.seen_s = name, BURST, time.monotonic()
        self.suppressed = self.told = 0

    def admit(self) -> bool:
        """May one more be written now? Counts it where not."""
        now_s = time.monotonic()
        self.left = min(BURST, self.left + (now_s - self.seen_s) * PER_S)
        self.seen_s = now_s
        if self.left < 1.0:
            self.suppressed += 1
            return False
        self.left -= 1.0
        return True


class _Line(NamedTuple):
    kind: Kind
    wall_s: float
    level: int
    text: str
    fields: Mapping[str, object]


class Log:
    """Writes one line per `say` to `fd`; nothing here blocks or raises, whatever becomes of the line."""

    def __init__(self, room: str, *, fd: int = STDERR, environment: Mapping[str, str] | None = None) -> None:
        """`room`: the process, as every line names it. With `JOURNAL_STREAM` of systemd.exec(5) in the environment, for the journal."""
        self._room, self._fd = room, fd
        self._journal = _is_journal(fd, os.environ if environment is None else environment)
        self._kinds: dict[object, Kind] = {}
        self._others = Kind("others")
        self._lines: SimpleQueue[_Line | None] = SimpleQueue()
        self._full = self._failed = self._told = self._through = 0
        self._stuck_at = -1
        """What `_through` counted when a `flush` waited in vain."""
        self._broken = False
        """The last line was written in part only."""
        self._written = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Lines that were never written: there was no room, or `fd` took them not."""
        return self._full + self._failed

    def say(self, text: str, *, kind: str = "", level: int = INFO, key: object = None, **fields: object) -> None:
        """One line. `key` (mostly `kind`) tells what shares a limit; foreign text may stand in any value, it is escaped."""
        admitted = self.admit(key or kind, kind)
        if admitted is not None:
            self.put(admitted, text, level=level, **fields)

    def admit(self, key: object, name: str) -> Kind | None:
        """The kind where one more line of it may be written: whoever must format its text first asks here. Counts it where not."""
        kind = self._kinds.get(key)
        if kind is None:
            kind = self._others
            if len(self._kinds) < MAX_KINDS:
                kind = self._kinds[key] = Kind(name)
        return kind if kind.admit() else None

    def put(self, kind: Kind, text: str, *, level: int = INFO, **fields: object) -> None:
        """A line of a kind that `admit` gave."""
        if self._lines.qsize() >= MAX_WAITING:
            self._full += 1
            return
        # Cut here already: what waits for a reader that stopped must not fill the memory.
        for name, value in fields.items():
            if isinstance(value, str):
                fields[name] = value[: _MOST.get(name, MAX_TEXT)]
        self._lines.put(_Line(kind, time.time(), level, text[:MAX_TEXT], fields))

    def flush(self, timeout_s: float = 1.0) -> bool:
        """Wait until all that was said is written, at most this long, and only once for a reader that stopped; False where it is not."""
        self._written.clear()
        self._lines.put(None)
        written = self._written.wait(timeout_s if self._through != self._stuck_at else 0.0)
        self._stuck_at = -1 if written else self._through
        return written

    def close(self, timeout_s: float = 1.0) -> None:
        """Write what waits, unless the reader is stuck; lines said later are written while the process lives."""
        self.flush(timeout_s)

    # -- the writer's thread

    def _run(self) -> None:
        while True:
            try:
                line = self._lines.get(timeout=TELL_S)
            except Empty:
                self._tell()
                continue
            if line is None:
                self._tell(waiting=False)
                self._written.set()
            else:
                self._write_line(line)
            self._through += 1

    def _write_line(self, line: _Line) -> None:
        suppressed = line.kind.suppressed - line.kind.told
        fields = {"kind": line.kind.name, **line.fields, "suppressed": suppressed or None}
        self._tell_dropped()
        if self._write(self._format(line.wall_s, line.level, line.text, fields)):
            line.kind.told += suppressed
        else:
            self._failed += 1

    def _tell(self, *, waiting: bool = True) -> None:
        """Say what was left out and had no later line to say so; `waiting`: only of kinds that may be written again."""
        self._tell_dropped()
        for kind in (*list(self._kinds.values()), self._others):
            suppressed = kind.suppressed - kind.told
            if not suppressed or (waiting and time.monotonic() - kind.seen_s < 1.0 / PER_S):
                continue
            fields = {"kind": kind.name, "suppressed": suppressed}
            if self._write(self._format(time.time(), WARNING, "lines of this kind came too fast and were left out", fields)):
                kind.told += suppressed

    def _tell_dropped(self) -> None:
        dropped = self.dropped
        if dropped == self._told:
            return
        text = "lines could not be written and were left out"
        if self._write(self._format(time.time(), WARNING, text, {"kind": "log", "dropped": dropped - self._told})):
            self._told = dropped

    def _format(self, wall_s: float, level: int, text: str, fields: Mapping[str, object]) -> bytes:
        head = f"<{level}>" if self._journal else f"time={_utc(wall_s)} level={_NAMES.get(level, level)} "
        words = [
            f"from={self._room}",
            *(f"{name}={_value(value, _MOST.get(name, MAX_TEXT))}" for name, value in fields.items() if value not in ("", None)),
        ]
        line = f"{head}{' '.join(words)} text={_value(text)}".encode("ascii")
        return line[:MAX_LINE] + b"\n"

    def _write(self, data: bytes) -> bool:
        # Not through sys.stderr: its lock, held by a write that nobody reads, would stand in the way of the interpreter's exit.
        whole = b"\n" + data if self._broken else data
        rest = memoryview(whole)
        while rest:
            try:
                rest = rest[os.write(self._fd, rest) :]
            except BlockingIOError:
                if not _writable(self._fd):
                    break
            except OSError:
                break
        self._broken = bool(rest) and (self._broken or len(rest) < len(whole))
        return not rest


def _writable(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(TELL_S * 1_000))


def _is_journal(fd: int, environment: Mapping[str, str]) -> bool:
    with contextlib.suppress(OSError):
        status = os.fstat(fd)
        return environment.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
    return False


def _utc(wall_s: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(wall_s)) + f".{int(wall_s * 1_000) % 1_000:03d}Z"


def _value(value: object, most: int = MAX_TEXT) -> str:
    """As logfmt has it: bare where it is one plain word, else in quotes; of anything that is not printable ASCII only an escape is left.

    At most `most` characters as they are written, for escapes are up to ten times as long: no value pushes the next out of the line.
    """
    text = _words(value)[:most]
    if text and _BARE.issuperset(text):
        return text
    while len(escaped := _escaped(text)) > most:
        text = text[: len(text) * most // len(escaped)]
    return f'"{escaped}"'


def _escaped(text: str) -> str:
    return text.encode("unicode_escape").decode("ascii").replace('"', '\\"')


def _words(value: object) -> str:
    try:
        return str(value)
    except Exception as exc:  # noqa: BLE001 - the value is anybody's, and the writer's thread must outlive it
        return f"({type(exc).__name__} while it was put into words)"
