"""The library that is loaded before libc (preload.c): built once with gcc, steered through a control block both sides map."""

from __future__ import annotations

import enum
import mmap
import os
import shutil
import struct
import subprocess
from pathlib import Path

from edge.errors import SimulationError
from faults.registry import Skipped

_SOURCE = Path(__file__).with_name("preload.c")
_LAYOUT = struct.Struct("=iIiiqqqqqqii256s64s256s")
"""As `struct control` in preload.c: every field lies on its natural boundary, so that no padding is needed."""


class Call(enum.IntFlag):
    """Groups of calls the library counts, on files of one folder only."""

    WRITE = 1
    SYNC = 2
    TRUNCATE = 4
    RENAME = 8
    UNLINK = 16
    OPEN = 32  # for writing
    READ = 64
    CLOSE = 128
    LOOK = 256  # opening for reading only


CHANGING = Call.WRITE | Call.SYNC | Call.TRUNCATE | Call.RENAME | Call.UNLINK | Call.OPEN
EVERY = CHANGING | Call.READ | Call.CLOSE | Call.LOOK


class Action(enum.IntEnum):
    """What happens to the calls that are struck."""

    COUNT = 0
    KILL = 1  # SIGKILL before the call
    KILL_AFTER = 2  # SIGKILL after it
    KILL_TORN = 3  # SIGKILL after half of a write
    FAIL = 4  # the call fails with `error`
    SHORT = 5  # half of the bytes are written; other calls fail with `error`
    DELAY = 6  # the call waits first


class Kind(enum.IntEnum):
    """Entries of a trace."""

    WRITE = 1
    SYNC = 2
    TRUNCATE = 3
    CREATE = 4
    RENAME = 5
    UNLINK = 6
    MARK = 7
    SYNC_FAILED = 8
    SYNC_FOLDER = 9


ENTRY = struct.Struct("=IIQq")
"""Header of a trace entry: kind, bytes that follow, inode, offset (size for a truncation, number for a mark)."""
FOREVER = 2**62


def library(folder: Path) -> Path:
    """Build the library into `folder` unless it is there. Raises Skipped without gcc, SimulationError when gcc fails."""
    built = folder / "preload.so"
    if built.exists():
        return built
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise Skipped("no C compiler: install gcc (apt-get install gcc libc6-dev)")
    fresh = built.with_suffix(f".{os.getpid()}")
    command = [compiler, "-O1", "-shared", "-fPIC", "-o", str(fresh), str(_SOURCE)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    if found.returncode:
        raise SimulationError("the fault library cannot be built", seen=found.stderr[-500:], remedy="Install gcc and libc6-dev")
    fresh.replace(built)
    return built


class Control:
    """The shared control block of one process (and its children); everything takes effect at the process's next call."""

    def __init__(self, path: Path, folder: Path) -> None:
        """`folder` is the absolute path whose files are watched, at most 255 bytes."""
        self.path, self.folder = path, folder.absolute()
        if len(os.fsencode(self.folder)) > 255:
            raise SimulationError("the folder's path is too long for the fault library", seen=self.folder, remedy="Use a shorter folder")
        # Never cut or replaced once it is there: the process that is watched has it mapped.
        if not path.exists():
            path.write_bytes(bytes(_LAYOUT.size))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _LAYOUT.size)
        self.clear()

    def clear(self) -> None:
        """Nothing is counted, struck or traced."""
        self._write()

    def pause(self) -> None:
        """Strike and count nothing more; `seen` and `struck` stay readable."""
        struct.pack_into("=i", self._map, 0, 0)

    def arm(
        self,
        action: Action,
        calls: Call,
        *,
        first: int = 1,
        times: int = FOREVER,
        error: int = 0,
        delay_s: float = 0.0,
        name: str = "",
        wall_s: float = 0.0,
        trace: Path | None = None,
    ) -> None:
        """Strike calls `first` to `first + times - 1` of these groups, counted from now, on paths that contain `name`."""
        self._write(
            armed=1,
            calls=int(calls),
            action=int(action),
            error=error,
            first=first,
            times=times,
            delay_ns=int(delay_s * 1e9),
            wall_ns=int(wall_s * 1e9),
            name=name,
            trace=trace,
        )

    def trace(self, to: Path) -> None:
        """Log every change of a file in the folder to `to` from now on."""
        to.unlink(missing_ok=True)
        self._write(trace=to)

    def jump(self, wall_s: float) -> None:
        """Let the wall clock go this much forward (negative: back); nothing else happens."""
        self._write(wall_ns=int(wall_s * 1e9))

    @property
    def seen(self) -> int:
        """Calls counted since `arm`."""
        return int(_LAYOUT.unpack_from(self._map)[4])

    @property
    def struck(self) -> int:
        """Calls struck since `arm`."""
        return int(_LAYOUT.unpack_from(self._map)[5])

    def close(self) -> None:
        """Give the memory back; the process keeps what it mapped."""
        self._map.close()

    def _write(
        self,
        *,
        armed: int = 0,
        calls: int = 0,
        action: int = 0,
        error: int = 0,
        first: int = 1,
        times: int = 0,
        delay_ns: int = 0,
        wall_ns: int = 0,
        name: str = "",
        trace: Path | None = None,
    ) -> None:
        # Disarmed first: a thread that runs at this moment must not see the old order with the new numbers.
        self.pause()
        folder, log = os.fsencode(self.folder), os.fsencode(trace) if trace else b""
        values = (calls, action, error, 0, 0, first, times, delay_ns, wall_ns, int(trace is not None), 0, folder, name.encode(), log)
        _LAYOUT.pack_into(self._map, 0, 0, *values)
        struct.pack_into("=i", self._map, 0, armed)


def environment(control: Control, built: Path) -> dict[str, str]:
    """The environment of the present process with the library and its control block added, for `subprocess`."""
    return {**os.environ, "LD_PRELOAD": str(built), "FAULT_CONTROL": str(control.path)}
