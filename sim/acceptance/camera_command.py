"""`cordon sim accept-camera`: play the box to a camera's real program, and print which rules of docs/frames.md it keeps."""

from __future__ import annotations

import argparse
import socket
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from edge.config import CameraConfig, load_config
from edge.curve_keys import read_curve_pair
from edge.errors import ConfigError, CordonError
from edge.z85 import decode_key, encode_z85
from sim.acceptance.camera import Listening, Requests, Weld, accept_camera
from sim.acceptance.camera_ear import Source
from sim.acceptance.findings import Report, today
from sim.acceptance.trial import Nobody
from sim.robot_command import read_welds


class ByHand(Nobody):
    """Asks the person at the terminal; nothing has to be served meanwhile."""

    def do(self, what: str) -> bool:
        """Wait for Enter."""
        print(f"  {what}\n  Enter when done, s to leave it out: ", end="", flush=True)
        return not sys.stdin.readline().strip().lower().startswith("s")


def main(argv: Sequence[str]) -> int:
    """Listen to a camera program as the box does. Exit status 1: a rule is broken."""
    arguments = _parser().parse_args(argv)
    try:
        source = _source(arguments)
        report = Report(subject=f"camera program {source.name} at {source.endpoint}", facts=_facts(source))
        _listen(source, report, arguments)
        for path in arguments.report:
            report.save(path)
    except CordonError as exc:
        print(f"cordon sim accept-camera: {exc}", file=sys.stderr)
        return 2
    print(report.summary())
    return 0 if report.accepted else 1


def _listen(source: Source, report: Report, arguments: argparse.Namespace) -> None:
    requests = Requests(arguments.capture, _welds(arguments.welds)) if arguments.capture else None
    listening = Listening(frames=arguments.frames, wait_s=arguments.wait_s, frame_ms=arguments.frame_ms)
    try:
        observer = ByHand() if arguments.by_hand else Nobody()
        accept_camera(source, listening, report, observer=observer, requests=requests, tell=lambda text: print(text, flush=True))
    finally:
        if requests is not None:
            requests.close()


def _source(arguments: argparse.Namespace) -> Source:
    if arguments.config is None:
        source = Source(endpoint=arguments.endpoint, name=arguments.name or "cam0", heartbeat_ms=arguments.heartbeat_ms)
        return _with_keys(source, arguments) if arguments.camera_key else source
    inspector = load_config(arguments.config).inspector
    camera = _camera(inspector.camera, arguments.name)
    own = read_curve_pair(inspector.curve.key) if inspector.curve is not None and camera.keys else None
    return Source(
        endpoint=camera.endpoint,
        name=camera.name,
        heartbeat_ms=camera.heartbeat_ms,
        listen=camera.listen,
        camera_key=_z85(camera.keys[0]) if camera.keys else b"",
        own=own,
        max_frame_bytes=inspector.max_frame_bytes,
    )


def _camera(cameras: Sequence[CameraConfig], name: str) -> CameraConfig:
    found = next((camera for camera in cameras if not name or camera.name == name), None)
    if found is None:
        names = [camera.name for camera in cameras]
        raise ConfigError(f"no camera {name}", seen=names, remedy="Give --name as in [[inspector.camera]]")
    return found


def _with_keys(source: Source, arguments: argparse.Namespace) -> Source:
    if arguments.box_key is None:
        raise ConfigError("--camera-key without --box-key", remedy="Give the box's own key file: `cordon keys box`")
    return replace(source, camera_key=_z85(arguments.camera_key), own=read_curve_pair(arguments.box_key))


def _z85(text: str) -> bytes:
    try:
        return encode_z85(decode_key(text)).encode("ascii")
    except ValueError as exc:
        raise ConfigError("the camera's key cannot be read", seen=exc, remedy="Paste what `cordon keys camera` printed") from exc


def _welds(path: Path | None) -> list[Weld]:
    if path is None:
        return [("P1", "W1", None)]
    return [(row["part"], row["weld"], row.get("typology") or None) for row in read_welds(path)]


def _facts(source: Source) -> dict[str, str]:
    keys = "CURVE" if source.own is not None else "none: nothing is proved"
    return {"date": today(), "box": socket.gethostname(), "heartbeat_ms": f"{source.heartbeat_ms:g}", "keys": keys}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cordon sim accept-camera", description=main.__doc__)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--config", type=Path, help="the box's cordon.toml: endpoint, heartbeat, keys and limits are taken from it")
    where.add_argument("--endpoint", help="where the camera publishes, without a configuration, such as tcp://192.168.1.20:5555")
    parser.add_argument("--name", default="", help="the camera's name; with --config, of which camera (default: the first)")
    parser.add_argument("--heartbeat-ms", type=float, default=2_000.0, help="without --config (default %(default)s)")
    parser.add_argument("--camera-key", default="", help="without --config: its CURVE public key")
    parser.add_argument("--box-key", type=Path, help="without --config: file of the box's CURVE key")
    parser.add_argument("--frames", type=int, default=10, help="how many frames are waited for (default %(default)s)")
    parser.add_argument("--wait-s", type=float, default=60.0, help="how long (default %(default)s)")
    parser.add_argument("--capture", help="ask for exposures at this ZeroMQ address, as `cordon sim robot --capture` does")
    parser.add_argument("--welds", type=Path, help="with --capture: CSV of the welds to ask for (default: part P1, weld W1)")
    parser.add_argument(
        "--frame-ms", type=float, default=0.0, help="with --capture: the longest time from request to frame (default: not judged)"
    )
    parser.add_argument("--by-hand", action="store_true", help="also: the camera program restarted; asks the person to do so")
    parser.add_argument("--report", type=Path, action="append", default=[], help="write Markdown, or JUnit when the name ends in .xml")
    return parser
