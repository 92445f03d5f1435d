"""`cordon bench curve`: what encryption costs per frame, in milliseconds from camera to inspector and in processor time on the box."""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import numpy as np
import zmq

from bench.timing import summary
from edge.config import CameraConfig
from edge.curve_keys import new_curve_pair, read_curve_pair
from edge.inspector.camera import CameraFeed
from edge.inspector.curve import Curve
from edge.inspector.frame import FrameHeader, encode_alive, encode_frame
from sim.camera_keys import CameraKeys, Identity

Way: TypeAlias = Literal["open", "connect", "listen"]
"""Without keys; with keys, the box connecting; with keys, the box listening."""
SHAPES = {"45 KB": (128, 352), "4 MB": (2_000, 2_000)}
WARM = 20
HEADER = f"{'frame':<8}{'keys':<10}{'frames':>8}{'p50 ms':>9}{'p99 ms':>9}{'max ms':>9}{'box CPU ms':>12}{'camera CPU ms':>15}"


@dataclass(frozen=True)
class Cost:
    """One row: milliseconds from send to received and checked, and processor time per frame of either side (all threads)."""

    taken_ms: list[float]
    box_ms: float
    camera_ms: float


def measure(folder: Path, way: Way, shape: tuple[int, int], *, count: int, every_ms: float) -> Cost:
    """`count` u8 frames of `shape` over the loopback network, one per `every_ms`, from a process of its own."""
    box, _ = new_curve_pair(folder, "box")
    camera, _ = new_curve_pair(folder, "cam0")
    endpoint = f"tcp://127.0.0.1:{random.SystemRandom().randint(20_000, 32_000)}"
    secure = {} if way == "open" else {"keys": (camera.public.decode(),)}
    listens = {"listen": True, "allow": ("127.0.0.1",)} if way == "listen" else {}
    config = CameraConfig(name="cam0", endpoint=endpoint, **secure, **listens)  # type: ignore[arg-type]
    words = [str(folder), way, endpoint, *(str(number) for number in (*shape, count + WARM, every_ms))]
    with (
        zmq.Context() as context,
        subprocess.Popen([sys.executable, "-m", "bench.curve_cost", "--camera", *words], stdout=subprocess.PIPE) as child,
    ):
        feed = CameraFeed(config, context, max_frame_bytes=1 << 26, receive_queue=8, curve=Curve(box))
        taken: list[float] = []
        began_s = 0.0
        while child.poll() is None or feed.waiting():  # a frame that did not come is missing in the table, and is not waited for
            feed.socket.poll(5)
            arrival = feed.receive()
            feed.tend(time.monotonic_ns())
            if arrival is not None and arrival.header is not None:
                taken.append((time.monotonic_ns() - arrival.header.captured_ns) / 1e6)
                began_s = time.process_time() if len(taken) == WARM else began_s
        box_ms = (time.process_time() - began_s) * 1e3 / max(1, len(taken) - WARM)
        feed.close()
        assert child.stdout is not None
        return Cost(taken[WARM:], box_ms, float(child.stdout.read()))


def publish(folder: Path, way: Way, endpoint: str, *, shape: tuple[int, int], count: int, every_ms: float) -> float:
    """The camera's side; its processor time per frame in ms."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.XPUB)
    if way != "open":
        pair = read_curve_pair(folder / "cam0.curve")
        identity = Identity(context, CameraKeys(pair, (read_curve_pair(folder / "box.curve").public,)))
        (identity.connecting if way == "listen" else identity.binding)(socket)
    (socket.connect if way == "listen" else socket.bind)(endpoint)
    socket.recv()
    socket.send_multipart(encode_alive("cam0", 0, time.monotonic_ns()))
    images = np.random.default_rng(1).integers(1, 255, (20, *shape), dtype=np.uint8)
    began_s, due_s = time.process_time(), time.monotonic()
    for number in range(1, count + 1):
        due_s += every_ms / 1e3
        time.sleep(max(0.0, due_s - time.monotonic()))
        parts = encode_frame(_header(number, time.monotonic_ns()), images[number % len(images)])
        socket.send_multipart(parts)
    time.sleep(0.5)
    return (time.process_time() - began_s) * 1e3 / count


def _header(number: int, now_ns: int) -> FrameHeader:
    return FrameHeader(
        version=1, camera="cam0", counter=number, trigger=None, part="P1", weld="W1", typology=None, kind="heightmap", shape=(0, 0),
        dtype="u1", pitch_mm=(0.2, 0.2), z_scale_mm=1.0, z_offset_mm=0.0, no_data=0, captured_ns=now_ns, crc32=0,
    )  # fmt: skip


def main(argv: Sequence[str]) -> int:
    """Frames of 45 KB and 4 MB without keys and with them, in both directions; the last line printed is JSON."""
    if argv[:1] == ["--camera"]:
        folder, way, endpoint, rows, cols, frames, pause = argv[1:]
        print(publish(Path(folder), way, endpoint, shape=(int(rows), int(cols)), count=int(frames), every_ms=float(pause)))  # type: ignore[arg-type]
        os._exit(0)  # the guard's thread and what is still queued need no ceremony
    parser = argparse.ArgumentParser(prog="cordon bench curve", description=main.__doc__)
    parser.add_argument("--count", type=int, default=200, help="frames of each row (default %(default)s)")
    parser.add_argument("--every-ms", type=float, default=60.0, help="one frame each (default %(default)s)")
    arguments = parser.parse_args(argv)
    print(f"{platform.machine()}, {os.cpu_count()} cores, libzmq {zmq.zmq_version()}")
    print(HEADER)
    result: dict[str, float] = {}
    for name, shape in SHAPES.items():
        for way in get_args(Way):
            with tempfile.TemporaryDirectory(prefix="cordon-") as folder:
                cost = measure(Path(folder), way, shape, count=arguments.count, every_ms=arguments.every_ms)
            timing = summary(way, cost.taken_ms)
            figures = f"{timing.p50_ms:>9.2f}{timing.p99_ms:>9.2f}{timing.max_ms:>9.2f}{cost.box_ms:>12.2f}{cost.camera_ms:>15.2f}"
            print(f"{name:<8}{way:<10}{timing.count:>8}{figures}", flush=True)
            result[f"{name} {way}"] = round(timing.p50_ms, 3)
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
