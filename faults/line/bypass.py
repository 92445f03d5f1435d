"""What row G07 does: everything the serial link can carry is said to a gate that has judged nothing, and no answer may be ACCEPT."""

from __future__ import annotations

import os
import random
import select
import subprocess
import tempfile
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

from edge.contract import Outcome, Reason
from edge.errors import CordonError, SimulationError
from edge.gate import messages
from edge.gate.audit import verify_chain
from edge.gate.codec import Decoder, encode_frame
from faults.line.bundles import PUBLIC
from faults.line.cell import CORDON
from faults.registry import Effort, Result

CONFIG = """\
[gate]
port = "{folder}/robot"
records = "{folder}/records.db"
socket = "{folder}/gate.sock"
budget_ms = 20.0
[inspector]
bundle = "{folder}/none"
trusted_keys = ["{key}"]
[[inspector.camera]]
name = "cam0"
endpoint = "ipc://{folder}/camera"
"""


def bypass(effort: Effort) -> Result:
    """Random messages of every kind and both directions; counts them, and every ACCEPT that comes back."""
    rng, failures = random.Random(effort.seed), list[str]()  # noqa: S311 - seeded, not secret
    asked: set[tuple[str, int]] = set()
    with _gate() as (folder, master):
        talk = _Talk(master, rng)
        talk.greet()
        for number in range(effort.times(4_000)):
            talk.say(number)
            asked |= talk.opened
        talk.listen(0.3)
        accepts = [message for message in talk.heard if getattr(message, "outcome", None) is Outcome.ACCEPT]
        kinds = sorted({type(message).__name__ for message in talk.heard})
    try:
        rows = verify_chain(folder / "records.db").rows
    except (CordonError, OSError) as exc:
        rows = 0
        failures.append(str(exc))
    finally:
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
    if len(kinds) < 3:
        failures.append(f"the gate hardly answered: {kinds}")
    note = f"no message means ACCEPT: of {len(get_args(messages.Message))} kinds only the gate's own verdicts carry an outcome"
    return Result(
        injections=talk.said,
        cycles_real=len(asked),
        false_accepts=len(accepts),
        failures=tuple(failures),
        counter=f"{rows} rows in the records, answers {', '.join(kinds)}",
        note=note,
    )


class _Talk:
    """Speaks to the gate's end of a pseudo-terminal and keeps what it says."""

    def __init__(self, master: int, rng: random.Random) -> None:
        self._master, self._rng, self._decoder = master, rng, Decoder("G")
        self.heard: list[Any] = []
        self.opened: set[tuple[str, int]] = set()
        self.said, self._session, self._nonce = 0, "0" * 16, "deadbeef"
        self._sequence = 0

    def greet(self) -> None:
        """Open a session."""
        for _ in range(200):
            self._write(encode_frame(messages.Hello(nonce=self._nonce, deadline_ms=60_000), "R"))
            self.listen(0.1)
            if self._session != "0" * 16:
                return
        raise SimulationError("the gate did not say hello", seen=f"{self.said} messages", remedy="Run the row alone on a quiet machine")

    def say(self, number: int) -> None:
        """One random message, then whatever comes back at once."""
        message, direction = self._rng.choice(self._choices())()
        self.said += 1
        self._write(encode_frame(message, direction))
        if number % 50 == 0:
            self._write(encode_frame(messages.Heartbeat(session=self._session, state=messages.State.READY, counter=number % 60_000), "R"))
        if number % 10 == 0:
            self.listen(0.03)

    def listen(self, seconds: float) -> None:
        """Read for this long."""
        end_s = time.monotonic() + seconds
        while (left_s := end_s - time.monotonic()) > 0:
            if not select.select([self._master], [], [], left_s)[0]:
                return
            try:
                data = os.read(self._master, 65_536)
            except OSError:  # nobody holds the other end yet
                time.sleep(0.02)
                continue
            for message in self._decoder.feed(data):
                self.heard.append(message)
                if isinstance(message, messages.Hello) and message.peer == self._nonce:
                    self._session = self._nonce + message.nonce

    def _write(self, data: bytes) -> None:
        end_s = time.monotonic() + 20.0
        while data:
            try:
                data = data[os.write(self._master, data) :]
            except BlockingIOError:
                if time.monotonic() > end_s:
                    remedy = "Look whether its process is still there"
                    raise SimulationError("the gate does not read its line", seen="20 s", remedy=remedy) from None
                self.listen(0.05)

    def _choices(self) -> list[Callable[[], tuple[Any, Any]]]:
        rng = self._rng
        session = self._session if rng.random() < 0.8 else f"{rng.getrandbits(64):016x}"
        near = max(1, min(60_000, self._sequence + rng.randint(-2, 3)))
        outcome, done = rng.choice(list(Outcome)), rng.choice(list(messages.Done))
        common: dict[str, Any] = {"session": session, "sequence": near}
        return [
            lambda: (self._trigger(), "R"),
            lambda: (messages.Ack(**common, outcome=outcome, done=done), "R"),
            lambda: (messages.Ack(**common, outcome=Outcome.ACCEPT, done=messages.Done.ACCEPTED), "R"),
            lambda: (messages.Verdict(**common, part="P1", weld="W1", outcome=Outcome.ACCEPT, reason=Reason.OK), "G"),
            lambda: (messages.Heartbeat(session=session, state=rng.choice(list(messages.State)), counter=rng.randrange(60_000)), "R"),
            lambda: (messages.ChangeOver(**common, recipe="R1"), "R"),
            lambda: (messages.PartQuery(**common, part="P1", recipe="R1"), "R"),
            lambda: (messages.Nak(**common, reason=rng.choice(list(messages.Refusal))), "G"),
        ]

    def _trigger(self) -> messages.Trigger:
        self._sequence += 1
        self.opened = {(self._session, self._sequence)}
        return messages.Trigger(session=self._session, sequence=self._sequence, part="P1", weld="W1", typology="T2")


@contextmanager
def _gate() -> Iterator[tuple[Path, int]]:
    """A real gate without any inspector; gives its folder and the robot's end of its line. The folder is left to the caller."""
    folder = Path(tempfile.mkdtemp(prefix="cfb"))
    master, slave = os.openpty()
    tty.setraw(slave)
    os.set_blocking(master, False)
    (folder / "robot").symlink_to(os.ttyname(slave))
    os.close(slave)
    (folder / "cordon.toml").write_text(CONFIG.format(folder=folder, key=PUBLIC))
    gate = subprocess.Popen((*CORDON, "run", "gate", "--config", str(folder / "cordon.toml")), stderr=subprocess.DEVNULL)
    try:
        yield folder, master
    finally:
        gate.terminate()
        gate.wait(20)
        os.close(master)
