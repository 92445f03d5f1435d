"""Rows G02, G04 to G08: blocked logs, edited configurations, foreign users, forgotten switches, operators who want ACCEPT, and secrets."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import itertools
import os
import random
import re
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.config import load_config
from edge.errors import CordonError
from edge.gate.audit import read_part
from faults.line.bundles import KEY, TinyBundle
from faults.line.cell import CORDON, FaultLine, Setup, shared
from faults.line.probe import Probe, good_report
from faults.line.reports import gate_and_probe
from faults.line.trial import Asked, Trial
from faults.registry import Effort, Result, Skipped, injects

TEST = "tests/faults/test_line_operations.py"
NOBODY = 65_534
FLOOD = 60
"""Reports of no trigger around each trigger, every one of which wants a log line."""


@injects("G02", test=TEST)
def log_blocked(effort: Effort) -> Result:
    """The gate's standard error is a pipe that is full and that nobody reads, while every trigger comes with dozens of events."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, b"x" * 1024)
    os.set_blocking(writer, True)
    try:
        with _gate_writing_to(writer) as (line, probe):
            trial = Trial(line, effort, "G02")
            rng = random.Random(effort.seed)  # noqa: S311 - seeded, not secret

            def act(asked: Asked) -> None:
                made = good_report(asked.session, asked.sequence, asked.part, asked.weld, counter=line.camera.count())
                for _ in range(FLOOD):
                    stray = good_report("0" * 16, 1, f"x{rng.random()}"[:20], "W", counter=line.camera.count())
                    probe.say(stray)
                trial.acceptable.setdefault((asked.session, asked.sequence), set()).add(made.payload_hash)
                probe.say(made)

            accepted = 0
            for _ in range(effort.times(60)):
                trial.injections += FLOOD
                accepted += trial.trigger(act).accepted
            if accepted * 2 < len(trial.results):
                trial.fail(f"only {accepted} of {len(trial.results)} good welds were accepted while the log was blocked")
            return trial.finish(
                note=f"{accepted} of {len(trial.results)} accepted in time; the log is dropped and counted, never waited for"
            )
    finally:
        os.close(reader)
        os.close(writer)


@contextlib.contextmanager
def _gate_writing_to(fd: int) -> Iterator[tuple[FaultLine, Probe]]:
    """A gate started anew with this standard error."""
    with gate_and_probe() as (line, probe):
        line.gate.process.terminate()
        line.gate.process.wait(10)
        line.gate.restart = False
        line.gate.process = subprocess.Popen(line.gate.command, stdin=subprocess.DEVNULL, stdout=fd, stderr=fd)
        line.settle()
        yield line, probe


