"""Rows F06 and F10: engines and bundles of another line, typology, GPU or runtime, and engine files that nobody vouches for."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import pickle
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.bundle import Bundle, verify_bundle
from edge.contract import Reason
from edge.engines.record import BoxFacts, BuildOptions, EngineRecord, engine_name
from edge.engines.signing import sign, unsigned
from edge.engines.store import EngineStore
from edge.engines.trust import open_engine
from faults.line.bundles import HEIGHT, PUBLIC, WIDTH, TinyBundle, resigned
from faults.line.cell import Setup
from faults.line.forged import Refusals
from faults.line.peers import Canary
from faults.line.probe import good_report, ready_state
from faults.line.reports import gate_and_probe
from faults.line.trial import Asked, Trial
from faults.registry import Effort, Result, injects

TEST = "tests/faults/test_line_bundles.py"
BOX_KEY = Ed25519PrivateKey.from_private_bytes(b"box key of the fault suite only!")
BOX_PUBLIC = BOX_KEY.public_key().public_bytes_raw().hex()
HERE = BoxFacts(backend="tensorrt", version="10.3.0", gpu="GPU A", compute_capability="8.7", cuda="12.6", driver="540.4", power_mode="MAXN")
THERE = {"backend": "tensorrt_rtx", "version": "10.7.0", "gpu": "GPU B", "compute_capability": "8.9", "cuda": "12.8", "driver": "570.1"}
THERE |= {"l4t": "R36", "power_mode": "15W"}


class EngineFolder:
    """A folder with one engine of T2-0 that this box built, until something is changed."""

    def __init__(self, folder: Path, bundle: Bundle) -> None:
        self.store, self.bundle = EngineStore(folder), bundle
        self.member = bundle.manifest.typologies[0].members[0]
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)

    def put(
        self, data: bytes, *, key: Ed25519PrivateKey | None = BOX_KEY, changes: Mapping[str, Any] = MappingProxyType({})
    ) -> EngineRecord:
        """Write `data` with a record signed by `key`; `changes` are fields set before signing."""
        made = EngineRecord(
            name=engine_name("T2", self.member.name, 1),
            bundle=self.bundle.hash,
            typology="T2",
            member=self.member.name,
            batch=1,
            onnx_sha256=hashlib.sha256(self.bundle.files[self.member.file]).hexdigest(),
            engine_sha256=hashlib.sha256(data).hexdigest(),
            engine_bytes=len(data),
            box=HERE,
            options=BuildOptions(),
            layers=3,
            seconds=1.0,
            shape=(HEIGHT, WIDTH),
        )
        record = msgspec.structs.replace(made, **changes)
        record = unsigned(record) if key is None else sign(record, key)
        self.write(record, data)
        return record

    def write(self, record: EngineRecord, data: bytes) -> None:
        """The two files, as they are."""
        for path, content in ((self.path(), msgspec.json.encode(record)), (self.store.engine_path(record), data)):
            path.unlink(missing_ok=True)
            path.write_bytes(content)
            path.chmod(0o644)

    def path(self) -> Path:
        """The record's file."""
        return self.store.record_path(engine_name("T2", self.member.name, 1))

    def open(self, **changes: Any) -> object:
        """What the inspector does before any byte reaches the GPU's runtime."""
        asked: dict[str, Any] = {"typology": "T2", "shape": (HEIGHT, WIDTH), "box": HERE, "keys": (BOX_PUBLIC,)} | changes
        return open_engine(self.store, self.bundle, self.member, **asked)


@injects("F06", test=TEST)
def of_another_box(effort: Effort) -> Result:
    """Every fact of the box, of the network and of the line changed in turn; a bundle that is not the pinned one; an unknown typology."""
    refusals = Refusals()
    bundle = verify_bundle(TinyBundle().signed(), (PUBLIC,))
    folder = EngineFolder(effort.folder / "engines", bundle)
    for name, value in THERE.items():
        folder.put(b"engine", changes={"box": msgspec.structs.replace(HERE, **{name: value})})
        refusals.expect(folder.open, f"built where {name} is {value}")
        folder.put(b"engine")
        refusals.expect(partial(folder.open, box=msgspec.structs.replace(HERE, **{name: value})), f"here {name} is {value}")
    other: dict[str, Any] = {"typology": "T5", "member": "T2-1", "batch": 2, "onnx_sha256": "0" * 64, "shape": (HEIGHT, WIDTH + 8)}
    for name, changed in other.items():
        folder.put(b"engine", changes={name: changed})
        refusals.expect(folder.open, f"engine's {name} is {changed}")
    manifest = json.loads(msgspec.json.encode(TinyBundle().manifest()))
    wrong: tuple[tuple[str, object], ...] = (
        ("format", 2),
        ("format", 0),
        ("format", "1"),
        ("version", 0),
        ("version", -1),
        ("version", "1"),
        ("target", "SM87"),
    )
    for key, setting in wrong:
        text = json.dumps(manifest | {key: setting}).encode()
        refusals.verify(resigned(text, TinyBundle().files), f"{key} {setting}")
    folder.put(b"engine")
    folder.open()
    wrong_line = _wrong_line(effort)
    failures = (*refusals.failures, *wrong_line.failures)[:8]
    counter = f"{wrong_line.counter}; EngineError and BundleError {refusals.injections}"
    injections = refusals.injections + wrong_line.injections
    return replace(wrong_line, injections=injections, failures=failures, counter=counter)


