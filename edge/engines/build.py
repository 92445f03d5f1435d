"""One engine from one ONNX file: parsed, matched against the manifest, built, and every silent failure turned into a message."""

from __future__ import annotations

import hashlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import TypeVar

import msgspec

from edge.bundle import Member
from edge.engines.backend import Backend, BackendChoice, load_backend
from edge.engines.batch import with_batch
from edge.engines.box import box_facts
from edge.engines.parse import Interface, check_interface, parse_network
from edge.engines.progress import Cancel, Progress, monitor_for
from edge.engines.prove import prove, runs_here
from edge.engines.record import DEFAULTS, MAX_BATCH, BoxFacts, BuildOptions
from edge.engines.settings import check_targets, new_builder, new_config
from edge.engines.timing import TimingStore
from edge.errors import EngineError

_T = TypeVar("_T")
_OUT_OF_MEMORY = "Close other programs (never build beside the running daemon) or lower --workspace-mib"
_HINTS = (
    ("could not find any implementation", "Raise --workspace-mib, or leave the node named out of INT8 at export"),
    ("out of memory", _OUT_OF_MEMORY),
    ("outofmemory", _OUT_OF_MEMORY),
    ("optimization profile", "Export the network with static shapes"),
)


class BuiltEngine(msgspec.Struct, frozen=True, kw_only=True):
    """A serialised engine with what is known of it."""

    data: bytes
    """What TensorRT deserialises; two builds of one network differ in it."""
    onnx_sha256: str
    engine_sha256: str
    box: BoxFacts
    options: BuildOptions
    batch: int
    layers: int
    seconds: float
    warnings: tuple[str, ...]

    def __repr__(self) -> str:
        return f"BuiltEngine({len(self.data)} bytes, {self.box.backend} {self.box.version}, batch={self.batch}, layers={self.layers})"


def build_engine(
    onnx: bytes | memoryview,
    *,
    member: Member,
    shape: tuple[int, int],
    batch: int = 1,
    backend: BackendChoice = "auto",
    options: BuildOptions = DEFAULTS,
    progress: Progress | None = None,
    timings: TimingStore | None = None,
) -> BuiltEngine:
    """Build the network `onnx` of `member` for heightmaps of `shape` (height, width) and exactly `batch` of them at once.

    The file must have the u8 input and the f32 outputs that the manifest promises, static, with batch 1. Raises EngineError for
    everything that is wrong with the file, the builder or the machine, and KeyboardInterrupt after a stopped build.
    """
    if not 1 <= batch <= MAX_BATCH:
        raise EngineError("batch is out of range", seen=batch, remedy=f"Choose 1 to {MAX_BATCH}")
    wanted = Interface.of(member, shape, batch)
    what = f"network {member.name} ({member.file})"
    return _Build(onnx, wanted, what, load_backend(backend), options, progress, timings).run()


def parse_and_build(onnx: bytes | memoryview, *, backend: BackendChoice = "auto", options: BuildOptions = DEFAULTS) -> BuiltEngine:
    """Does the builder take this ONNX file as it is? For networks that no manifest describes. Raises EngineError."""
    return _Build(onnx, None, "the ONNX file", load_backend(backend), options).run()


@dataclass(frozen=True)
class _Build:
    """One build from start to end."""

    onnx: bytes | memoryview
    wanted: Interface | None
    what: str
    backend: Backend
    options: BuildOptions
    progress: Progress | None = None
    timings: TimingStore | None = None
    cancel: Cancel = field(default_factory=Cancel)

    def run(self) -> BuiltEngine:
        check_targets(self.backend, self.options)
        box = box_facts(self.backend)
        began = time.perf_counter()
        with self.backend.log.collecting():
            data, layers, notes = _interruptible(lambda: self._serialise(box), self.cancel)
            if runs_here(self.backend, self.options) is None:
                prove(self.backend, data, self.wanted, self.what)
            warnings = (*notes, *self.backend.log.of("warning"))
        return BuiltEngine(
            data=data,
            onnx_sha256=hashlib.sha256(self.onnx).hexdigest(),
            engine_sha256=hashlib.sha256(data).hexdigest(),
            box=box,
            options=self.options,
            batch=self.wanted.input_shape[0] if self.wanted else 1,
            layers=layers,
            seconds=round(time.perf_counter() - began, 3),
            warnings=warnings,
        )

    def _serialise(self, box: BoxFacts) -> tuple[bytes, int, tuple[str, ...]]:
        builder = new_builder(self.backend)
        onnx = with_batch(self.onnx, self.wanted.input, self.wanted.input_shape[0]) if self.wanted else self.onnx
        network = parse_network(self.backend, builder, onnx, self.what)
        if self.wanted is not None:
            check_interface(self.backend, network, self.wanted, self.what)
        config = new_config(self.backend, builder, self.options)
        # Monitor and cache must outlive the build: the builder holds no reference of its own.
        config.progress_monitor = monitor = monitor_for(self.backend.trt, self.cancel, self.progress)
        cache, notes = self.timings.attach(config, box) if self.timings and self.backend.keeps_timings else (None, ())
        memory = builder.build_serialized_network(network, config)
        if memory is None or not memory.nbytes:
            raise self._refusal()
        if cache is not None and self.timings is not None:
            notes = (*notes, *self.timings.keep(config, box))
        del monitor
        return bytes(memory), network.num_layers, notes

    def _refusal(self) -> EngineError:
        if self.cancel.cause is not None:
            raise self.cancel.cause
        if self.cancel.asked:
            return EngineError(f"{self.what}: the build was stopped", remedy="Run it again; what was finished before is kept")
        said = self.backend.log.tail()
        remedy = next((r for sign, r in _HINTS if sign in said.lower()), "Read the builder's words; docs/engines.md lists the usual causes")
        return EngineError(f"{self.what} cannot be built by {self.backend.name} {self.backend.version}", seen=said, remedy=remedy)


def _interruptible(work: Callable[[], _T], cancel: Cancel) -> _T:
    """`work()` in a thread of its own, so that Ctrl-C is heard here at once and passed on as `cancel`. Raises KeyboardInterrupt."""
    done: Future[_T] = Future()

    def body() -> None:
        try:
            done.set_result(work())
        except BaseException as exc:  # noqa: BLE001 -- carried over to the caller's thread
            done.set_exception(exc)

    thread = threading.Thread(target=body, name="engine-build")
    with _interrupts_to(cancel) as interrupts:
        thread.start()
        while thread.is_alive():
            thread.join(0.2)  # a signal that another thread caught is handled here only between two waits
    if interrupts:
        raise KeyboardInterrupt
    return done.result()


@contextmanager
def _interrupts_to(cancel: Cancel) -> Iterator[list[int]]:
    """SIGINT sets `cancel` and is noted in the list, instead of an exception that could strike between any two lines."""
    noted: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        noted.append(number)
        cancel.set()

    # Elsewhere than in the main thread, or where the caller handles SIGINT himself, no KeyboardInterrupt is to be expected.
    ours = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if ours:
        signal.signal(signal.SIGINT, note)
    try:
        yield noted
    finally:
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