@injects("G04", test=TEST)
def configuration_edited(effort: Effort) -> Result:
    """The file is overwritten, cut and swapped under running daemons, and read at start in every half-written state."""
    line = shared(Setup())
    trial = Trial(line, effort, "G04")
    rng, honest = random.Random(effort.seed), line.config.read_bytes()  # noqa: S311 - seeded, not secret
    wanted = line.config_hash
    edits = [honest.replace(b"budget_ms = 100.0", b"budget_ms = 60000"), b"", b"\xff" * 100, honest[: len(honest) // 2]]
    edits += [honest.replace(b"trusted_keys", b"xtrusted_keys"), honest + b"\n[simulation]\nalways_accept = true\n"]
    try:
        for _ in range(effort.times(60)):
            line.config.write_bytes(rng.choice(edits))
            trial.refused(trial.sending(trial.bad), "DEFECT")
            trial.refused(lambda _asked: None, "NO_FRAME")
    finally:
        line.config.write_bytes(honest)
    hashes = {row["verdict.config"] for row in read_part(line.records, trial.part)}
    if hashes != {wanted}:
        trial.fail(f"records name the configurations {sorted(hashes)}, running was {wanted}")
    trial.injections += _half_written(trial, honest, effort)
    _swapped_while_read(trial, honest, effort)
    return trial.finish()


def _half_written(trial: Trial, honest: bytes, effort: Effort) -> int:
    """Every beginning of the file: refused, or the whole configuration but for what stands last."""
    path = effort.folder / "half.toml"
    path.write_bytes(honest)
    whole = load_config(path)
    cuts = range(0, len(honest), 1 if effort.name != "quick" else 25)
    for cut in cuts:
        path.write_bytes(honest[:cut])
        try:
            found = load_config(path)
        except CordonError:
            continue
        if found.gate != whole.gate or found.inspector.trusted_keys != whole.inspector.trusted_keys:
            trial.fail(f"the first {cut} bytes were taken for a configuration")
    return len(cuts)


def _swapped_while_read(trial: Trial, honest: bytes, effort: Effort) -> None:
    """A file that gives another content when it is read again: what is recorded must be the hash of what was used."""
    fifo, records = effort.folder / "fifo.toml", effort.folder / "f.db"
    first = honest.replace(str(trial.line.folder).encode() + b"/robot", str(effort.folder).encode() + b"/pty")
    first = first.replace(str(trial.line.records).encode(), str(records).encode()).replace(b"gate.sock", b"other.sock")
    second = first + b"# another content\n"
    os.mkfifo(fifo)
    master, slave = os.openpty()
    (effort.folder / "pty").symlink_to(os.ttyname(slave))
    os.close(slave)
    feeder = threading.Thread(target=_feed, args=(fifo, (first, second)), daemon=True)
    feeder.start()
    gate = subprocess.Popen((*CORDON, "run", "gate", "--config", str(fifo)), stderr=subprocess.PIPE, text=True)
    try:
        assert gate.stderr is not None
        told = ""
        for text in gate.stderr:
            told += text
            if "waiting for the robot" in text:
                break
        trial.injections += 1
        hashes = re.findall(r"configuration ([0-9a-f]{64})", told)
        if hashes != [hashlib.sha256(first).hexdigest()]:
            trial.fail(f"the gate runs with one configuration and records the hash of another ({told[-200:]!r})")
    finally:
        gate.send_signal(signal.SIGTERM)
        gate.communicate(timeout=20)
        os.close(master)
        with contextlib.suppress(OSError):
            os.close(os.open(fifo, os.O_RDONLY | os.O_NONBLOCK))


def _feed(fifo: Path, contents: tuple[bytes, ...]) -> None:
    for content in contents:
        with contextlib.suppress(OSError):
            fifo.write_bytes(content)
            time.sleep(0.05)


ATTEMPT = """
import os, socket, sys
os.setgid({user}); os.setuid({user})
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
try:
    s.connect(sys.argv[1])
    s.settimeout(2)
    s.send(bytes.fromhex(sys.argv[2]))
    print("closed" if s.recv(10) == b"" else "answered")
except PermissionError:
    print("forbidden")
except (ConnectionError, socket.timeout) as exc:
    print("closed" if isinstance(exc, ConnectionError) else "open")
"""


@injects("G05", test=TEST)
def foreign_user_at_the_socket(effort: Effort) -> Result:
    """Another account connects to the gate's socket, also where its mode was opened by mistake; garbage from the right account."""
    if os.getuid() != 0:
        raise Skipped("root is needed to become another user: run the suite as root")
    with gate_and_probe() as (line, probe):
        trial = Trial(line, effort, "G05")
        path = line.folder / "gate.sock"
        line.folder.chmod(0o755)
        if stat.S_IMODE(path.stat().st_mode) != 0o600:
            trial.fail(f"the socket has mode {stat.S_IMODE(path.stat().st_mode):o}")
        for mode, wanted in ((0o600, "forbidden"), (0o666, "closed")) * effort.times(4):
            path.chmod(mode)
            trial.injections += 1
            command = (sys.executable, "-c", ATTEMPT.format(user=NOBODY), str(path), "81a47479706500")
            told = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False).stdout.strip()
            if told != wanted:
                trial.fail(f"user {NOBODY} at a socket of mode {mode:o}: {told!r}, not {wanted!r}")
        path.chmod(0o600)
        line.settle()
        rng = random.Random(effort.seed)  # noqa: S311 - seeded, not secret
        for _ in range(effort.times(60)):
            probe.say_raw(rng.randbytes(rng.randint(1, 2_000)))
            trial.refused(lambda _asked: None, "INSPECTOR_DOWN", "NO_FRAME", "NOT_READY")
        line.settle()
        note = "the account of the daemons itself is trusted: who runs code under it can say what an inspector says"
        return trial.finish(counter=f"events inspector without reason {line.events()['inspector ']}, INSPECTOR_DOWN", note=note)


@injects("G06", test=TEST)
def switches_left_on(effort: Effort) -> Result:
    """Python's and the environment's switches, and words that would be a simulation mode: a bad weld stays REJECT, or nothing starts."""
    environment = {"PYTHONOPTIMIZE": "2", "DEBUG": "1", "CORDON_SIM": "1", "CORDON_TEST": "1", "SIMULATION": "1"}
    before = dict(os.environ)
    os.environ.update(environment)
    try:
        line = FaultLine()
    finally:
        os.environ.clear()
        os.environ.update(before)
    try:
        line.settle(60)
        trial = Trial(line, effort, "G06")
        for _ in range(effort.times(60)):
            trial.refused(trial.sending(trial.bad), "DEFECT", "NO_FRAME")
            trial.refused(lambda _asked: None, "NO_FRAME")
        _modes_in_configuration(trial, effort)
        _modes_on_the_command_line(trial)
        note = "there is no such mode: no key, no option and no variable that the daemons read switches anything to simulation"
        return trial.finish(note=note)
    finally:
        line.close()


WORDS = ("simulation", "simulate", "sim", "test", "debug", "dry_run", "always_accept", "accept_all", "bypass", "override", "force", "demo")


def _modes_in_configuration(trial: Trial, effort: Effort) -> None:
    honest, path = trial.line.config.read_text(), effort.folder / "mode.toml"
    for word, section in itertools.product(WORDS, ("[gate]", "[inspector]", "")):
        addition = f"{word} = true\n"
        path.write_text(honest.replace(section, f"{section}\n{addition}", 1) if section else addition + honest)
        trial.injections += 1
        try:
            load_config(path)
        except CordonError:
            continue
        trial.fail(f"the configuration takes {word} in {section or 'the file'}")


def _modes_on_the_command_line(trial: Trial) -> None:
    for word in WORDS[:4]:
        trial.injections += 1
        command = (*CORDON, "run", "gate", "--config", str(trial.line.config), f"--{word}")
        if subprocess.run(command, capture_output=True, timeout=30, check=False).returncode == 0:
            trial.fail(f"cordon run takes --{word}")


@injects("G07", test=TEST)
def operator_wants_accept(effort: Effort) -> Result:
    """Every message the link knows, of the robot's and of the gate's direction, in random order, at a gate that has judged nothing."""
    from faults.line.bypass import bypass  # noqa: PLC0415

    return bypass(effort)


@injects("G08", test=TEST)
def secrets(effort: Effort) -> Result:
    """Private keys near a full run: none of them, and nothing shaped like one, is in any log, record or message."""
    line = FaultLine()
    try:
        line.settle()
        trial = Trial(line, effort, "G08")
        for _ in range(effort.times(20)):
            trial.injections += 1
            trial.trigger(trial.sending(trial.good))
            trial.refused(trial.sending(trial.bad))
        key_file = line.folder / "key.hex"
        told = _new_key(key_file)
        private = key_file.read_text().strip()
        stranger = Ed25519PrivateKey.generate()
        TinyBundle().save(line.bundle_path)
        _refuse_a_bundle(line, stranger)
        result = trial.finish()
        line.stop()
        forbidden = [private, KEY.private_bytes_raw().hex(), stranger.private_bytes_raw().hex()]
        found = [name for name, text in _everything_written(line, told) if any(word in text for word in _shapes(forbidden))]
        from dataclasses import replace  # noqa: PLC0415

        failures = (*result.failures, *(f"a private key is in {name}" for name in found))
        return replace(result, failures=failures, injections=result.injections + len(forbidden), counter=f"nothing in {len(found)} files")
    finally:
        line.close()


def _new_key(path: Path) -> str:
    told = ""
    for word in ("new", "show", "new"):
        done = subprocess.run((*CORDON, "keys", word, str(path)), capture_output=True, text=True, timeout=30, check=False)
        told += done.stdout + done.stderr
    return told


def _refuse_a_bundle(line: FaultLine, stranger: Ed25519PrivateKey) -> None:
    """One more start, with a bundle that is refused, and one that is not."""
    good = line.bundle_path.read_bytes()
    line.bundle_path.write_bytes(TinyBundle().signed(stranger))
    line.restart_inspector()
    line.until(lambda: "BundleSignatureError" in line.inspector.tail(), 20)
    line.bundle_path.write_bytes(good)
    line.settle(60)


def _everything_written(line: FaultLine, told: str) -> Iterator[tuple[str, bytes]]:
    yield "what `cordon keys` printed", told.encode()
    for path in line.folder.iterdir():
        if path.is_file() and not stat.S_ISFIFO(path.stat().st_mode) and path.name != "key.hex":
            yield path.name, path.read_bytes()


def _shapes(keys: list[str]) -> Iterator[bytes]:
    """A key as hex digits of both cases, as bytes, and parts of it."""
    for key in keys:
        yield key.encode()
        yield key.upper().encode()
        yield bytes.fromhex(key)
        yield key[:32].encode()