def _wrong_line(effort: Effort) -> Result:
    """A gate that pins another bundle than the inspector announces, and triggers for typologies it does not have."""
    pinned = "c" * 64
    with gate_and_probe(Setup(inspector=False, budget_ms=40.0, gate_lines=f'bundle = "{pinned}"'), bundle=pinned) as (line, probe):
        trial = Trial(line, effort, "F06")

        def act(asked: Asked) -> None:
            probe.say(good_report(asked.session, asked.sequence, asked.part, asked.weld, counter=line.camera.count()))

        for _ in range(effort.times(40)):
            trial.refused(act, Reason.TYPOLOGY_UNKNOWN.value, typology="T9")
            trial.refused(act, Reason.BUNDLE_DIFFERS.value)
        probe.state = msgspec.structs.replace(ready_state(), config=probe.state.config)
        probe.say(probe.state)
        line.idle(0.1)
        for _ in range(effort.times(40)):
            trial.refused(act, Reason.BUNDLE_DIFFERS.value)
        return trial.finish()


@injects("F10", test=TEST)
def engines_as_code(effort: Effort) -> Result:
    """Engine files unsigned, signed by others, altered, linked, too long, or where others can write; every byte changed."""
    refusals = Refusals()
    bundle = verify_bundle(TinyBundle().signed(), (PUBLIC,))
    folder = EngineFolder(effort.folder / "engines", bundle)
    canary = effort.folder / "canary"
    code = b"\x7fELF" + bytes(60) + pickle.dumps(Canary(canary))
    for what in _forgeries(folder, code):
        refusals.expect(folder.open, what)
        folder.path().parent.chmod(0o755)
    record = folder.put(code)
    folder.open()
    for keys in ((), ("0" * 64,), (BOX_PUBLIC[:-1] + "0",)):
        refusals.expect(partial(folder.open, keys=keys), f"keys {keys}")
    text = msgspec.json.encode(record)
    step = 1 if effort.name != "quick" else 29
    for target, data in ((folder.store.engine_path(record), code), (folder.path(), text)):
        for index in range(0, len(data), step):
            changed = bytearray(data)
            changed[index] ^= 1
            target.write_bytes(changed)
            refusals.expect(folder.open, f"byte {index} of {target.suffix}")
        target.write_bytes(data)
    folder.open()
    _audit_sources(refusals)
    if canary.exists():
        refusals.failures.append("code of an engine was executed")
    note = "refused before any byte is given to TensorRT, which is not needed for that; its host code is switched off in the source"
    return refusals.result(note=note)


def _forgeries(folder: EngineFolder, code: bytes) -> Iterator[str]:
    """Each leaves the folder with one thing wrong and says what."""
    folder.put(code, key=None)
    yield "unsigned"
    folder.put(code, key=Ed25519PrivateKey.from_private_bytes(bytes(32)))
    yield "signed by a stranger"
    record = folder.put(code)
    for name, value in (("layers", 4), ("engine_sha256", "0" * 64), ("engine_bytes", 1), ("member", "T5-0"), ("signature", "0" * 128)):
        folder.write(msgspec.structs.replace(record, **{name: value}), code)
        yield f"{name} altered after signing"
    folder.put(code)
    folder.store.engine_path(record).unlink()
    yield "bytes are missing"
    folder.put(code)
    path, aside = folder.store.engine_path(record), folder.store.folder.parent / "aside"
    path.replace(aside)
    path.symlink_to(aside)
    yield "bytes are a link"
    path.unlink()
    os.mkfifo(path)
    yield "bytes are a pipe"
    path.unlink()
    folder.put(code)
    path.write_bytes(code + bytes(10))
    yield "bytes are longer"
    folder.put(code)
    for target, mode in itertools.product((path, folder.path(), folder.store.folder), (0o666, 0o664, 0o777)):
        target.chmod(mode)
        yield f"{target.name} has mode {mode:o}"
        target.chmod(0o644 if target.is_file() else 0o755)


def _audit_sources(refusals: Refusals) -> None:
    """Host code is switched off where the inspector deserialises engines, and no library of plugins is ever loaded."""
    room = Path(__file__).parents[2] / "edge"
    texts = {path: path.read_text(encoding="utf-8") for path in room.rglob("*.py")}
    loads = [path for path, text in texts.items() if ".deserialize_cuda_engine(" in text and "inspector" in path.parts]
    for path in loads:
        if "engine_host_code_allowed = False" not in texts[path]:
            refusals.failures.append(f"{path.name} deserialises engines and does not switch host code off")
    for word in ("load_library", "init_libnvinfer_plugins", "pickle.load", "torch.load", "recv_pyobj", "eval(", "yaml.load"):
        found = [path.name for path, text in texts.items() if word in text]
        if found:
            refusals.failures.append(f"{word} is used in {', '.join(found)}")
    refusals.injections += len(loads)
